package encode

import (
	"encoding/binary"
	"iter"
	"slices"
	"time"

	"nmsgsensor/tuple"
)

// Sizes of containers (nmsg/constants.h).
const (
	HeaderSize   = 10      // magic, flags, version, length
	MinContainer = 512     // NMSG_WBUFSZ_MIN
	MaxContainer = 1 << 20 // NMSG_WBUFSZ_MAX; also the bound for what is read
)

const (
	flagZlib     = 1
	flagFragment = 2
	version      = 2

	keyPayload    = 1<<3 | wireBytes
	keyCRC        = 2<<3 | wireVarint
	keyCRCs       = 2<<3 | wireBytes // packed
	keySequence   = 3<<3 | wireVarint
	keySequenceID = 4<<3 | wireVarint
)

// Sequence numbers the containers of one sender to one destination.
type Sequence struct {
	ID   uint64 // random, fixed for the life of the sender
	Next uint32 // the number of the next container
}

// size is the length of the two sequence fields now.
func (s *Sequence) size() int {
	return 2 + uvarintLen(uint64(s.Next)) + uvarintLen(s.ID)
}

// Container is one NMSG container being filled. The zero value is empty and
// ready. It keeps its buffers across Reset.
type Container struct {
	buf     []byte // header, then payloads
	crcs    []byte // the CRC fields of these payloads, encoded
	n       int    // payloads
	head    head
	part    []byte // what SealTo returned, where it was not all
	sealed  []byte // what Seal returned, where it was compressed
	deflate deflater
}

// Mark is a place between two payloads of a container.
type Mark struct {
	buf, crcs, n int
}

// Len returns the number of payloads before the mark.
func (m Mark) Len() int { return m.n }

// Size is that of a Container which has the payloads before the mark alone.
func (m Mark) Size() int { return m.buf + m.crcs }

// Mark returns the place behind the last payload.
func (c *Container) Mark() Mark { return Mark{len(c.buf), len(c.crcs), c.n} }

// Marks returns the places behind each payload.
func (c *Container) Marks() iter.Seq[Mark] {
	return func(yield func(Mark) bool) {
		for m := (Mark{buf: HeaderSize}); m.n < c.n; {
			size, k := uvarint(c.buf[m.buf+1:])
			_, l := uvarint(c.crcs[m.crcs+1:])
			m = Mark{m.buf + 1 + k + int(size), m.crcs + 1 + l, m.n + 1}
			if !yield(m) {
				return
			}
		}
	}
}

// Len returns the number of payloads.
func (c *Container) Len() int { return c.n }

// Reset empties the container. Bytes that it handed out are no longer valid.
func (c *Container) Reset() {
	c.buf, c.crcs, c.n = c.buf[:0], c.crcs[:0], 0
}

// AppendPacket appends a base:packet payload with a copy of the IP packet ip.
// Where limit is not 0 and nmsgtool would close a container of that limit before
// this payload, it says false and appends nothing; the first one always fits.
func (c *Container) AppendPacket(t time.Time, l Labels, ip []byte, limit int) bool {
	dataLen := packetMessageSize(len(ip))
	b := c.open(TypePacket, t, l, dataLen, limit)
	if b == nil {
		return false
	}
	c.sum(appendPacketMessage(b, ip), l, dataLen)
	return true
}

// AppendIPConn is AppendPacket for a base:ipconn payload of tp.
func (c *Container) AppendIPConn(t time.Time, l Labels, tp *tuple.Tuple, limit int) bool {
	dataLen := ipconnMessageSize(tp)
	b := c.open(TypeIPConn, t, l, dataLen, limit)
	if b == nil {
		return false
	}
	c.sum(appendIPConnMessage(b, tp), l, dataLen)
	return true
}

// AppendMessage is AppendPacket for a message that has its checksum.
func (c *Container) AppendMessage(msgType uint8, t time.Time, l Labels, m *Message, limit int) bool {
	b := c.open(msgType, t, l, len(m.Data), limit)
	if b == nil {
		return false
	}
	c.close(append(b, m.Data...), l, m.CRC)
	return true
}

