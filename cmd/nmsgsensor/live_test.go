package main

import (
	"bufio"
	"bytes"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/gopacket/pcapgo"
	"golang.org/x/sys/unix"

	"nmsgsensor/encode"
	"nmsgsensor/tuple"
)

// enterNamespace puts the test's thread, and what it starts, into a network
// namespace of its own with a veth pair va, vb. The thread ends with the test,
// and the namespace with its last process.
func enterNamespace(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root for a network namespace")
	}
	needs(t, "ip")
	runtime.LockOSThread() // never unlocked: the thread is of no use to others
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Skip("no network namespace to be had: ", err)
	}
	// Hosts talk over IPv6 by themselves.
	os.WriteFile("/proc/sys/net/ipv6/conf/default/disable_ipv6", []byte("1"), 0)
	for _, args := range []string{
		"link set lo up", "link add va type veth peer name vb", "link set va up", "link set vb up",
	} {
		if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
			t.Skipf("ip %s: %s", args, out)
		}
	}
}

// eachEngine runs a test in a namespace for each engine.
func eachEngine(t *testing.T, test func(t *testing.T)) {
	for _, engine := range []string{"libpcap", "afpacket"} {
		t.Run(engine, func(t *testing.T) {
			t.Setenv("NMSGSENSOR_ENGINE", engine)
			enterNamespace(t)
			test(t)
		})
	}
}

// sender sends frames on an interface.
func sender(t *testing.T, name string) func(frame []byte) {
	t.Helper()
	i, err := net.InterfaceByName(name)
	if err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return func(frame []byte) {
		if err := unix.Sendto(fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: i.Index}); err != nil {
			t.Fatal(err)
		}
	}
}

