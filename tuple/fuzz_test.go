package tuple_test

import (
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"nmsgsensor/tuple"
	"nmsgsensor/tuple/guard"
)

// opinion is what gopacket makes of a packet.
type opinion uint8

const (
	unsure        opinion = iota // it stopped on its way
	aTuple                       // TCP or UDP in the outermost packet
	notTuple                     // a later fragment or another protocol
	firstFragment                // the same to gopacket, which does not look into it
)

// oracle is the tuple by gopacket's decoders.
func oracle(ip []byte) (want tuple.Tuple, is opinion) {
	first := layers.LayerTypeIPv4
	if ip[0]>>4 == 6 {
		first = layers.LayerTypeIPv6
	}
	// Its IPv4 decoder can panic on bad options (recovered by default).
	p := gopacket.NewPacket(ip, first, gopacket.DecodeOptions{NoCopy: true})
	later := false
	for i, l := range p.Layers() {
		switch l := l.(type) {
		case *layers.IPv4:
			if i > 0 {
				return want, notTuple
			}
			want.Src, _ = netip.AddrFromSlice(l.SrcIP)
			want.Dst, _ = netip.AddrFromSlice(l.DstIP)
			later = l.FragOffset != 0
		case *layers.IPv6:
			if i > 0 {
				return want, notTuple
			}
			want.Src, _ = netip.AddrFromSlice(l.SrcIP)
			want.Dst, _ = netip.AddrFromSlice(l.DstIP)
		case *layers.IPSecAH, *layers.IPv6HopByHop, *layers.IPv6Routing, *layers.IPv6Destination:
		case *layers.IPv6Fragment:
			later = l.FragmentOffset != 0
		case *gopacket.Fragment:
			if !later {
				return want, firstFragment
			}
			return want, notTuple
		case *layers.TCP:
			want.SrcPort, want.DstPort, want.Proto = uint16(l.SrcPort), uint16(l.DstPort), 6
			return want, transport(l.Contents)
		case *layers.UDP:
			want.SrcPort, want.DstPort, want.Proto = uint16(l.SrcPort), uint16(l.DstPort), 17
			return want, transport(l.Contents)
		case *gopacket.DecodeFailure:
			return want, unsure
		default:
			return want, notTuple
		}
	}
	return want, unsure
}

// transport: without contents, decoding of the header failed.
func transport(contents []byte) opinion {
	if len(contents) == 0 {
		return unsure
	}
	return aTuple
}

// seen is a packet as both see it.
type seen struct {
	ip  []byte
	err error   // of Parse
	is  opinion // of gopacket
}

// differences are the cases in which Parse is right not to see what gopacket
// sees, each with the document that decides.
var differences = []struct {
	document string
	applies  func(seen) bool
}{
	{"RFC 791 section 3.1: a total length below the header contradicts it", func(s seen) bool {
		return s.ip[0]>>4 == 4 && s.err == tuple.Malformed
	}},
	{"RFC 791 section 3.2: the first fragment holds the transport header", func(s seen) bool {
		return s.ip[0]>>4 == 4 && s.is == firstFragment && s.err == nil
	}},
	{"RFC 8200 section 4: extension headers other than AH are those of IPv6", func(s seen) bool {
		return s.ip[0]>>4 == 4 && s.err == tuple.OtherProtocol
	}},
	{"RFC 2675 section 3: a payload length of 0 is a jumbogram's", func(s seen) bool {
		return s.ip[0]>>4 == 6 && s.ip[4] == 0 && s.ip[5] == 0
	}},
	{"RFC 8200 section 3: bytes past the payload length are none of the packet", func(s seen) bool {
		return s.ip[0]>>4 == 6 && s.err == tuple.Malformed
	}},
	{"RFC 8200 section 4.5: the first fragment holds the transport header", func(s seen) bool {
		return s.ip[0]>>4 == 6 && s.is == firstFragment && s.err == nil
	}},
}

// difference names what Parse and gopacket rightly see differently, or returns
// "".
func difference(s seen) string {
	for _, d := range differences {
		if d.applies(s) {
			return d.document
		}
	}
	return ""
}

