package main

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// nmsgtool is the collector at work, on port 9430 of the test's network.
type nmsgtool struct {
	t     *testing.T
	cmd   *exec.Cmd
	words bytes.Buffer
	file  string
}

func startCollector(t *testing.T) *nmsgtool {
	t.Helper()
	needs(t, "nmsgtool")
	c := &nmsgtool{t: t, file: filepath.Join(t.TempDir(), "got.nmsg")}
	c.cmd = exec.Command("nmsgtool", "-dddd", "-l", "127.0.0.1/9430", "-w", c.file)
	c.cmd.Stderr = &c.words
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.cmd.Process.Kill() })
	c.awaits(func(line string) bool { return line != "" })
	return c
}

// awaits waits for something of the line about the collector's socket in
// /proc/net/udp, which is "" where there is none.
func (c *nmsgtool) awaits(is func(line string) bool) {
	c.t.Helper()
	socket := regexp.MustCompile(`(?m)^.*:24D6 .*$`) // port 9430
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		b, err := os.ReadFile("/proc/" + strconv.Itoa(c.cmd.Process.Pid) + "/net/udp")
		if err != nil {
			c.t.Fatal("the collector is gone: ", err, &c.words)
		}
		line := socket.FindString(string(b))
		if is(line) {
			return
		}
		if time.Now().After(end) {
			c.t.Fatal("the collector waits: ", line)
		}
	}
}

// stop ends it once it has read everything. It must be alive, have missed
// nothing and complained of nothing.
func (c *nmsgtool) stop() {
	c.t.Helper()
	words := c.end()
	if !strings.Contains(words, " container_drops 0\n") || regexp.MustCompile(`(?i)warn|fail|error|mismatch|assert`).MatchString(words) {
		c.t.Error(words)
	}
}

// end ends it once it has read everything, and returns what it said.
func (c *nmsgtool) end() string {
	c.t.Helper()
	// Nothing waits to be read, and it is at work on nothing that it has read.
	c.awaits(func(line string) bool { return strings.Contains(line, ":00000000 00:") && c.sleeps() })
	if err := c.cmd.Process.Signal(os.Interrupt); err != nil {
		c.t.Fatal("the collector is gone: ", err, &c.words)
	}
	c.cmd.Wait() // its status is 1 after a signal
	return c.words.String()
}

// sleeps says whether all its threads do (proc(5), stat).
func (c *nmsgtool) sleeps() bool {
	stats, _ := filepath.Glob("/proc/" + strconv.Itoa(c.cmd.Process.Pid) + "/task/*/stat")
	for _, name := range stats {
		if b, err := os.ReadFile(name); err != nil || !bytes.Contains(b, []byte(") S ")) {
			return false
		}
	}
	return len(stats) > 0
}

// writePackets writes a capture of IP packets of these lengths, a third of them
// easy to compress.
func writePackets(t *testing.T, name string, lengths []int) {
	t.Helper()
	b := []byte{
		0xd4, 0xc3, 0xb2, 0xa1, // magic
		2, 0, 4, 0, // version
		0, 0, 0, 0, 0, 0, 0, 0,
		0, 0, 4, 0, // snaplen
		101, 0, 0, 0, // LINKTYPE_RAW
	}
	for i, n := range lengths {
		for _, v := range []int{1_400_000_000 + i, i, n, n} {
			b = binary.LittleEndian.AppendUint32(b, uint32(v))
		}
		start := len(b)
		b = append(b, 0x45, 0, byte(n>>8), byte(n), 0, 0, 0, 0, 64, 17, 0, 0, 192, 0, 2, byte(i), 198, 51, 100, 2)
		for len(b) < start+n {
			if b = append(b, byte(i)); i%3 != 0 {
				b[len(b)-1] = byte(rand.Uint32())
			}
		}
	}
	if err := os.WriteFile(name, b, 0o666); err != nil {
		t.Fatal(err)
	}
}

