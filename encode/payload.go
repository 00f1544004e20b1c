// Package encode knows NMSG: base:packet and base:ipconn messages, payloads,
// containers and fragments, in both directions. It opens no sockets and no files.
package encode

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math/bits"
	"net/netip"
	"time"

	"nmsgsensor/tuple"
)

// Vendor and message type numbers (nmsg/vendors.h, nmsg/base/defs.h).
const (
	VendorBase = 1
	TypeIPConn = 5
	TypePacket = 12
)

// Labels are the optional marks of a payload; zero means that it has none.
type Labels struct {
	Source, Operator, Group uint32
}

// Or returns l with what o sets in place of its own.
func (l Labels) Or(o Labels) Labels {
	if o.Source != 0 {
		l.Source = o.Source
	}
	if o.Operator != 0 {
		l.Operator = o.Operator
	}
	if o.Group != 0 {
		l.Group = o.Group
	}
	return l
}

// Payload is one NmsgPayload as read from a container (nmsg.proto).
type Payload struct {
	Vendor, Type uint32
	Time         time.Time
	Labels       Labels
	Message
}

// Message is what a payload carries, and its checksum.
type Message struct {
	Data   []byte // borrowed from whoever handed it out
	CRC    uint32 // as the container has it
	HasCRC bool
}

// Sound says whether the checksum is right, or there is none.
func (m *Message) Sound() bool { return !m.HasCRC || m.CRC == checksum(m.Data) }

// IsPlainPacket says whether m is just what AppendPacket makes of ip, which
// ParsePacket found in it, with a checksum.
func (m *Message) IsPlainPacket(ip []byte) bool {
	return m.HasCRC && len(m.Data) == packetMessageSize(len(ip)) && m.Data[0] == keyPacketType
}

// Field keys: field number << 3 | wire type.
const (
	keyVendor   = 1<<3 | wireVarint
	keyType     = 2<<3 | wireVarint
	keySec      = 3<<3 | wireVarint
	keyNsec     = 4<<3 | wireFixed32
	keyData     = 5<<3 | wireBytes
	keySource   = 7<<3 | wireVarint
	keyOperator = 8<<3 | wireVarint
	keyGroup    = 9<<3 | wireVarint

	keyPacketType = 1<<3 | wireVarint // base:packet (packet.proto)
	keyPacketData = 2<<3 | wireBytes
	packetTypeIP  = 1

	keyProto   = 1<<3 | wireVarint // base:ipconn (ipconn.proto)
	keySrcIP   = 2<<3 | wireBytes
	keySrcPort = 3<<3 | wireVarint
	keyDstIP   = 4<<3 | wireBytes
	keyDstPort = 5<<3 | wireVarint
)

// head has the first fields of a payload, which most payloads have in common
// with the one before: vendor, type and seconds.
type head struct {
	buf [16]byte
	n   int
	sec int64
}

// set makes the fields.
func (h *head) set(msgType uint8, sec int64) {
	if h.n == 0 || h.sec != sec {
		h.n = len(binary.AppendUvarint(append(h.buf[:0], keyVendor, VendorBase, keyType, msgType, keySec), uint64(sec)))
		h.sec = sec
	}
	if h.buf[3] != msgType { // else whoever copies buf would wait for this write
		h.buf[3] = msgType
	}
}

// append appends the fields.
func (h *head) append(b []byte) []byte {
	return append(b, h.buf[:]...)[:len(b)+h.n] // of one length, that is done at once
}

// appendLabels appends the labels that are set.
func appendLabels(b []byte, l Labels) []byte {
	if l == (Labels{}) { // nearly always, and at once
		return b
	}
	if l.Source != 0 {
		b = binary.AppendUvarint(append(b, keySource), uint64(l.Source))
	}
	if l.Operator != 0 {
		b = binary.AppendUvarint(append(b, keyOperator), uint64(l.Operator))
	}
	if l.Group != 0 {
		b = binary.AppendUvarint(append(b, keyGroup), uint64(l.Group))
	}
	return b
}

func labelsSize(l Labels) (n int) {
	if l == (Labels{}) {
		return 0
	}
	for _, v := range [3]uint32{l.Source, l.Operator, l.Group} {
		if v != 0 {
			n += 1 + uvarintLen(uint64(v))
		}
	}
	return n
}

// packetMessageSize is the length of the base:packet message of n bytes of IP.
func packetMessageSize(n int) int {
	return 2 + 1 + uvarintLen(uint64(n)) + n
}

// appendPacketMessage appends the base:packet message of ip.
func appendPacketMessage(b, ip []byte) []byte {
	b = append(b, keyPacketType, packetTypeIP, keyPacketData)
	return append(appendUvarint(b, uint64(len(ip))), ip...)
}

// ipconnMessageSize is the length of the base:ipconn message of tp.
func ipconnMessageSize(tp *tuple.Tuple) int {
	return 1 + uvarintLen(uint64(tp.Proto)) +
		1 + uvarintLen(uint64(tp.SrcPort)) + 1 + uvarintLen(uint64(tp.DstPort)) +
		2 + addrLen(&tp.Src) + 2 + addrLen(&tp.Dst)
}

func addrLen(a *netip.Addr) int {
	if a.Is4() {
		return 4
	}
	return a.BitLen() / 8
}

