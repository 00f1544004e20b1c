package capture

import "encoding/binary"

// Ethertypes (IANA IEEE 802 Numbers).
const (
	etherIPv4     = 0x0800
	etherIPv6     = 0x86dd
	etherVLAN     = 0x8100 // 802.1Q
	etherQinQ     = 0x88a8 // 802.1ad
	etherQinQ9100 = 0x9100 // before 802.1ad
	etherQinQ9200 = 0x9200
	etherMPLS     = 0x8847 // unicast; RFC 3032 section 5
	etherMPLSMC   = 0x8848 // upstream-assigned or multicast; RFC 5332
	etherPPPoE    = 0x8864 // session stage; RFC 2516
)

// decodeEthernet is an Ethernet II or 802.3 frame without preamble.
func decodeEthernet(b []byte) ([]byte, Reason) {
	const headerLen = 14
	if len(b) < headerLen {
		return nil, LinkCut
	}
	etherType := binary.BigEndian.Uint16(b[12:])
	if etherType == etherIPv4 || etherType == etherIPv6 {
		return b[headerLen:], 0 // nearly every frame
	}
	return decodeEtherType(etherType, b[headerLen:])
}

// decodeEtherType is what stands behind an ethertype, VLAN tags in any number
// first. Values up to 1500 are an 802.3 length, which bounds nothing, with LLC
// behind it.
func decodeEtherType(etherType uint16, b []byte) ([]byte, Reason) {
	for {
		switch etherType {
		case etherIPv4, etherIPv6:
			return b, 0
		case etherVLAN, etherQinQ, etherQinQ9100, etherQinQ9200:
			if len(b) < 4 {
				return nil, LinkCut
			}
			etherType, b = binary.BigEndian.Uint16(b[2:]), b[4:]
		case etherMPLS, etherMPLSMC:
			return decodeMPLS(b)
		case etherPPPoE:
			return decodePPPoE(b)
		default:
			if etherType <= 1500 {
				return decodeLLC(b)
			}
			return nil, NotIP
		}
	}
}

// decodeLLC is an LLC header (IEEE 802.2): SNAP with an OUI of 0 has an
// ethertype behind it, which is entered for IP alone.
func decodeLLC(b []byte) ([]byte, Reason) {
	if len(b) < 3 {
		return nil, LinkCut
	}
	if b[0] != 0xaa || b[1] != 0xaa || b[2] != 0x03 {
		return nil, NotIP
	}
	if len(b) < 8 {
		return nil, LinkCut
	}
	if b[3] != 0 || b[4] != 0 || b[5] != 0 {
		return nil, NotIP
	}
	switch binary.BigEndian.Uint16(b[6:]) {
	case etherIPv4, etherIPv6:
		return b[8:], 0
	}
	return nil, NotIP
}

// decodeMPLS is a label stack (RFC 3032 section 2.1). What is behind it is not
// said: the first nibble tells IP from a pseudowire's control word (RFC 4385
// section 3), which has an Ethernet frame behind it.
func decodeMPLS(b []byte) ([]byte, Reason) {
	const bottomOfStack = 1 << 0 // of the third byte
	for {
		if len(b) < 4 {
			return nil, LinkCut
		}
		bottom := b[2]&bottomOfStack != 0
		if b = b[4:]; bottom {
			break
		}
	}
	if len(b) == 0 {
		return nil, LinkCut
	}
	switch b[0] >> 4 {
	case 4, 6:
		return b, 0
	case 0:
		if len(b) < 4 {
			return nil, LinkCut
		}
		return decodeEthernet(b[4:])
	}
	return nil, NotIP
}

// decodePPPoE is a session packet (RFC 2516 section 4): six bytes, of which the
// length bounds nothing, then PPP.
func decodePPPoE(b []byte) ([]byte, Reason) {
	const headerLen = 6
	if len(b) < headerLen {
		return nil, LinkCut
	}
	if b[0] != 0x11 { // version and type
		return nil, LinkBad
	}
	if b[1] != 0 { // code: session data
		return nil, NotIP
	}
	return decodePPP(b[headerLen:])
}

// decodePPP is a PPP frame: address and control may be left out, and so may the
// first byte of a protocol below 256 (RFC 1661 section 6.5 and 6.6; RFC 1662
// section 3.2). An odd first byte ends the protocol field.
func decodePPP(b []byte) ([]byte, Reason) {
	const (
		pppIPv4 = 0x21
		pppIPv6 = 0x57
	)
	if len(b) >= 2 && b[0] == 0xff && b[1] == 0x03 {
		b = b[2:]
	}
	if len(b) == 0 || len(b) == 1 && b[0] == 0xff {
		return nil, LinkCut
	}
	protocol := uint16(b[0])
	if protocol&1 != 0 {
		b = b[1:]
	} else {
		if len(b) < 2 {
			return nil, LinkCut
		}
		protocol, b = protocol<<8|uint16(b[1]), b[2:]
	}
	switch protocol {
	case pppIPv4, pppIPv6:
		return b, 0
	case 0x0281, 0x0283: // MPLS; RFC 3032 section 4.3
		return decodeMPLS(b)
	}
	return nil, NotIP
}

// decodePPPWithDir is PPP behind a byte that tells the direction.
func decodePPPWithDir(b []byte) ([]byte, Reason) {
	if len(b) == 0 {
		return nil, LinkCut
	}
	return decodePPP(b[1:])
}

// decodePPPHDLC is PPP on a serial line, where the first byte may also say that
// it is Cisco's (www.tcpdump.org/linktypes.html, LINKTYPE_PPP_HDLC). No protocol
// field begins with these.
func decodePPPHDLC(b []byte) ([]byte, Reason) {
	if len(b) > 0 && (b[0] == chdlcUnicast || b[0] == chdlcMulticast) {
		return decodeCHDLC(b)
	}
	return decodePPP(b)
}

// Addresses of Cisco HDLC.
const (
	chdlcUnicast   = 0x0f
	chdlcMulticast = 0x8f
)

// decodeCHDLC is Cisco HDLC: address, control, ethertype (RFC 1547 section
// 4.3.1 describes it). An address of PPP makes it PPP, as in PPP_HDLC.
func decodeCHDLC(b []byte) ([]byte, Reason) {
	if len(b) < 4 {
		return nil, LinkCut
	}
	switch b[0] {
	case chdlcUnicast, chdlcMulticast:
		return decodeEtherType(binary.BigEndian.Uint16(b[2:]), b[4:])
	case 0xff:
		return decodePPP(b)
	}
	return nil, NotIP
}