// TestEverythingToNmsgtool: what the collector writes is, to the byte, what the
// sensor writes to a file, whatever way it took.
func TestEverythingToNmsgtool(t *testing.T) {
	dir := t.TempDir()
	capture, whole := filepath.Join(dir, "packets.pcap"), filepath.Join(dir, "packets.nmsg")
	var lengths []int
	for n := 20; n < 9100; n += 37 {
		lengths = append(lengths, n)
	}
	lengths = append(lengths, 65535, 65534, 32768)
	// Each length around what fills pieces of fragments: the datagram but for 32
	// bytes; a container has some 50 more than the packet.
	for _, mtu := range []int{512, 1280, 8192} {
		for pieces := 1; pieces <= 4; pieces++ {
			for off := -80; off <= 5; off++ {
				lengths = append(lengths, pieces*(mtu-32)+off)
			}
		}
	}
	writePackets(t, capture, lengths)
	for name, flags := range map[string]string{
		"buffered":            "",
		"unbuffered":          "--unbuffered",
		"zlib":                "-z",
		"512 bytes":           "-m 512",
		"8192 bytes":          "-m 8192",
		"65507 bytes":         "-m 65507",
		"zlib, 512 bytes":     "-z -m 512",
		"zlib, 8192 bytes":    "-z -m 8192",
		"unbuffered and zlib": "-z -m 512 --unbuffered",
		"with labels":         "-m 513 --setsource 0xffffffff --setoperator 1 --setgroup 4294967295",
	} {
		for _, kind := range []struct{ socket, file string }{{"--packet-socket", "-w"}, {"-s", "-W"}} {
			t.Run(name+" "+kind.socket, func(t *testing.T) {
				enterNamespace(t)
				c := startCollector(t)
				args := append(strings.Fields(flags), "-q", kind.socket, "127.0.0.1/9430,20000", capture)
				if out, err := exec.Command("nmsgsensor", args...).CombinedOutput(); err != nil || !bytes.Contains(out, []byte("dropped=0")) {
					t.Errorf("%v: %s", err, out)
				}
				c.stop()
				args = append(regexp.MustCompile(`--set\w+ \w+`).FindAllString(flags, -1), "-q", kind.file, whole, capture)
				if out, err := exec.Command("nmsgsensor", strings.Fields(strings.Join(args, " "))...).CombinedOutput(); err != nil {
					t.Fatalf("%v: %s", err, out)
				}
				got, _ := os.ReadFile(c.file)
				want, _ := os.ReadFile(whole)
				if !bytes.Equal(got, want) || len(want) == 0 {
					t.Errorf("the collector wrote %d bytes that differ from our %d", len(got), len(want))
				}
			})
		}
	}
}

// TestJSONThroughNmsgtool: it reads the lines and prints the same.
func TestJSONThroughNmsgtool(t *testing.T) {
	needs(t, "nmsgtool")
	dir := t.TempDir()
	ours, theirs := filepath.Join(dir, "ours.json"), filepath.Join(dir, "theirs.json")
	for _, flags := range [][]string{nil, {"--setsource", "0xab", "--setoperator", "4294967295", "--setgroup", "7"}} {
		args := append(flags, "-q", "-J", ours, "../../testdata/nmsg/ipconn.nmsg", "../../testdata/nmsg/labelled.nmsg", "../../testdata/pcap/ether4.pcap", "../../testdata/pcap/ext6.pcap")
		if out, err := exec.Command("nmsgsensor", args...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if out, err := exec.Command("nmsgtool", "-j", ours, "-J", theirs).CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("%v: %s", err, out)
		}
		want, _ := os.ReadFile(ours)
		got, _ := os.ReadFile(theirs)
		if !bytes.Equal(got, want) || len(want) == 0 {
			t.Errorf("nmsgtool made %s of %s", got, want)
		}
	}
}
