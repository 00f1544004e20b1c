package main

import (
	"bytes"
	"encoding/binary"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/gopacket/pcap"

	"nmsgsensor/encode"
	"nmsgsensor/tuple"
)

var differential = flag.Duration("differential", time.Second, "how long each differential test against nmsgtool goes on")

// rounds calls fn with random numbers of their own until the time is over, in a
// folder of its own.
func rounds(t *testing.T, fn func(dir string, r *rand.Rand) (cases int)) {
	needs(t, "nmsgtool")
	cases, n := 0, 0
	for end := time.Now().Add(*differential); !t.Failed() && (n == 0 || time.Now().Before(end)); n++ {
		seed := rand.Uint64()
		cases += fn(t.TempDir(), rand.New(rand.NewPCG(seed, 0)))
		if t.Failed() {
			t.Logf("seed %d", seed)
		}
	}
	t.Logf("%d cases in %d rounds", cases, n)
}

// ours runs nmsgsensor; an input may be damaged.
func ours(t *testing.T, args ...string) {
	t.Helper()
	var words bytes.Buffer
	if status := run(append([]string{"-q"}, args...), io.Discard, &words); status == exitUsage {
		t.Fatalf("%v: %s", args, &words)
	}
}

// theirs runs nmsgtool, which gives up at the first thing that it does not like.
func theirs(args ...string) (text []byte, err error) {
	return exec.Command("nmsgtool", args...).Output()
}

// listOf returns what is in an NMSG file, payload by payload; those with a
// wrong CRC count for nothing.
func listOf(t *testing.T, name string) (all []string) {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		return nil // nothing was written
	}
	var d encode.Decoder
	for r := encode.NewReader(bytes.NewReader(b)); ; {
		c, err := r.Next()
		if err == io.EOF {
			return all
		}
		if err != nil {
			continue
		}
		d.Decode(c, netip.AddrPort{}, time.Time{}, func(p *encode.Payload) error {
			if p.Sound() {
				all = append(all, fmt.Sprint(p.Vendor, p.Type, p.Time.UnixNano(), p.Labels, fmt.Sprintf("%x", p.Data)))
			}
			return nil
		})
	}
}

// differs returns the first place where two lists differ.
func differs(a, b []string) string {
	for i := range max(len(a), len(b)) {
		switch {
		case i >= len(a):
			return fmt.Sprintf("%d and %d payloads: second has %.200s", len(a), len(b), b[i])
		case i >= len(b):
			return fmt.Sprintf("%d and %d payloads: first has %.200s", len(a), len(b), a[i])
		case a[i] != b[i]:
			return fmt.Sprintf("payload %d: %.200s and %.200s", i, a[i], b[i])
		}
	}
	return ""
}

// goldenFrames returns the frames of the captures of a link type.
func goldenFrames(t *testing.T, link int) (all [][]byte) {
	t.Helper()
	names, _ := filepath.Glob("../../testdata/pcap/*.pcap*")
	for _, name := range names {
		h, err := pcap.OpenOffline(name)
		if err != nil {
			continue
		}
		for int(h.LinkType()) == link {
			frame, _, err := h.ReadPacketData()
			if err != nil {
				break
			}
			all = append(all, frame[:min(len(frame), 1500)])
		}
		h.Close()
	}
	if len(all) == 0 {
		t.Fatal("no frames of link type ", link)
	}
	return all
}

// mutate changes a frame a little, or not at all.
func mutate(r *rand.Rand, frame []byte) []byte {
	b := slices.Clone(frame)
	for range r.IntN(4) {
		switch n := max(len(b), 1); r.IntN(5) {
		case 0:
			b = b[:r.IntN(n)]
		case 1:
			b = append(b, make([]byte, r.IntN(40))...)
		case 2:
			if len(b) > 1 {
				at := r.IntN(len(b))
				b = slices.Insert(b, at, b[:r.IntN(min(len(b), 9))]...)
			}
		default:
			if len(b) > 0 {
				b[r.IntN(min(len(b), 64))] = byte(r.Uint32())
			}
		}
	}
	return b
}

// nmsgtoolPasses says whether nmsgtool is known not to see a frame as we do: it
// takes one VLAN tag and nothing else before IP, does not look at the version in RAW
// frames, and takes a tag behind a cooked header for IP.
func nmsgtoolPasses(link int, b []byte) (differently bool) {
	switch link {
	case 12:
		return len(b) == 0 || b[0]>>4 != 4 && b[0]>>4 != 6
	case 1:
		if len(b) < 14 {
			return false
		}
		etherType := binary.BigEndian.Uint16(b[12:])
		if etherType == 0x8100 && len(b) >= 18 {
			etherType = binary.BigEndian.Uint16(b[16:])
		}
		return etherType != 0x0800 && etherType != 0x86dd
	}
	if len(b) < 16 {
		return false
	}
	etherType := binary.BigEndian.Uint16(b[14:])
	isTagged := len(b) > 20 && binary.BigEndian.Uint16(b[18:]) == etherType
	return etherType != 0x0800 && etherType != 0x86dd || binary.BigEndian.Uint16(b[2:]) != 1 || isTagged
}

