// Package tuple extracts the 5-tuple of a TCP or UDP packet from the bytes of
// an IPv4 or IPv6 packet. It knows IP headers and nothing else.
package tuple

import (
	"encoding/binary"
	"net/netip"
)

// Tuple is the 5-tuple of a packet. It is comparable, so it can be a map key.
type Tuple struct {
	Src, Dst         netip.Addr
	SrcPort, DstPort uint16
	Proto            uint8 // IANA protocol number: 6 (TCP) or 17 (UDP) where Parse made it
}

// Protocol numbers that Parse knows (IANA Assigned Internet Protocol Numbers
// and, for extension headers, IPv6 Extension Header Types).
const (
	protoHopByHop = 0
	protoTCP      = 6
	protoUDP      = 17
	protoRouting  = 43
	protoFragment = 44
	protoAH       = 51
	protoDestOpts = 60
	protoMobility = 135
	protoHIP      = 139
	protoShim6    = 140
)

const portsLen = 4 // source and destination port open both TCP and UDP

// Parse returns the 5-tuple of the packet in ip, which begins with the IP
// header; the version there decides. The outermost header is the one that
// counts: tunnels are not entered. Bytes beyond the packet's own length are
// padding; a length of 0 (segmentation offload, jumbograms) or one past the end
// of ip means the end of ip.
//
// The error is always a Reason. Parse does not allocate, does not keep ip and
// does not panic on any bytes. Checksums, options and the rest of the transport
// header are not looked at.
func Parse(ip []byte) (t Tuple, err error) {
	err = t.Parse(ip)
	return t, err
}

// Parse is the function Parse where t is to be the tuple: whoever goes through
// many packets saves a copy of each. Where there is an error, t is as it was.
func (t *Tuple) Parse(ip []byte) error {
	if len(ip) == 0 {
		return Truncated
	}
	switch ip[0] >> 4 {
	case 4:
		return t.parse4(ip)
	case 6:
		return t.parse6(ip)
	}
	return NotIP
}

// parse4 reads the header of RFC 791 section 3.1.
func (t *Tuple) parse4(ip []byte) error {
	const fixedLen = 20
	if len(ip) < fixedLen {
		return Truncated
	}
	headerLen := int(ip[0]&0x0f) * 4
	if headerLen < fixedLen {
		return Malformed
	}
	short := error(Truncated) // what it means to run out of bytes
	if total := int(binary.BigEndian.Uint16(ip[2:])); total != 0 && total < headerLen {
		return Malformed
	} else if total != 0 && total <= len(ip) {
		ip, short = ip[:total], Malformed
	}
	if len(ip) < headerLen {
		return short
	}
	if binary.BigEndian.Uint16(ip[6:])&0x1fff != 0 { // fragment offset
		return LaterFragment
	}
	proto, rest := ip[9], ip[headerLen:]
	for proto == protoAH {
		if proto, rest = nextAH(rest); rest == nil {
			return short
		}
	}
	if proto != protoTCP && proto != protoUDP {
		return OtherProtocol
	}
	if len(rest) < portsLen {
		return short
	}
	t.Src, t.Dst = netip.AddrFrom4([4]byte(ip[12:16])), netip.AddrFrom4([4]byte(ip[16:20]))
	t.SrcPort, t.DstPort, t.Proto = binary.BigEndian.Uint16(rest), binary.BigEndian.Uint16(rest[2:]), proto
	return nil
}

// parse6 reads the header of RFC 8200 section 3 and the chain behind it.
func (t *Tuple) parse6(ip []byte) error {
	const fixedLen = 40
	if len(ip) < fixedLen {
		return Truncated
	}
	short := error(Truncated)
	if n := int(binary.BigEndian.Uint16(ip[4:])); n != 0 && fixedLen+n <= len(ip) {
		ip, short = ip[:fixedLen+n], Malformed
	}
	proto, rest, err := skipExtensions(ip[6], ip[fixedLen:], short)
	if err != nil {
		return err
	}
	if proto != protoTCP && proto != protoUDP {
		return OtherProtocol
	}
	if len(rest) < portsLen {
		return short
	}
	t.Src, t.Dst = netip.AddrFrom16([16]byte(ip[8:24])), netip.AddrFrom16([16]byte(ip[24:40]))
	t.SrcPort, t.DstPort, t.Proto = binary.BigEndian.Uint16(rest), binary.BigEndian.Uint16(rest[2:]), proto
	return nil
}

// skipExtensions walks the extension headers in rest, the first of which is of
// type next, in whatever order and number they come (RFC 8200 section 4.1 asks
// receivers for that), and returns the first protocol that is none and the
// bytes behind. ESP and no-next-header end the chain like any protocol. It
// returns short where rest ends inside a header. Every header has 8 bytes or
// more, so the walk is bounded by the length of rest.
func skipExtensions(next uint8, rest []byte, short error) (uint8, []byte, error) {
	for {
		switch next {
		case protoHopByHop, protoRouting, protoDestOpts, protoMobility, protoHIP, protoShim6:
			// Length in units of 8 bytes, the first not counted (RFC 8200
			// section 4.3; RFC 6275 section 6.1.1; RFC 7401 section 5.1;
			// RFC 5533 section 5.1).
			if len(rest) < 2 {
				return 0, nil, short
			}
			n := (int(rest[1]) + 1) * 8
			if len(rest) < n {
				return 0, nil, short
			}
			next, rest = rest[0], rest[n:]
		case protoFragment:
			// RFC 8200 section 4.5: 8 bytes, the offset in the upper 13 bits.
			if len(rest) < 8 {
				return 0, nil, short
			}
			if binary.BigEndian.Uint16(rest[2:])&^7 != 0 {
				return 0, nil, LaterFragment
			}
			next, rest = rest[0], rest[8:]
		case protoAH:
			if next, rest = nextAH(rest); rest == nil {
				return 0, nil, short
			}
		default:
			return next, rest, nil
		}
	}
}

// nextAH steps over an authentication header, whose length counts units of 4
// bytes less 2 (RFC 4302 section 2.2). The rest is nil where b is too short.
func nextAH(b []byte) (next uint8, rest []byte) {
	if len(b) < 2 {
		return 0, nil
	}
	n := (int(b[1]) + 2) * 4
	if len(b) < n {
		return 0, nil
	}
	return b[0], b[n:]
}
