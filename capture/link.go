package capture

import (
	"encoding/binary"
	"fmt"
)

// LinkType is the link-layer header type of a capture: a LINKTYPE_ value as it
// stands in files (pcap-linktype(7), www.tcpdump.org/linktypes.html).
type LinkType uint32

// The link types that carry IP in a framing that is known here.
const (
	linkNull       LinkType = 0
	linkEthernet   LinkType = 1
	linkPPP        LinkType = 9
	linkRaw12      LinkType = 12 // DLT_RAW of most systems, also found in files
	linkRaw14      LinkType = 14 // DLT_RAW of OpenBSD
	linkPPPHDLC    LinkType = 50
	linkRaw        LinkType = 101
	linkCHDLC      LinkType = 104
	linkWiFi       LinkType = 105
	linkLoop       LinkType = 108
	linkSLL        LinkType = 113
	linkRadiotap   LinkType = 127
	linkPPI        LinkType = 192
	linkPPPWithDir LinkType = 204
	linkIPv4       LinkType = 228
	linkIPv6       LinkType = 229
	linkNFLOG      LinkType = 239
	linkIPoIB      LinkType = 242
	linkSLL2       LinkType = 276
)

// linkLayers has the name of each of these and what finds the packet in it.
// PPI names another link type inside; it would refer to this table in turn and
// stands in decoderFor.
var linkLayers = map[LinkType]struct {
	name   string
	decode decoder
}{
	linkNull:       {"NULL", decodeNull},
	linkEthernet:   {"ETHERNET", decodeEthernet},
	linkPPP:        {"PPP", decodePPPHDLC},
	linkRaw12:      {"RAW", decodeRaw},
	linkRaw14:      {"RAW", decodeRaw},
	linkPPPHDLC:    {"PPP_HDLC", decodePPPHDLC},
	linkRaw:        {"RAW", decodeRaw},
	linkCHDLC:      {"C_HDLC", decodeCHDLC},
	linkWiFi:       {"IEEE802_11", decodeWiFi},
	linkLoop:       {"LOOP", decodeNull},
	linkSLL:        {"LINUX_SLL", decodeSLL},
	linkRadiotap:   {"IEEE802_11_RADIOTAP", decodeRadiotap},
	linkPPPWithDir: {"PPP_WITH_DIR", decodePPPWithDir},
	linkIPv4:       {"IPV4", decodeBare},
	linkIPv6:       {"IPV6", decodeBare},
	linkNFLOG:      {"NFLOG", decodeNFLOG},
	linkIPoIB:      {"IPOIB", decodeIPoIB},
	linkSLL2:       {"LINUX_SLL2", decodeSLL2},
}

// name returns the name without LINKTYPE_, "" where there is none.
func (t LinkType) name() string {
	switch name := linkLayers[t].name; {
	case name != "":
		return name
	case t == linkPPI:
		return "PPI"
	}
	return datalinkName(t)
}

// String returns the name, where there is one, and the number.
func (t LinkType) String() string {
	if name := t.name(); name != "" {
		return fmt.Sprintf("link type %s (%d)", name, uint32(t))
	}
	return fmt.Sprintf("link type %d", uint32(t))
}

// decoder finds the IP packet in a frame. The packet is the rest of the frame,
// padding and trailers included; it begins where the link layer says that IP
// does, whatever version its first byte then claims. Where there is none, skip
// says why. The outermost IP header is found: tunnels are not entered.
type decoder func(frame []byte) (ip []byte, skip Reason)

// decoderFor returns the decoder of a link type, nil if it carries no IP that
// can be found.
func decoderFor(t LinkType) decoder {
	if t == linkPPI {
		return decodePPI
	}
	return linkLayers[t].decode
}

// decodeRaw is an IP packet of either version; anything else is not.
func decodeRaw(b []byte) ([]byte, Reason) {
	if len(b) == 0 {
		return nil, LinkCut
	}
	if v := b[0] >> 4; v != 4 && v != 6 {
		return nil, NotIP
	}
	return b, 0
}

// decodeBare is a packet of the version that the link type names.
func decodeBare(b []byte) ([]byte, Reason) {
	if len(b) == 0 {
		return nil, LinkCut
	}
	return b, 0
}

// decodeNull is NULL and LOOP: four bytes of address family, in the byte order
// of the capturing host or of the network. Both are tried, as files travel.
func decodeNull(b []byte) ([]byte, Reason) {
	if len(b) < 4 {
		return nil, LinkCut
	}
	family := binary.BigEndian.Uint32(b)
	if family > 0xffff {
		family = binary.LittleEndian.Uint32(b)
	}
	switch family {
	case 2, // AF_INET everywhere
		10, 24, 28, 30: // AF_INET6 of Linux; of NetBSD and OpenBSD; of FreeBSD; of macOS
		return b[4:], 0
	}
	return nil, NotIP
}

