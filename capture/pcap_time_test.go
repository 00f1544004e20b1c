package capture

import (
	"context"
	"encoding/binary"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// timedPcap is a capture of Ethernet with the same packet at each of these
// seconds.
func timedPcap(t *testing.T, seconds ...uint32) []byte {
	t.Helper()
	b, err := os.ReadFile("../testdata/pcap/ether4.pcap")
	if err != nil {
		t.Fatal(err)
	}
	record := b[pcapHeaderLen:][:pcapRecordLen+binary.LittleEndian.Uint32(b[pcapHeaderLen+8:])]
	out := slices.Clone(b[:pcapHeaderLen])
	for _, s := range seconds {
		binary.LittleEndian.PutUint32(record, s)
		out = append(out, record...)
	}
	return out
}

// TestTimeAloneIsNoDamage: a record whose lengths lead to another is one,
// whatever its time.
func TestTimeAloneIsNoDamage(t *testing.T) {
	const s, year = 1_400_000_000, 365 * 86400
	for _, c := range []struct {
		name    string
		seconds []uint32
	}{
		{"one of another year", []uint32{s, s, s, s + year, s, s, s, s}},
		{"the first", []uint32{s + year, s, s, s, s, s}},
		{"the last", []uint32{s, s, s, s, s, s + year}},
		{"the last but one", []uint32{s, s, s, s, s + year, s}},
		{"every third, as in tcpdump's kday4.pcap", []uint32{s, s, s - year, s, s, s - year, s, s, s - year}},
		{"all over the calendar", []uint32{0, 1 << 31, 0, 512, 1<<32 - 1, 174, 0, 33556736, 2145916800, s, 0}},
		{"two captures joined", []uint32{s, s, s, s + year, s + year, s + year}},
		{"all without", []uint32{0, 0, 0, 0, 0, 0}},
	} {
		got, st, err := readBytes(timedPcap(t, c.seconds...))
		want := slices.Repeat([]string{frames["ether4.pcap"][0]}, len(c.seconds))
		if err != nil || st.Damaged != 0 {
			t.Errorf("%s: damaged %d, %v", c.name, st.Damaged, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: -want +got:\n%s", c.name, diff)
		}
	}
}

// TestDamageAtAJoinCostsOnePacket breaks a length where the time jumps too.
func TestDamageAtAJoinCostsOnePacket(t *testing.T) {
	const s, year, n = 1_400_000_000, 365 * 86400, 8
	whole := timedPcap(t, s, s, s, s, s+year, s+year, s+year, s+year)
	size := (len(whole) - pcapHeaderLen) / n
	for i := range n {
		for _, flip := range []byte{1, 2, 4, 8, 0x10, 0x20, 0x40, 0x80} {
			for at := range 8 {
				b := slices.Clone(whole)
				b[pcapHeaderLen+i*size+8+at] ^= flip
				if got, _, _ := readBytes(b); len(got) < n-1 {
					t.Errorf("record %d, byte %d ^ %#x: %d packets of %d", i, 8+at, flip, len(got), n)
				}
			}
		}
	}
}

// TestPipeIsNotHeldUpByATime: the first packet after a quiet day is handed on
// when it comes, and not with those that follow it.
func TestPipeIsNotHeldUpByATime(t *testing.T) {
	const s, week = 1_400_000_000, 7 * 86400
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	w.Write(timedPcap(t, s, s, s+week))
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	src, err := newSource(&input{name: "pipe", fd: int(r.Fd()), waits: true, ctx: ctx}, AnyFormat, Config{Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	err = src.Run(ctx, func(batch []Packet) error {
		if n += len(batch); n == 3 {
			cancel() // nothing else ends it
		}
		return nil
	})
	if err != nil || n != 3 {
		t.Errorf("%d packets, %v", n, err)
	}
}