// minimal is the shortest packet with this tuple.
func minimal(t tuple.Tuple) []byte {
	transport := []byte{byte(t.SrcPort >> 8), byte(t.SrcPort), byte(t.DstPort >> 8), byte(t.DstPort)}
	if t.Src.Is4() {
		return join(v4(5, 24, 0, t.Proto)[:12], t.Src.AsSlice(), t.Dst.AsSlice(), transport)
	}
	return join(v6(4, t.Proto)[:8], t.Src.AsSlice(), t.Dst.AsSlice(), transport)
}

// addRawFrames adds the frames of the captures, from each byte that can begin an
// IP header.
func addRawFrames(f *testing.F) {
	names, _ := filepath.Glob("../testdata/pcap/*.pcap")
	if len(names) == 0 {
		f.Fatal("no captures")
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		for i := range b {
			if v := b[i]; v >= 0x45 && v < 0x50 || v == 0x60 {
				f.Add(b[i:min(i+120, len(b))], byte(i), b[:i%7])
			}
		}
	}
}

// FuzzParse holds Parse against gopacket. What is accepted has the same tuple in
// the shortest packet, in one that is cut, if it has one still, and with more
// bytes behind it. Nothing is allocated.
func FuzzParse(f *testing.F) {
	for _, ip := range [][]byte{
		join(v4(5, 40, 0, 17), ports, rest),
		join(v4(6, 44, 0, 6), rest[:4], ports, rest),
		join(v4(5, 52, 0, 51), []byte{6, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1}, ports, rest),
		join(v4(5, 0, 0, 0), []byte{17, 0, 0, 0, 0, 0, 0, 0}, ports, rest), // IPv6 options in IPv4
		join(v6(20, 17), ports, rest),
		join(v6(28, 0), []byte{6, 0, 0, 0, 0, 0, 0, 0}, ports, rest),
		join(v6(28, 44), []byte{6, 0, 0, 1, 0, 0, 0, 7}, ports, rest),
		join(v6(28, 60), []byte{17, 0, 0, 0, 0, 0, 0, 0}, ports, rest),
		join(v6(36, 43), []byte{51, 0, 0, 0, 0, 0, 0, 0}, []byte{17, 0, 0, 0, 0, 0, 0, 0}, ports, rest),
	} {
		f.Add(ip, byte(30), rest)
	}
	addRawFrames(f)
	f.Fuzz(func(t *testing.T, ip []byte, cut byte, more []byte) {
		got, err := within(ip)
		if err != nil {
			if _, ok := err.(tuple.Reason); !ok || got != (tuple.Tuple{}) {
				t.Fatalf("%v with %T %v", got, err, err)
			}
		} else {
			accepted(t, ip, got, cut, more)
		}
		guard.NoAllocation(t, func() { tuple.Parse(ip) })
		if len(ip) == 0 || ip[0]>>4 != 4 && ip[0]>>4 != 6 {
			return
		}
		want, is := oracle(ip)
		agree := is == unsure || is == aTuple && err == nil && got == want || is > aTuple && err != nil
		if !agree && difference(seen{ip: ip, err: err, is: is}) == "" {
			t.Errorf("got %v, %v; gopacket says %v (%d)", got, err, want, is)
		}
	})
}

// accepted holds a tuple against that of packets that must have the same.
func accepted(t *testing.T, ip []byte, got tuple.Tuple, cut byte, more []byte) {
	if got.Proto != 6 && got.Proto != 17 || got.Src.BitLen() != got.Dst.BitLen() || got.Src.Is4() != (ip[0]>>4 == 4) {
		t.Fatalf("%v", got)
	}
	if again, err := within(minimal(got)); err != nil || again != got {
		t.Errorf("%v became %v, %v", got, again, err)
	}
	if longer, err := within(join(ip, more)); err != nil || longer != got {
		t.Errorf("%v became %v, %v with %d bytes behind", got, longer, err, len(more))
	}
	shorter, err := within(ip[:len(ip)-min(int(cut), len(ip))])
	if err == nil && shorter != got || err != nil && err != tuple.Truncated {
		t.Errorf("%v became %v, %v without the last %d bytes", got, shorter, err, cut)
	}
}
