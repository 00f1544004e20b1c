package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"
)

// container returns one with any flags, length and body.
func container(flags byte, length uint32, body []byte) []byte {
	b := append([]byte("NMSG"), flags, 2)
	return append(binary.BigEndian.AppendUint32(b, length), body...)
}

// fragment is a container with an NmsgFragment of one byte.
func fragment(id, current, last uint32) []byte {
	var body []byte
	for i, v := range []uint32{id, current, last} {
		body = binary.AppendUvarint(append(body, byte(i+1)<<3), uint64(v))
	}
	body = append(body, 4<<3|2, 1, 'x')
	return container(2, uint32(len(body)), body)
}

// block is one of pcapng in little-endian order, of whole words.
func block(typ uint32, body []byte) []byte {
	n := uint32(12 + len(body))
	b := binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(nil, typ), n)
	return binary.LittleEndian.AppendUint32(append(b, body...), n)
}

// zeros writes this many MiB of them.
func zeros(t *testing.T, w io.Writer, mib int) {
	t.Helper()
	for range mib {
		if _, err := w.Write(make([]byte, 1<<20)); err != nil {
			t.Fatal(err)
		}
	}
}

// TestHostileInputsInConstantMemory: what claims to be or becomes gigabytes is
// told once, with offset and cause, everything around it is read, and the process
// stays below 64 MiB.
func TestHostileInputsInConstantMemory(t *testing.T) {
	six := golden(t, "nmsg/ipconn.nmsg") // tuples in one container
	inflating := func(claim uint32, mib int) []byte {
		var body bytes.Buffer
		binary.Write(&body, binary.BigEndian, claim)
		w := zlib.NewWriter(&body)
		zeros(t, w, mib)
		w.Close()
		return slices.Concat(six, container(1, uint32(body.Len()), body.Bytes()), six)
	}
	fragments := func(sets, pieces, last uint32) []byte {
		b := slices.Clone(six)
		for i := range pieces {
			for id := range sets {
				b = append(b, fragment(id, i, last)...)
			}
		}
		return append(b, six...)
	}
	section := block(0x0a0d0d0a, []byte("\x4d\x3c\x2b\x1a\x01\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff"))
	raw := block(1, []byte{101, 0, 0, 0, 0, 0, 0, 0})
	packet := func(iface uint32) []byte { // UDP over IPv4
		b := binary.LittleEndian.AppendUint32(nil, iface)
		b = append(b, make([]byte, 8)...)
		b = append(b, 24, 0, 0, 0, 24, 0, 0, 0)
		return block(6, append(b, 0x45, 0, 0, 24, 0, 0, 0, 0, 64, 17, 0, 0, 192, 0, 2, 1, 198, 51, 100, 2, 4, 210, 0, 53))
	}
	ether := golden(t, "pcap/ether4.pcap") // 13 tuples
	var zipped bytes.Buffer
	gz := gzip.NewWriter(&zipped)
	gz.Write(ether)
	zeros(t, gz, 32)
	gz.Write(ether[24:])
	gz.Close()
	var zst bytes.Buffer
	zw, err := zstd.NewWriter(&zst)
	if err != nil {
		t.Fatal(err)
	}
	zw.Write(six)
	zeros(t, zw, 200)
	zw.Write(six)
	zw.Close()
	for _, c := range []struct {
		name, filter string
		b            []byte
		tuples       int
		offset       int
		cause        string // "" for no damage
	}{
		{"container that claims 4 GiB", "", slices.Concat(six, container(0, 1<<32-1, nil), six), 12, len(six), "longer than 1 MiB"},
		{"container that claims to inflate to 4 GiB", "", inflating(1<<32-1, 1), 12, len(six), "longer than 1 MiB"},
		{"container that inflates to more than it claims", "", inflating(1<<20, 200), 12, len(six), "bad zlib stream"},
		{"a million pieces", "", fragments(1, 1_000_000, 999_999), 12, len(six), "bad fragment"},
		{"fragment sets of a piece", "", fragments(100_000, 1, 1), 12, len(six) + 32*len(fragment(0, 0, 1)), "fragments of a container that did not come whole"},
		{"fragment sets that grow together", "", fragments(32, 1<<14-1, 1<<14-1), 12, 1_812_312, "fragments of a container that did not come whole"},
		{"pcapng block of 2 GiB", "", slices.Concat(section, raw, packet(0), []byte{6, 0, 0, 0, 0, 0, 0, 0x80}, packet(0)), 2, len(section) + len(raw) + len(packet(0)), "no sane block"},
		{"65536 interfaces", "udp port 53 or (tcp and host 192.0.2.1)", slices.Concat(section, bytes.Repeat(raw, 1<<16), packet(1<<16-1), packet(0)), 2, 0, ""},
		{"gzip bomb", "", zipped.Bytes(), 26, len(ether), "no sane record header"},
		{"zstd bomb", "", zst.Bytes(), 12, len(six), "no NMSG header"},
	} {
		t.Run(c.name, func(t *testing.T) {
			name := filepath.Join(t.TempDir(), "bomb")
			if err := os.WriteFile(name, c.b, 0o666); err != nil {
				t.Fatal(err)
			}
			const fed = 13 // tuples through the pipe, which keeps the process alive
			pipe, _ := feedPipe(t)
			sensor := startSensor(t, "-q", "-b", c.filter, name, "-r", pipe)
			sensor.awaits("delivered", fed+c.tuples)
			peak := peakMemory(t, sensor.cmd.Process.Pid)
			sensor.cmd.Process.Signal(os.Interrupt)
			<-sensor.ended
			status, words := 0, sensor.stderr.String()
			if c.cause != "" {
				status = 1
				if want := fmt.Sprintf(" offset=%d cause=%q ", c.offset, c.cause); !strings.Contains(words, want) {
					t.Errorf("no %s", want)
				}
			}
			if got := sensor.cmd.ProcessState.ExitCode(); got != status || t.Failed() {
				t.Errorf("status %d: %.2000s", got, words)
			}
			if peak > 64<<10 {
				t.Errorf("%d KiB resident", peak)
			}
			t.Logf("%d KiB resident, of %d KiB", peak, len(c.b)>>10)
		})
	}
}

// peakMemory returns the largest resident set that a process has had, in KiB; 0
// for a program with the race detector, which takes a multiple.
func peakMemory(t *testing.T, pid int) int {
	t.Helper()
	if info, ok := debug.ReadBuildInfo(); ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"}) {
		return 0
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`VmHWM:\s*(\d+) kB`).FindSubmatch(b)
	if m == nil {
		t.Fatalf("%s", b)
	}
	n, _ := strconv.Atoi(string(m[1]))
	return n
}