// frames returns those of a capture that an interface takes.
func framesOf(t *testing.T, name string) (all [][]byte) {
	t.Helper()
	f, err := os.Open("../../testdata/pcap/" + name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := pcapgo.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	for {
		frame, _, err := r.ReadPacketData()
		if err != nil {
			return all
		}
		if len(frame) > 14 && len(frame) < 1500 {
			all = append(all, frame)
		}
	}
}

// gather returns the tuples that come to conn until there are n.
func gather(t *testing.T, conn net.PacketConn, n int) (all []string) {
	t.Helper()
	var d encode.Decoder
	buf := make([]byte, 1<<16)
	conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	for len(all) < n {
		k, from, err := conn.ReadFrom(buf)
		if err != nil {
			t.Errorf("%d of %d tuples: %v", len(all), n, err)
			return all
		}
		err = d.Decode(buf[:k], from.(*net.UDPAddr).AddrPort(), time.Now(), func(p *encode.Payload) error {
			tp, err := encode.ParseIPConn(p.Data)
			if err != nil || !p.Sound() {
				t.Error(err, p.Sound())
			}
			all = append(all, tupleText(tp))
			return nil
		})
		if err != nil || d.Lost() != 0 {
			t.Fatal(err, d.Lost())
		}
	}
	return all
}

func tupleText(t tuple.Tuple) string {
	return netip.AddrPortFrom(t.Src, t.SrcPort).String() + " " + netip.AddrPortFrom(t.Dst, t.DstPort).String() + " " + strconv.Itoa(int(t.Proto))
}

var captures = []string{"ether4.pcap", "ext6.pcap", "frag4.pcap", "tags.pcap"}

// TestLive sends every frame of the Ethernet captures over a veth pair and
// holds what comes to the collector against what the files give, then stops the
// sensor on the idle interface.
func TestLive(t *testing.T) { eachEngine(t, testLive) }

func testLive(t *testing.T) {
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	var frames [][]byte
	for _, name := range captures {
		frames = append(frames, framesOf(t, name)...)
	}
	want := wantTuples(t)
	port := strconv.Itoa(conn.LocalAddr().(*net.UDPAddr).Port)
	sensor := startSensor(t, "-q", "-i", "vb", "-s", "127.0.0.1/"+port, "--flush", "50ms")
	send := sender(t, "va")
	for _, frame := range frames {
		send(frame)
	}
	got := gather(t, conn, len(want))
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	start := time.Now()
	line := sensor.stop(os.Interrupt)
	// It takes some 100 ms; machines that run tests are busy.
	if took := time.Since(start); took > time.Second {
		t.Errorf("stopped after %v", took)
	}
	if !strings.Contains(line, "in.vb.kernel_dropped=0 in.vb.interface_dropped=0") {
		t.Error(line)
	}
}

// wantTuples are those of the capture files.
func wantTuples(t *testing.T) (want []string) {
	t.Helper()
	for _, name := range captures {
		frames := framesOf(t, name)
		out := filepath.Join(t.TempDir(), "out.nmsg")
		var stderr bytes.Buffer
		if status := run([]string{"-q", "-W", out, "../../testdata/pcap/" + name}, os.Stdout, &stderr); status != 0 || len(frames) == 0 {
			t.Fatal(&stderr)
		}
		f, err := os.Open(out)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		var d encode.Decoder
		c, err := encode.NewReader(bufio.NewReader(f)).Next()
		if err != nil {
			t.Fatal(err)
		}
		d.Decode(c, netip.AddrPort{}, time.Time{}, func(p *encode.Payload) error {
			tp, err := encode.ParseIPConn(p.Data)
			want = append(want, tupleText(tp))
			return err
		})
	}
	slices.Sort(want)
	return want
}

// TestLiveToNmsgtool does it with the real collector.
func TestLiveToNmsgtool(t *testing.T) { eachEngine(t, testLiveToNmsgtool) }

func testLiveToNmsgtool(t *testing.T) {
	collector := startCollector(t)
	sensor := startSensor(t, "-q", "-i", "vb", "-s", "127.0.0.1/9430", "--unbuffered")
	send, frame := sender(t, "va"), framesOf(t, "ether4.pcap")[0]
	const n = 500
	for range n {
		send(frame)
	}
	// Those that still wait in the ring are taken too.
	if line := sensor.stop(os.Interrupt); number(t, line, "delivered") != n {
		t.Error(line)
	}
	collector.stop()
	back, err := exec.Command("nmsgsensor", "-r", collector.file).Output()
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(string(back), "192.0.2.1.51512 --> 198.51.100.2.443 (6)"); got != n {
		t.Errorf("%d of %d tuples came", got, n)
	}
}

// TestSecondSignalKills: the first finds the program in a write that nobody
// takes.
func TestSecondSignalKills(t *testing.T) {
	args := []string{"--flush", "20ms"}
	for range 400 {
		args = append(args, "../../testdata/pcap/ether4.pcap")
	}
	cmd := exec.Command("nmsgsensor", args...)
	stdout, err := cmd.StdoutPipe() // and nobody reads it
	if err != nil {
		t.Fatal(err)
	}
	defer stdout.Close()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := stdout.Read(make([]byte, 1)); err != nil { // it has begun to write
		t.Fatal(err)
	}
	cmd.Process.Signal(os.Interrupt)
	done := make(chan error, 1) // one value, for which the loop below waits
	go func() { done <- cmd.Wait() }()
	for {
		cmd.Process.Signal(os.Interrupt)
		select {
		case err := <-done:
			if err == nil {
				t.Error("ended as if nothing had happened")
			}
			return
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// TestLiveNFLOG captures what netfilter logs, after a while in which that is
// nothing.
func TestLiveNFLOG(t *testing.T) {
	enterNamespace(t)
	if out, err := exec.Command("iptables", "-A", "OUTPUT", "-j", "NFLOG", "--nflog-group", "7").CombinedOutput(); err != nil {
		t.Skipf("no logging by netfilter to be had: %v: %s", err, out)
	}
	sensor := startSensor(t, "-q", "-i", "nflog:7", "--stats", "500ms")
	sensor.says("read=0 ", 1)
	conn, err := net.Dial("udp4", "127.0.0.1:9")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("payload")); err != nil {
		t.Fatal(err)
	}
	sensor.awaits("delivered", 1)
	if line := sensor.stop(os.Interrupt); strings.Contains(sensor.stderr.String(), "away") {
		t.Error(line)
	}
}