// appendIPConnMessage appends the base:ipconn message of tp, all fields present
// as nmsgtool has them.
func appendIPConnMessage(b []byte, tp *tuple.Tuple) []byte {
	le := binary.LittleEndian
	if tp.Src.Is4() && tp.Dst.Is4() && tp.Proto < 0x80 { // in words, which is faster
		src, dst := tp.Src.As4(), tp.Dst.As4()
		b = le.AppendUint64(b, keyProto|uint64(tp.Proto)<<8|keySrcIP<<16|4<<24|uint64(le.Uint32(src[:]))<<32)
		b = appendPort(b, keySrcPort, tp.SrcPort)
		b = le.AppendUint64(b, keyDstIP|4<<8|uint64(le.Uint32(dst[:]))<<16)[:len(b)+6]
		return appendPort(b, keyDstPort, tp.DstPort)
	}
	b = appendUvarint(append(b, keyProto), uint64(tp.Proto))
	b = appendAddr(append(b, keySrcIP), &tp.Src)
	b = appendPort(b, keySrcPort, tp.SrcPort)
	b = appendAddr(append(b, keyDstIP), &tp.Dst)
	return appendPort(b, keyDstPort, tp.DstPort)
}

// appendAddr appends an address of 4 or 16 bytes behind its length. The zero Addr
// is appended as no bytes.
func appendAddr(b []byte, a *netip.Addr) []byte {
	n := a.BitLen() / 8
	b = append(b, byte(n))
	with, _ := a.AppendBinary(b)
	return with[:len(b)+n] // without a zone
}

// appendPort appends a field of 16 bits, all at once: ports are of all lengths,
// and a processor can't know of which.
func appendPort(b []byte, key byte, port uint16) []byte {
	n, w := uvarintLen(uint64(port)), uint32(port)
	w = w&0x7f | w&0x3f80<<1 | w&0xc000<<2
	w |= 0x808080 & (1<<(8*(n-1)) - 1) // but for the last
	return binary.LittleEndian.AppendUint32(b, uint32(key)|w<<8)[:len(b)+1+n]
}

// Errors of the messages.
var (
	errNotPacket = errors.New("base:packet without an IP packet")
	errNotIPConn = errors.New("base:ipconn without two addresses, ports and a protocol in range")
)

// ParsePacket returns the IP packet in a base:packet message: a part of data.
func ParsePacket(data []byte) (ip []byte, err error) {
	// The layout that every known writer uses: two bytes that say IP, the
	// packet, and nothing else.
	if len(data) >= 4 && data[0] == keyPacketType && data[1] == packetTypeIP && data[2] == keyPacketData {
		if n, k := uvarint(data[3:]); k > 0 && uint64(len(data)-3-k) == n {
			return data[3+k:], nil
		}
	}
	var kind uint32
	err = eachField(data, func(key uint64, v uint64, b []byte) bool {
		switch key {
		case keyPacketType:
			kind = uint32(v)
		case keyPacketData:
			ip = b
		}
		return true
	})
	if err != nil {
		return nil, err
	}
	if kind != packetTypeIP || ip == nil {
		return nil, errNotPacket
	}
	return ip, nil
}

// ParseIPConn returns the 5-tuple in a base:ipconn message. Both addresses must
// be there, with 4 or 16 bytes; ports and protocol that are absent are 0, as
// protobuf has it.
func ParseIPConn(data []byte) (tuple.Tuple, error) {
	var tp tuple.Tuple
	var proto, srcPort, dstPort uint32 // the last of each counts, cut to the field's width
	err := eachField(data, func(key uint64, v uint64, b []byte) bool {
		switch key {
		case keyProto:
			proto = uint32(v)
		case keySrcPort:
			srcPort = uint32(v)
		case keyDstPort:
			dstPort = uint32(v)
		case keySrcIP:
			tp.Src, _ = netip.AddrFromSlice(b)
		case keyDstIP:
			tp.Dst, _ = netip.AddrFromSlice(b)
		}
		return true
	})
	if err != nil {
		return tuple.Tuple{}, err
	}
	if proto > 0xff || srcPort > 0xffff || dstPort > 0xffff || !tp.Src.IsValid() || !tp.Dst.IsValid() {
		return tuple.Tuple{}, errNotIPConn
	}
	tp.Proto, tp.SrcPort, tp.DstPort = uint8(proto), uint16(srcPort), uint16(dstPort)
	return tp, nil
}

// castagnoli is the polynomial of CRC-32C (RFC 3720 appendix B.4).
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checksum is the CRC-32C of b with its bytes swapped: nmsg puts it through
// htonl, on hosts that are little-endian.
func checksum(b []byte) uint32 {
	return bits.ReverseBytes32(crc32.Checksum(b, castagnoli))
}

// appendUvarint is binary.AppendUvarint, but at once for the lengths that nearly
// all values here have.
func appendUvarint(b []byte, v uint64) []byte {
	if v < 1<<7 {
		return append(b, byte(v))
	}
	return appendLongUvarint(b, v)
}

func appendLongUvarint(b []byte, v uint64) []byte {
	switch {
	case v < 1<<14:
		return append(b, byte(v)|0x80, byte(v>>7))
	case v < 1<<21:
		return append(b, byte(v)|0x80, byte(v>>7)|0x80, byte(v>>14))
	case v >= 1<<28 && v < 1<<35:
		return append(b, byte(v)|0x80, byte(v>>7)|0x80, byte(v>>14)|0x80, byte(v>>21)|0x80, byte(v>>28))
	}
	return binary.AppendUvarint(b, v)
}

// uvarintLen is the number of bytes of v as a varint.
func uvarintLen(v uint64) int {
	return (bits.Len64(v|1) + 6) / 7
}