// open returns buf with all of a payload that stands before its message, and
// with room for the rest; nil where the limit comes first.
func (c *Container) open(msgType uint8, t time.Time, l Labels, dataLen, limit int) []byte {
	c.head.set(msgType, t.Unix())
	nsec := uint32(t.Nanosecond())
	size := c.head.n + 5 + 1 + uvarintLen(uint64(dataLen)) + dataLen + labelsSize(l)
	// What nmsg takes for the size of the container, and of this payload.
	if limit > 0 && c.n > 0 && len(c.buf)+c.n*maxCRCField+size+32 >= limit {
		return nil
	}
	if c.n == 0 {
		c.buf = append(c.buf, "NMSG\x00\x02\x00\x00\x00\x00"...)
	}
	b := slices.Grow(c.buf, 1+5+size)
	b = appendUvarint(append(b, keyPayload), uint64(size))
	b = append(c.head.append(b), keyNsec, byte(nsec), byte(nsec>>8), byte(nsec>>16), byte(nsec>>24), keyData)
	return appendUvarint(b, uint64(dataLen))
}

// maxCRCField is the longest CRC field: a key and a varint of 32 bits.
const maxCRCField = 1 + 5

// sum takes the checksum of the message, which is the last dataLen bytes of b and
// in the cache still, and closes the payload.
func (c *Container) sum(b []byte, l Labels, dataLen int) {
	c.close(b, l, checksum(b[len(b)-dataLen:]))
}

// close appends what stands behind the message.
func (c *Container) close(b []byte, l Labels, crc uint32) {
	c.crcs = appendUvarint(append(c.crcs, keyCRC), uint64(crc))
	c.buf = appendLabels(b, l)
	c.n++
}

// Size returns the length that the container would have if it were sealed now
// without compression, with the fields of seq if that is not nil.
func (c *Container) Size(seq *Sequence) int {
	n := max(len(c.buf), HeaderSize) + len(c.crcs)
	if seq != nil {
		n += seq.size()
	}
	return n
}

// Seal returns the finished container: header, payloads, CRCs and, if seq is
// not nil, the number that seq is at; counting on is up to the caller. A
// container without payloads crashes collectors: nobody may seal one, and Seal
// panics.
//
// The bytes are borrowed until the next call of a method that changes c. The
// payloads stay, so one container can be sealed for several destinations.
func (c *Container) Seal(seq *Sequence, zlib bool) []byte {
	return c.SealTo(c.Mark(), seq, zlib)
}

// SealTo is Seal for the payloads before the mark.
func (c *Container) SealTo(m Mark, seq *Sequence, zlib bool) []byte {
	if m.n == 0 {
		panic("encode: empty container")
	}
	if m.n == c.n {
		// In the plain case the end is written behind the payloads, where the
		// next payload will overwrite it: no byte is copied twice.
		end := appendEnd(c.buf, c.crcs, seq)
		c.buf = end[:len(c.buf)]
		if !zlib {
			return patchLength(end)
		}
		return c.compress(end[HeaderSize:])
	}
	c.part = append(c.part[:0], c.buf[:m.buf]...)
	c.part = appendEnd(c.part, c.crcs[:m.crcs], seq)
	if !zlib {
		return patchLength(c.part)
	}
	return c.compress(c.part[HeaderSize:])
}

// appendEnd appends what stands behind the payloads.
func appendEnd(b, crcs []byte, seq *Sequence) []byte {
	b = append(b, crcs...)
	if seq != nil {
		b = binary.AppendUvarint(append(b, keySequence), uint64(seq.Next))
		b = binary.AppendUvarint(append(b, keySequenceID), seq.ID)
	}
	return b
}

// compress returns the container with this body compressed: the length of the
// body, then the zlib stream (nmsg/zbuf.c).
func (c *Container) compress(body []byte) []byte {
	c.sealed = append(c.sealed[:0], "NMSG\x01\x02\x00\x00\x00\x00"...)
	c.sealed = binary.BigEndian.AppendUint32(c.sealed, uint32(len(body)))
	c.sealed = c.deflate.append(c.sealed, body)
	return patchLength(c.sealed)
}

// patchLength writes the length field of a container that is otherwise done.
func patchLength(b []byte) []byte {
	binary.BigEndian.PutUint32(b[6:], uint32(len(b)-HeaderSize))
	return b
}

// Drop takes the payloads before the mark out of the container.
func (c *Container) Drop(m Mark) {
	if m.n == c.n {
		c.Reset()
		return
	}
	c.buf = append(c.buf[:HeaderSize], c.buf[m.buf:]...)
	c.crcs = append(c.crcs[:0], c.crcs[m.crcs:]...)
	c.n -= m.n
}
