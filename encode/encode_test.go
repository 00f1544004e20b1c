package encode

import (
	"bytes"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	nmsg "github.com/farsightsec/go-nmsg"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"nmsgsensor/tuple"
)

func read(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile("../testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// payload is a Payload that was kept.
type payload struct {
	Vendor, Type uint32
	Sec          int64
	Nsec         int
	Labels       Labels
	Data         string
}

func keep(p *Payload) payload {
	return payload{p.Vendor, p.Type, p.Time.Unix(), p.Time.Nanosecond(), p.Labels, string(p.Data)}
}

// decodeAll returns the payloads of a stream of containers, those with a bad CRC
// left out, and what was wrong.
func decodeAll(b []byte) (all []payload, badCRC int, errs []error) {
	var d Decoder
	r := NewReader(bytes.NewReader(b))
	for {
		c, err := r.Next()
		if err == io.EOF {
			return
		}
		if err == nil {
			err = d.Decode(c, netip.AddrPort{}, time.Time{}, func(p *Payload) error {
				if p.Sound() {
					all = append(all, keep(p))
				} else {
					badCRC++
				}
				return nil
			})
		}
		if err != nil {
			errs = append(errs, err)
		}
	}
}

// again encodes payloads of base:packet and base:ipconn anew.
func again(t testing.TB, c *Container, all []payload) {
	for _, p := range all {
		at := time.Unix(p.Sec, int64(p.Nsec))
		if p.Type == TypePacket {
			ip, err := ParsePacket([]byte(p.Data))
			if err != nil {
				t.Fatal(err)
			}
			c.AppendPacket(at, p.Labels, ip, 0)
			continue
		}
		tp, err := ParseIPConn([]byte(p.Data))
		if err != nil {
			t.Fatal(err)
		}
		c.AppendIPConn(at, p.Labels, &tp, 0)
	}
}

func TestGoldenFilesEncodeAgainToTheSameBytes(t *testing.T) {
	for _, name := range []string{"plain", "labelled", "ipconn", "jumbo"} {
		want := read(t, "nmsg/"+name+".nmsg")
		all, bad, errs := decodeAll(want)
		if bad != 0 || errs != nil {
			t.Fatal(name, bad, errs)
		}
		var c Container
		again(t, &c, all)
		if got := c.Seal(nil, false); !bytes.Equal(got, want) {
			t.Errorf("%s: %x\nwant %x", name, got, want)
		}
		if c.Size(nil) != len(want) {
			t.Errorf("%s: size %d, is %d", name, c.Size(nil), len(want))
		}
	}
	want := read(t, "nmsg/unbuffered.nmsg")
	all, _, _ := decodeAll(want)
	var got []byte
	for i := range all {
		var c Container
		again(t, &c, all[i:i+1])
		got = append(got, c.Seal(nil, false)...)
	}
	if !bytes.Equal(got, want) {
		t.Error("unbuffered differs")
	}
}

func TestGoldenFilesHoldTheSamePayloads(t *testing.T) {
	plain, _, _ := decodeAll(read(t, "nmsg/plain.nmsg"))
	ipconn, _, _ := decodeAll(read(t, "nmsg/ipconn.nmsg"))
	if len(plain) != 28 || len(ipconn) != 6 {
		t.Fatal(len(plain), len(ipconn))
	}
	for _, c := range []struct {
		name string
		want []payload
	}{
		{"zlib", plain}, {"unbuffered", plain}, {"ipconn_zlib", ipconn},
	} {
		got, bad, errs := decodeAll(read(t, "nmsg/"+c.name+".nmsg"))
		if diff := cmp.Diff(c.want, got); diff != "" || bad != 0 || errs != nil {
			t.Error(c.name, bad, errs, diff)
		}
	}
	mixed, _, errs := decodeAll(read(t, "nmsg/mixed.nmsg"))
	if errs != nil || len(mixed) != 63 || !slices.Equal(mixed[:28], plain) || mixed[28].Type == TypePacket ||
		!slices.Equal(mixed[29:35], ipconn) || !slices.Equal(mixed[35:], plain) {
		t.Error("mixed differs", len(mixed), errs)
	}
}

// datagrams reads a file of datagrams, each behind its length.
func datagrams(t testing.TB, name string) (all [][]byte) {
	for b := read(t, "dgrams/"+name+".dgrams"); len(b) > 0; {
		n := binary.BigEndian.Uint32(b)
		all = append(all, b[4:4+n])
		b = b[4+n:]
	}
	return all
}

func TestGoldenDatagrams(t *testing.T) {
	packets, _, _ := decodeAll(read(t, "nmsg/plain.nmsg"))
	jumbo, _, _ := decodeAll(read(t, "nmsg/jumbo.nmsg"))
	ipconn, _, _ := decodeAll(read(t, "nmsg/ipconn.nmsg"))
	incompressible, _, _ := decodeAll(read(t, "nmsgtool/incompressible.pcap.nmsg"))
	for _, c := range []struct {
		name string
		want []payload
		bad  int
	}{
		{"ipconn_unbuffered", ipconn, 0},
		{"ipconn_buffered_512_zlib", ipconn, 0},
		{"packet_1280", packets, 0},
		{"packet_fragmented_1280", jumbo, 0},
		{"packet_zlib_fragmented_1280", incompressible, 0},
		{"headerless_zlib_bug", nil, 2},
	} {
		var d Decoder
		var got []payload
		bad := 0
		for _, b := range datagrams(t, c.name) {
			if err := d.Decode(b, netip.AddrPort{}, time.Time{}, func(p *Payload) error {
				if p.Sound() {
					got = append(got, keep(p))
				}
				return nil
			}); err != nil {
				bad++
			}
		}
		if diff := cmp.Diff(c.want, got); diff != "" || bad != c.bad || d.Lost() != 0 || d.LostFragments() != 0 {
			t.Errorf("%s: bad %d, lost %d and %d: %s", c.name, bad, d.Lost(), d.LostFragments(), diff)
		}
	}
}

var (
	someTime  = time.Unix(1424588307, 573210000)
	someTuple = tuple.Tuple{Src: netip.MustParseAddr("192.0.2.1"), Dst: netip.MustParseAddr("2001:db8::2"), SrcPort: 51512, DstPort: 443, Proto: 6}
)

func TestSizesAreThoseOfTheBytes(t *testing.T) {
	var c Container
	for n := range 300 {
		for _, l := range []Labels{{}, {Source: 1, Operator: 1 << 31, Group: 300}} {
			c.AppendPacket(someTime, l, make([]byte, n*n), 0)
			tp := someTuple
			tp.SrcPort = uint16(n * n)
			c.AppendIPConn(someTime, l, &tp, 0)
			if got := len(c.Seal(nil, false)); got != c.Size(nil) {
				t.Fatalf("sealed %d, size %d", got, c.Size(nil))
			}
			if c.Size(nil) > 200_000 {
				c.Reset()
			}
		}
	}
	for _, next := range []uint32{0, 127, 128, 1<<32 - 1} {
		seq := &Sequence{ID: rand.Uint64(), Next: next}
		if got := len(c.Seal(seq, false)); got != c.Size(seq) {
			t.Errorf("sealed %d, size %d", got, c.Size(seq))
		}
	}
}

func TestTypesAndSecondsMayChangeWithEachPayload(t *testing.T) {
	var c Container
	seconds := []int64{0, 0, 1424588307, 1424588307, 1424588308, -1, -1, 0, 1 << 40}
	for i, sec := range seconds {
		if i%2 == 0 {
			c.AppendPacket(time.Unix(sec, int64(i)), Labels{}, []byte{0x45}, 0)
		} else {
			c.AppendIPConn(time.Unix(sec, int64(i)), Labels{}, &someTuple, 0)
		}
	}
	var d Decoder
	i := 0
	err := d.Decode(c.Seal(nil, false), netip.AddrPort{}, time.Time{}, func(p *Payload) error {
		if want := []uint32{TypePacket, TypeIPConn}[i%2]; p.Type != want || p.Time.Unix() != seconds[i] || p.Time.Nanosecond() != i || !p.Sound() {
			t.Errorf("payload %d: type %d, time %v, %v", i, p.Type, p.Time, p.Sound())
		}
		i++
		return nil
	})
	if err != nil || i != len(seconds) {
		t.Error(i, err)
	}
}

func TestSealedInPartsIsWhatWasPutIn(t *testing.T) {
	for _, zlib := range []bool{false, true} {
		var c Container
		var marks []Mark
		for i := range 5 {
			c.AppendPacket(someTime, Labels{}, bytes.Repeat([]byte{byte(i)}, 100*i), 0)
			marks = append(marks, c.Mark())
		}
		part := slices.Clone(c.SealTo(marks[1], &Sequence{ID: 7}, zlib))
		c.Drop(marks[1])
		rest := slices.Clone(c.Seal(&Sequence{ID: 7, Next: 1}, zlib))
		all, bad, errs := decodeAll(append(part, rest...))
		if len(all) != 5 || bad != 0 || errs != nil || c.Len() != 3 {
			t.Fatal(len(all), bad, errs)
		}
		for i, p := range all {
			if ip, err := ParsePacket([]byte(p.Data)); err != nil || len(ip) != 100*i {
				t.Errorf("payload %d: %d bytes, %v", i, len(ip), err)
			}
		}
	}
}

// TestFragmentsAtEveryLength cuts bodies of every length around multiples of the
// piece and puts them together again, here and with go-nmsg.
func TestFragmentsAtEveryLength(t *testing.T) {
	const mtu = MinContainer
	var c Container // one, as its deflater is large
	for n := 400; n < 3*mtu; n++ {
		c.Reset()
		ip := make([]byte, n)
		for i := range ip {
			ip[i] = byte(rand.Uint32())
		}
		c.AppendPacket(someTime, Labels{}, ip, 0)
		for _, zlib := range []bool{false, true} {
			sealed := c.Seal(&Sequence{ID: rand.Uint64(), Next: 5}, zlib)
			frags := NewFragments(sealed, mtu, rand.Uint32())
			var d Decoder
			var got [][]byte
			for i := range frags.Len() {
				b := frags.Append(nil, i)
				if len(b) > mtu {
					t.Fatalf("datagram of %d bytes", len(b))
				}
				var f nmsg.NmsgFragment
				if err := proto.Unmarshal(b[HeaderSize:], &f); err != nil || len(f.Fragment) == 0 ||
					int(f.GetCurrent()) != i || int(f.GetLast()) != frags.Len()-1 ||
					int(binary.BigEndian.Uint32(b[6:])) != len(b)-HeaderSize {
					t.Fatalf("%d bytes, fragment %d of %d: %v %v", n, i, frags.Len(), &f, err)
				}
				if err := d.Decode(b, netip.AddrPort{}, time.Time{}, func(p *Payload) error {
					if !p.Sound() {
						t.Error("wrong CRC")
					}
					got = append(got, slices.Clone(p.Data))
					return nil
				}); err != nil {
					t.Fatal(err)
				}
			}
			if len(got) != 1 || !bytes.HasSuffix(got[0], ip) {
				t.Fatalf("%d bytes, zlib %v: %d payloads", n, zlib, len(got))
			}
		}
	}
}

func TestSequenceCountsLossAsNmsgtoolDoes(t *testing.T) {
	a := netip.MustParseAddrPort("127.0.0.1:1")
	for _, c := range []struct {
		name    string
		numbers []uint32
		lost    uint64
	}{
		{"in order", []uint32{0, 1, 2}, 0},
		{"starts anywhere", []uint32{1000, 1001}, 0},
		{"a gap", []uint32{0, 5, 6}, 4},
		{"wraps", []uint32{1<<32 - 1, 0, 1}, 0},
		{"wraps with a gap", []uint32{1<<32 - 1, 2}, 2},
		{"doubled: implausible, counts nothing", []uint32{0, 1, 1, 2}, 0},
		{"reordered: the later one twice a gap", []uint32{0, 2, 1, 3}, 2},
		{"an implausible gap", []uint32{0, 1<<20 + 2}, 0},
		{"the largest plausible gap", []uint32{0, 1<<20 + 1}, 1 << 20},
	} {
		var s sequences
		for _, n := range c.numbers {
			s.update(Sequence{ID: 1, Next: n}, a, time.Time{})
		}
		s.update(Sequence{ID: 2, Next: 99}, a, time.Time{}) // another sender
		if s.lost != c.lost {
			t.Errorf("%s: lost %d, want %d", c.name, s.lost, c.lost)
		}
	}
}

func TestNothingAllocates(t *testing.T) {
	var c Container
	ip := make([]byte, 400)
	if n := testing.AllocsPerRun(100, func() {
		c.Reset()
		for range 10 {
			c.AppendPacket(someTime, Labels{Source: 1}, ip, 0)
			c.AppendIPConn(someTime, Labels{}, &someTuple, 0)
		}
		c.Seal(&Sequence{ID: 1}, false)
		c.Seal(&Sequence{ID: 1}, true)
	}); n != 0 {
		t.Errorf("writing: %v allocations", n)
	}
	var d Decoder
	fn := func(p *Payload) error { ParsePacket(p.Data); ParseIPConn(p.Data); return nil }
	plain, zipped := slices.Clone(c.Seal(nil, false)), slices.Clone(c.Seal(nil, true))
	if n := testing.AllocsPerRun(100, func() {
		d.Decode(plain, netip.AddrPort{}, time.Time{}, fn)
		d.Decode(zipped, netip.AddrPort{}, time.Time{}, fn)
	}); n != 0 {
		t.Errorf("reading: %v allocations", n)
	}
}
