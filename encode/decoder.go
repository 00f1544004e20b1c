package encode

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// Errors of containers and payloads.
var (
	errMagic    = errors.New("no NMSG header")
	errVersion  = errors.New("NMSG version other than 2")
	errFlags    = errors.New("unknown NMSG flags")
	errLength   = errors.New("length differs from that in the header")
	errBody     = errors.New("body is no NMSG container")
	errFragment = errors.New("bad fragment")
	errCRC      = errors.New("wrong CRC")
)

// Decoder reads containers. It holds the fragments of those that are not whole
// yet, and knows each sender's sequence. One Decoder serves one stream or
// socket, from one goroutine. The zero value is ready.
type Decoder struct {
	inflate    inflater
	fragments  reassembler
	sequences  sequences
	Containers uint64    // decoded whole, empty ones included
	payloads   []Payload // of the container at hand; borrowed from it
	crcs       []uint32  // likewise
}

// Lend has payloads stay borrowed after fn has returned: those of compressed
// containers until swap is called with the memory that they are in, which returns
// what to go on with (nil will do); all others as long as the container itself.
func (d *Decoder) Lend(swap func([]byte) []byte) { d.inflate.swap = swap }

// Lost returns the number of containers that are missing by the senders'
// sequence numbers, counted as nmsgtool counts them.
func (d *Decoder) Lost() uint64 { return d.sequences.lost }

// LostFragments returns the number of fragments that were given up.
func (d *Decoder) LostFragments() uint64 { return d.fragments.lost }

// GiveUp is for when no more containers come: what is held of those that are not
// whole counts as lost.
func (d *Decoder) GiveUp() { d.fragments.dropAll() }

// Decode reads one container, header included, of just len(container) bytes,
// and calls fn for each payload in it, be its checksum right or not. A fragment
// gives payloads once the last of its set has come. The sender is from (the zero
// AddrPort for files) and the time of arrival is now.
//
// The Payload and its bytes are borrowed: they are valid until fn returns. An
// error of fn ends the container and is returned as it is; any other error is
// the container's, of which fn has then seen nothing.
func (d *Decoder) Decode(container []byte, from netip.AddrPort, now time.Time, fn func(*Payload) error) error {
	flags, size, err := parseHeader(container)
	if err != nil {
		return err
	}
	body := container[HeaderSize:]
	if size != len(body) {
		return errLength
	}
	if flags&flagFragment != 0 {
		if body, err = d.fragments.add(body, flags&flagZlib != 0, from, now); body == nil {
			return err
		}
	}
	if flags&flagZlib != 0 {
		if body, err = d.inflate.inflate(body); err != nil {
			return err
		}
	}
	return d.body(body, from, now, fn)
}

// parseHeader reads the ten bytes before every container.
func parseHeader(b []byte) (flags byte, size int, err error) {
	if len(b) < HeaderSize || string(b[:4]) != "NMSG" {
		return 0, 0, errMagic
	}
	if b[5] != version {
		return 0, 0, errVersion
	}
	if b[4]&^(flagZlib|flagFragment) != 0 {
		return 0, 0, errFlags
	}
	n := binary.BigEndian.Uint32(b[6:])
	if n > MaxContainer {
		return 0, 0, errTooLong
	}
	return b[4], int(n), nil
}

// body reads an Nmsg message, all of it before fn sees any: the CRCs stand
// behind the payloads, and a container that is not sound gives nothing.
func (d *Decoder) body(b []byte, from netip.AddrPort, now time.Time, fn func(*Payload) error) error {
	var seq Sequence
	have := 0
	d.payloads, d.crcs = d.payloads[:0], d.crcs[:0]
	for len(b) > 0 {
		key, v, data, n := field(b)
		if n == 0 {
			return errBody
		}
		b = b[n:]
		switch key {
		case keyPayload:
			d.payloads = append(d.payloads, Payload{})
			if !parsePayload(data, &d.payloads[len(d.payloads)-1]) {
				return errBody
			}
		case keyCRC:
			d.crcs = append(d.crcs, uint32(v))
		case keyCRCs:
			if !d.packedCRCs(data) {
				return errBody
			}
		case keySequence:
			seq.Next, have = uint32(v), have|1
		case keySequenceID:
			seq.ID, have = v, have|2
		}
	}
	d.Containers++
	if have == 3 {
		d.sequences.update(seq, from, now)
	}
	for i := range d.payloads {
		p := &d.payloads[i]
		if i < len(d.crcs) {
			p.CRC, p.HasCRC = d.crcs[i], true
		}
		if err := fn(p); err != nil {
			return err
		}
	}
	return nil
}

