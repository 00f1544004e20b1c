package tuple_test

import (
	"net/netip"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"nmsgsensor/tuple"
)

// oracle is the tuple by gopacket's decoders. It is not sure where they stop
// before a whole TCP or UDP header, enter a tunnel, or follow an IPv6 extension
// header out of IPv4, where the only one is AH (RFC 8200 section 4, RFC 4302
// section 2).
func oracle(ip []byte) (want tuple.Tuple, sure bool) {
	first := layers.LayerTypeIPv4
	if ip[0]>>4 == 6 {
		first = layers.LayerTypeIPv6
	}
	// Its IPv4 decoder can panic on bad options (recovered by default).
	p := gopacket.NewPacket(ip, first, gopacket.DecodeOptions{NoCopy: true})
	for i, l := range p.Layers() {
		switch l := l.(type) {
		case *layers.IPv4:
			if i > 0 {
				return want, false
			}
			want.Src, _ = netip.AddrFromSlice(l.SrcIP)
			want.Dst, _ = netip.AddrFromSlice(l.DstIP)
		case *layers.IPv6:
			if i > 0 {
				return want, false
			}
			want.Src, _ = netip.AddrFromSlice(l.SrcIP)
			want.Dst, _ = netip.AddrFromSlice(l.DstIP)
		case *layers.IPSecAH:
		case *layers.IPv6HopByHop, *layers.IPv6Routing, *layers.IPv6Destination:
			if first == layers.LayerTypeIPv4 {
				return want, false
			}
		case *layers.TCP:
			want.SrcPort, want.DstPort, want.Proto = uint16(l.SrcPort), uint16(l.DstPort), 6
			return want, len(l.Contents) > 0 // else decoding failed
		case *layers.UDP:
			want.SrcPort, want.DstPort, want.Proto = uint16(l.SrcPort), uint16(l.DstPort), 17
			return want, len(l.Contents) > 0 // else decoding failed
		default:
			return want, false
		}
	}
	return want, false
}

// difference names what Parse and gopacket rightly see differently, or returns
// "". RFCs decide:
//   - AH: its length counts 4-byte units less 2 also in IPv6 (RFC 4302 section
//     2.2), and gopacket reads it from another byte than some packets mean.
//   - gopacket takes a total length below the header, or a jumbogram whose
//     option is missing, for an error or for nothing as it goes.
func difference(ip []byte, err error) string {
	switch {
	case ip[0]>>4 == 4 && err == tuple.Malformed:
		return "RFC 791 section 3.1: lengths that contradict each other"
	case ip[0]>>4 == 6 && len(ip) > 40 && ip[4] == 0 && ip[5] == 0:
		return "RFC 2675 section 3: payload length 0"
	case ip[0]>>4 == 6 && err == tuple.Malformed:
		return "RFC 8200 section 3: bytes past the payload length are none of the packet"
	}
	return ""
}

func FuzzParse(f *testing.F) {
	f.Add(join(v4(5, 40, 0, 17), ports, rest))
	f.Add(join(v4(6, 44, 0, 6), rest[:4], ports, rest))
	f.Add(join(v4(5, 52, 0, 51), []byte{6, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1}, ports, rest))
	f.Add(join(v4(5, 0, 0, 0), []byte{17, 0, 0, 0, 0, 0, 0, 0}, ports, rest)) // IPv6 options in IPv4
	f.Add(join(v6(20, 17), ports, rest))
	f.Add(join(v6(28, 0), []byte{6, 0, 0, 0, 0, 0, 0, 0}, ports, rest))
	f.Add(join(v6(28, 44), []byte{6, 0, 0, 1, 0, 0, 0, 7}, ports, rest))
	f.Add(join(v6(28, 60), []byte{17, 0, 0, 0, 0, 0, 0, 0}, ports, rest))
	f.Fuzz(func(t *testing.T, ip []byte) {
		got, err := within(ip)
		if err != nil {
			if _, ok := err.(tuple.Reason); !ok || got != (tuple.Tuple{}) {
				t.Fatalf("%v with %T %v", got, err, err)
			}
		} else if got.Proto != 6 && got.Proto != 17 || got.Src.BitLen() != got.Dst.BitLen() {
			t.Fatalf("%v", got)
		}
		if len(ip) == 0 || ip[0]>>4 != 4 && ip[0]>>4 != 6 {
			return
		}
		want, sure := oracle(ip)
		if sure && (err != nil || got != want) && difference(ip, err) == "" {
			t.Errorf("got %v, %v; gopacket says %v", got, err, want)
		}
	})
}