// decodeSLL is LINUX_SLL: 16 bytes that end with a protocol
// (www.tcpdump.org/linktypes/LINKTYPE_LINUX_SLL.html).
func decodeSLL(b []byte) ([]byte, Reason) {
	const headerLen = 16
	if len(b) < headerLen {
		return nil, LinkCut
	}
	return decodeCooked(binary.BigEndian.Uint16(b[2:]), binary.BigEndian.Uint16(b[14:]), b[headerLen:])
}

// decodeSLL2 is LINUX_SLL2: 20 bytes that begin with a protocol
// (www.tcpdump.org/linktypes/LINKTYPE_LINUX_SLL2.html).
func decodeSLL2(b []byte) ([]byte, Reason) {
	const headerLen = 20
	if len(b) < headerLen {
		return nil, LinkCut
	}
	return decodeCooked(binary.BigEndian.Uint16(b[8:]), binary.BigEndian.Uint16(b), b[headerLen:])
}

// decodeCooked is the rest of both cooked headers. The protocol is an ethertype
// but for these devices and values of Linux.
func decodeCooked(arphrd, protocol uint16, b []byte) ([]byte, Reason) {
	const (
		arphrdNetlink  = 824
		arphrdRadiotap = 803
		arphrdFRAD     = 770
		protocol8023   = 1 // Novell 802.3 without LLC: IPX
		protocolLLC    = 4
	)
	switch arphrd {
	case arphrdNetlink, arphrdRadiotap, arphrdFRAD:
		return nil, NotIP
	}
	switch protocol {
	case protocol8023:
		return nil, NotIP
	case protocolLLC:
		return decodeLLC(b)
	case etherIPv4, etherIPv6:
		return behindTags(protocol, b), 0
	}
	return decodeEtherType(protocol, b)
}

// behindTags is for kernels that tell the protocol behind all VLAN tags and take
// off the outermost alone: what is no IP of that version, but is behind a tag, is
// taken there.
func behindTags(protocol uint16, b []byte) []byte {
	version := byte(4)
	if protocol == etherIPv6 {
		version = 6
	}
	if len(b) > 4 && b[0]>>4 != version && binary.BigEndian.Uint16(b[2:]) == protocol && b[4]>>4 == version {
		return b[4:]
	}
	return b
}

// decodeIPoIB is IP over InfiniBand: four bytes that begin with an ethertype (RFC
// 4391 section 6), as the list of link types has it, and where these bytes are
// no such header, 40 bytes of addresses before it, as files have it. No queue
// pair has the flags that would make an address look like the header.
func decodeIPoIB(b []byte) ([]byte, Reason) {
	const headerLen, addressesLen = 4, 40
	if len(b) < headerLen {
		return nil, LinkCut
	}
	switch binary.BigEndian.Uint32(b) {
	case etherIPv4 << 16, etherIPv6 << 16:
		return b[headerLen:], 0
	}
	if len(b) < addressesLen+headerLen {
		return nil, LinkCut
	}
	return decodeEtherType(binary.BigEndian.Uint16(b[addressesLen:]), b[addressesLen+headerLen:])
}

// decodePPI is a PPI header with another link type behind it (CACE PPI spec 1.0).
func decodePPI(b []byte) ([]byte, Reason) {
	const headerLen = 8
	if len(b) < headerLen {
		return nil, LinkCut
	}
	n := int(binary.LittleEndian.Uint16(b[2:]))
	t := LinkType(binary.LittleEndian.Uint32(b[4:]))
	if n < headerLen {
		return nil, LinkBad
	}
	if len(b) < n {
		return nil, LinkCut
	}
	inner := linkLayers[t].decode
	if inner == nil {
		return nil, OtherLink
	}
	return inner(b[n:])
}

// decodeNFLOG is a netfilter log message: an address family, then TLVs in host
// byte order, one of which is the packet
// (www.tcpdump.org/linktypes/LINKTYPE_NFLOG.html).
func decodeNFLOG(b []byte) ([]byte, Reason) {
	const (
		headerLen = 4
		tlvLen    = 4
		payload   = 9 // NFULA_PAYLOAD
	)
	if len(b) < headerLen {
		return nil, LinkCut
	}
	if b[1] != 0 { // version
		return nil, LinkBad
	}
	if b[0] != 2 && b[0] != 10 { // AF_INET, AF_INET6
		return nil, NotIP
	}
	for b = b[headerLen:]; len(b) >= tlvLen; {
		n, typ := binary.LittleEndian.Uint16(b), binary.LittleEndian.Uint16(b[2:])
		if typ&^0x8000 > 0xff { // no such type: the host was big-endian
			n, typ = binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
		}
		size := int(n)
		if size < tlvLen {
			return nil, LinkBad
		}
		if typ == payload {
			// The packet is the last; a short capture cuts it.
			return b[tlvLen:min(size, len(b))], 0
		}
		b = b[min((size+3)&^3, len(b)):]
	}
	return nil, LinkCut
}
