package tuple

import (
	"net/netip"
	"testing"
)

// TestPackedIsTheTuple: every two of these differ packed, as they do otherwise,
// and unpacked they are what they were.
func TestPackedIsTheTuple(t *testing.T) {
	a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	mapped := netip.MustParseAddr("::ffff:192.0.2.1")
	zero4, zero6 := netip.IPv4Unspecified(), netip.IPv6Unspecified()
	all := []Tuple{
		{Src: a, Dst: b}, {Src: b, Dst: a}, {Src: a, Dst: a}, {Src: mapped, Dst: a}, {Src: a, Dst: mapped}, {Src: mapped, Dst: mapped},
		{Src: zero4, Dst: zero4}, {Src: zero6, Dst: zero6}, {Src: zero4, Dst: zero6},
		{Src: a, Dst: a, SrcPort: 1}, {Src: a, Dst: a, DstPort: 1}, {Src: a, Dst: a, Proto: 1},
		{Src: a, Dst: a, SrcPort: 0xffff, DstPort: 0xfffe, Proto: 0xff},
	}
	seen := map[Packed]Tuple{{}: {}}
	for _, want := range all {
		p := want.Pack()
		if other, ok := seen[p]; ok {
			t.Errorf("%v and %v are the same packed", want, other)
		}
		seen[p] = want
		if got := p.Tuple(); got != want {
			t.Errorf("%v became %v", want, got)
		}
	}
}
