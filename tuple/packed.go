package tuple

import "net/netip"

// Packed is a Tuple without pointers, for tables that are better not walked by
// the garbage collector. It has no gaps, so that it compares and hashes as
// plain memory. The zero value is the packed form of no tuple.
type Packed struct {
	src, dst         [16]byte
	srcPort, dstPort uint16
	proto            uint16
	kind             uint16 // which addresses are IPv4; never 0
}

const (
	packed = 1 << iota
	srcIs4
	dstIs4
)

// Pack returns the packed form of t, whose addresses are valid and have no zone.
func (t *Tuple) Pack() Packed {
	p := Packed{src: t.Src.As16(), dst: t.Dst.As16(), srcPort: t.SrcPort, dstPort: t.DstPort, proto: uint16(t.Proto), kind: packed}
	if t.Src.Is4() {
		p.kind |= srcIs4
	}
	if t.Dst.Is4() {
		p.kind |= dstIs4
	}
	return p
}

// Tuple returns what was packed.
func (p *Packed) Tuple() Tuple {
	t := Tuple{Src: netip.AddrFrom16(p.src), Dst: netip.AddrFrom16(p.dst), SrcPort: p.srcPort, DstPort: p.dstPort, Proto: uint8(p.proto)}
	if p.kind&srcIs4 != 0 {
		t.Src = t.Src.Unmap()
	}
	if p.kind&dstIs4 != 0 {
		t.Dst = t.Dst.Unmap()
	}
	return t
}