// TestCapturesAsNmsgtoolReadsThem: frames that are broken somehow, but that are
// not known to be seen differently, become the same payloads, in the same
// containers.
func TestCapturesAsNmsgtoolReadsThem(t *testing.T) {
	const perFile = 500
	rounds(t, func(dir string, r *rand.Rand) int {
		link := []int{1, 12, 113}[r.IntN(3)]
		golden := goldenFrames(t, link)
		file := []byte{0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, byte(link), 0, 0, 0}
		for n := 0; n < perFile; {
			frame := mutate(r, golden[r.IntN(len(golden))])
			if nmsgtoolPasses(link, frame) || len(frame) == 0 {
				continue
			}
			wire := len(frame)
			if r.IntN(8) == 0 {
				wire += r.IntN(100)
			}
			for _, v := range []int{1_400_000_000 + n, r.IntN(1_000_000), len(frame), wire} {
				file = binary.LittleEndian.AppendUint32(file, uint32(v))
			}
			file = append(file, frame...)
			n++
		}
		in, our, their := filepath.Join(dir, "in.pcap"), filepath.Join(dir, "our.nmsg"), filepath.Join(dir, "their.nmsg")
		if err := os.WriteFile(in, file, 0o600); err != nil {
			t.Fatal(err)
		}
		how := [][]string{nil, {"-z"}, {"--unbuffered"}, {"--setsource", "0x1234", "--setoperator", "7"}}[r.IntN(4)]
		ours(t, append([]string{"-w", our, in}, how...)...)
		if _, err := theirs(append([]string{"-p", in, "-V", "base", "-T", "packet", "-w", their}, how...)...); err != nil {
			t.Errorf("nmsgtool: %v", err)
		}
		if d := differs(listOf(t, our), listOf(t, their)); d != "" {
			t.Errorf("link type %d %v, ours and nmsgtool's: %s", link, how, d)
		}
		return perFile
	})
}

// randomStream writes containers of both messages, as any writer might, and
// breaks some of it.
func randomStream(r *rand.Rand) []byte {
	var out []byte
	var c encode.Container
	for range 1 + r.IntN(20) {
		c.Reset()
		for range 1 + r.IntN(30) {
			at := time.Unix(r.Int64N(1<<32), r.Int64N(1e9))
			var l encode.Labels
			if r.IntN(3) == 0 {
				l = encode.Labels{Source: r.Uint32(), Operator: uint32(r.IntN(3)), Group: r.Uint32() >> r.IntN(32)}
			}
			if r.IntN(2) == 0 {
				c.AppendPacket(at, l, mutate(r, make([]byte, r.IntN(2000))), 0)
				continue
			}
			c.AppendIPConn(at, l, &tuple.Tuple{Src: randomAddr(r), Dst: randomAddr(r), SrcPort: uint16(r.Uint32()), DstPort: uint16(r.Uint32()), Proto: uint8(r.Uint32())}, 0)
		}
		out = append(out, c.Seal(nil, r.IntN(2) == 0)...)
	}
	if r.IntN(3) == 0 {
		for range 1 + r.IntN(3) {
			out[r.IntN(len(out))] ^= 1 << r.IntN(8)
		}
	}
	return out
}

func randomAddr(r *rand.Rand) netip.Addr {
	if r.IntN(2) == 0 {
		return netip.AddrFrom4([4]byte{byte(r.Uint32()), 2, 3, byte(r.Uint32())})
	}
	return netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, byte(r.Uint32()), 15: byte(r.Uint32())})
}

// TestStreamsAsNmsgtoolReadsThem: what nmsgtool takes of a stream and writes again
// is what stands in it for us, up to where it gives up; its JSON of the tuples is
// ours; and what we write of the stream, it reads.
func TestStreamsAsNmsgtoolReadsThem(t *testing.T) {
	rounds(t, func(dir string, r *rand.Rand) int {
		in, their, our := filepath.Join(dir, "in.nmsg"), filepath.Join(dir, "their.nmsg"), filepath.Join(dir, "our.nmsg")
		if err := os.WriteFile(in, randomStream(r), 0o600); err != nil {
			t.Fatal(err)
		}
		how := [][]string{nil, {"-z"}, {"--unbuffered"}}[r.IntN(3)]
		_, err := theirs(append([]string{"-r", in, "-w", their}, how...)...)
		want, got := listOf(t, in), listOf(t, their)
		if d := differs(want[:min(len(want), len(got))], got); d != "" || err == nil && len(want) != len(got) {
			t.Errorf("%v, what stands there and what nmsgtool read (%v): %s", how, err, d)
		}
		ours(t, append([]string{"-W", our, "-J", our + ".json", in}, how...)...)
		tuples := listOf(t, our)
		if len(tuples) == 0 {
			return len(want)
		}
		text, err := theirs("-r", our, "-J", "-")
		json, _ := os.ReadFile(our + ".json")
		if d := differs(strings.Split(string(json), "\n"), strings.Split(string(text), "\n")); d != "" || err != nil {
			t.Errorf("%v, JSON of ours and nmsgtool's (%v): %s", how, err, d)
		}
		again := our + ".again"
		if err := os.WriteFile(our+".only", json, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := theirs("-j", our+".only", "-w", again); err != nil || differs(tuples, listOf(t, again)) != "" {
			t.Errorf("nmsgtool -j (%v): %s", err, differs(tuples, listOf(t, again)))
		}
		return len(want)
	})
}
