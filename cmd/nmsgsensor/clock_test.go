package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcapgo"
)

// TestClocksThatJump: packets whose times go back to 1970 and on to 2106 come out
// as they went in, in their order, in every output.
func TestClocksThatJump(t *testing.T) {
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	var b bytes.Buffer
	w := pcapgo.NewWriterNanos(&b)
	if err := w.WriteFileHeader(65536, layers.LinkTypeEthernet); err != nil {
		t.Fatal(err)
	}
	frame := framesOf(t, "ether4.pcap")[0]
	var want []string
	for _, when := range []time.Time{
		time.Unix(1424588307, 573210000), time.Unix(0, 0), time.Unix(1<<32-1, 999999999), time.Unix(1, 1),
		time.Unix(1424588307, 573209999), time.Unix(1<<31, 0), time.Unix(1424588307, 573210000),
	} {
		if err := w.WritePacket(gopacket.CaptureInfo{Timestamp: when, CaptureLength: len(frame), Length: len(frame)}, frame); err != nil {
			t.Fatal(err)
		}
		want = append(want, when.UTC().Format("2006-01-02 15:04:05.000000000"))
	}
	if err := os.WriteFile(in("jumping.pcap"), b.Bytes(), 0o666); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"-q", "-J", in("a.json"), "-W", in("ipconn"), "-w", in("packet"), in("jumping.pcap")},
		{"-q", "-J", in("b.json"), in("ipconn")},
		{"-q", "-J", in("c.json"), in("packet")},
	} {
		var stderr bytes.Buffer
		if status := run(args, os.Stdout, &stderr); status != 0 {
			t.Fatal(&stderr)
		}
	}
	for _, name := range []string{"a.json", "b.json", "c.json"} {
		lines, err := os.ReadFile(in(name))
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, m := range regexp.MustCompile(`"time":"([^"]*)"`).FindAllStringSubmatch(string(lines), -1) {
			got = append(got, m[1])
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: -want +got:\n%s", name, diff)
		}
	}
}