// packedCRCs reads the form that nmsgtool does not write but every protobuf
// reader takes.
func (d *Decoder) packedCRCs(b []byte) bool {
	for len(b) > 0 {
		v, n := uvarint(b)
		if n == 0 {
			return false
		}
		d.crcs = append(d.crcs, uint32(v))
		b = b[n:]
	}
	return true
}

// parsePayload reads an NmsgPayload into p, which is zero. Vendor, type and time
// are required. Fields may come in any order; of doubled ones the last counts;
// unknown ones are passed over.
func parsePayload(b []byte, p *Payload) bool {
	sec, nsec, n := usualPayload(b, p)
	have := 0
	if b = b[n:]; n > 0 {
		have = 15
	}
	for len(b) > 0 {
		key, v, data, n := field(b)
		if n == 0 {
			return false
		}
		b = b[n:]
		switch key {
		case keyVendor:
			p.Vendor, have = uint32(v), have|1
		case keyType:
			p.Type, have = uint32(v), have|2
		case keySec:
			sec, have = int64(v), have|4
		case keyNsec:
			nsec, have = uint32(v), have|8
		case keyData:
			p.Data = data
		case keySource:
			p.Labels.Source = uint32(v)
		case keyOperator:
			p.Labels.Operator = uint32(v)
		case keyGroup:
			p.Labels.Group = uint32(v)
		}
	}
	p.Time = time.Unix(sec, int64(nsec)).UTC()
	return have == 15
}

// usualPayload reads the fields up to the message where they stand as every
// known writer puts them, in the order of their numbers and in the fewest bytes;
// that is a third of the time of field by field. It returns how many bytes it
// took: 0 where they stand otherwise.
func usualPayload(b []byte, p *Payload) (sec int64, nsec uint32, used int) {
	const shortest = 5 + 1 + 5 + 2
	if len(b) < shortest || b[0] != keyVendor || b[1] >= 0x80 || b[2] != keyType || b[3] >= 0x80 || b[4] != keySec {
		return 0, 0, 0
	}
	v, n := binary.Uvarint(b[5:])
	i := 5 + n
	if n <= 0 || len(b) < i+7 || b[i] != keyNsec || b[i+5] != keyData {
		return 0, 0, 0
	}
	size, n := binary.Uvarint(b[i+6:])
	start := i + 6 + n
	if n <= 0 || size > uint64(len(b)-start) {
		return 0, 0, 0
	}
	end := start + int(size)
	p.Vendor, p.Type, p.Data = uint32(b[1]), uint32(b[3]), b[start:end:end]
	return int64(v), binary.LittleEndian.Uint32(b[i+1:]), end
}

// sequences follows the numbers of each sender (nmsg/input_seqsrc.c).
type sequences struct {
	by    map[sender]*senderState
	lost  uint64
	swept time.Time // when the silent ones were last forgotten
}

type sender struct {
	id   uint64
	from netip.AddrPort
}

type senderState struct {
	next uint32
	seen time.Time
}

const (
	// maxGap is the largest gap that counts as loss; beyond it the sender has
	// started anew.
	maxGap = 1 << 20
	// Senders are forgotten when they are too many or silent for too long.
	maxSenders = 1 << 14
	maxSilence = 2 * time.Minute
)

// update counts what is missing between this container and the last one of its
// sender. A number that is below the expected one is, modulo 2^32, an
// implausibly large gap and counts nothing.
func (s *sequences) update(seq Sequence, from netip.AddrPort, now time.Time) {
	key := sender{seq.ID, from}
	st := s.by[key]
	if st == nil {
		s.forget(now)
		if s.by == nil {
			s.by = make(map[sender]*senderState)
		}
		st = &senderState{next: seq.Next}
		s.by[key] = st
	}
	if gap := seq.Next - st.next; gap <= maxGap {
		s.lost += uint64(gap)
	}
	st.next, st.seen = seq.Next+1, now
}

// forget makes room for one more sender: of those that are silent or, where that
// was looked at not long ago, of any. Whoever invents senders is not to cost more
// than that.
func (s *sequences) forget(now time.Time) {
	if len(s.by) < maxSenders {
		return
	}
	if now.Sub(s.swept) > maxSilence/10 {
		s.swept = now
		for key, st := range s.by {
			if now.Sub(st.seen) > maxSilence {
				delete(s.by, key)
			}
		}
	}
	for key := range s.by {
		if len(s.by) < maxSenders {
			return
		}
		delete(s.by, key)
	}
}

// DamageError is a place in a stream where bytes had to be passed over.
type DamageError struct {
	Offset  int64 // of the first bad byte
	Skipped int64 // how many bytes were passed over
	Cause   error
}

// Error says where, how much and why.
func (e *DamageError) Error() string {
	return fmt.Sprintf("offset %d: %v, %d bytes passed over", e.Offset, e.Cause, e.Skipped)
}

// Unwrap returns the cause.
func (e *DamageError) Unwrap() error { return e.Cause }
