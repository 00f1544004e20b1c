package encode

import (
	"encoding/binary"
	"net/netip"
	"time"
)

const (
	keyFragID      = 1<<3 | wireVarint // NmsgFragment (nmsg.proto)
	keyFragCurrent = 2<<3 | wireVarint
	keyFragLast    = 3<<3 | wireVarint
	keyFragData    = 4<<3 | wireBytes
	keyFragCRC     = 5<<3 | wireVarint

	// fragmentOverhead is the most that a fragment has besides its piece: header
	// 10, id 6, current and last 3 each (there are less than 16,384 pieces), key
	// and length of the piece 4, CRC 6.
	fragmentOverhead = 32
)

// Fragments is a container cut into datagrams.
type Fragments struct {
	body  []byte
	flags byte
	id    uint32
	crc   uint32 // of the whole body
	piece int    // bytes of body in each but the last
}

// NewFragments cuts a sealed container into datagrams of at most mtu bytes, at
// least MinContainer. The id tells sets of one sender apart. The container is
// borrowed as long as the Fragments are in use.
func NewFragments(sealed []byte, mtu int, id uint32) Fragments {
	body := sealed[HeaderSize:]
	return Fragments{body, sealed[4] | flagFragment, id, checksum(body), mtu - fragmentOverhead}
}

// Len returns the number of datagrams. None of them is empty: an empty last
// piece aborts collectors.
func (f *Fragments) Len() int { return (len(f.body) + f.piece - 1) / f.piece }

// Append appends datagram i to b.
func (f *Fragments) Append(b []byte, i int) []byte {
	start := len(b)
	piece := f.body[i*f.piece : min((i+1)*f.piece, len(f.body))]
	b = append(b, 'N', 'M', 'S', 'G', f.flags, version, 0, 0, 0, 0)
	b = binary.AppendUvarint(append(b, keyFragID), uint64(f.id))
	b = binary.AppendUvarint(append(b, keyFragCurrent), uint64(i))
	b = binary.AppendUvarint(append(b, keyFragLast), uint64(f.Len()-1))
	b = binary.AppendUvarint(append(b, keyFragData), uint64(len(piece)))
	b = append(b, piece...)
	b = binary.AppendUvarint(append(b, keyFragCRC), uint64(f.crc))
	patchLength(b[start:])
	return b
}

// Bounds of what a Decoder holds of containers that are not whole yet.
const (
	maxFragmentSets  = 32
	maxFragmentBytes = 8 << 20 // in all sets together, pieceCost included
	maxFragmentAge   = 60 * time.Second
	maxPieces        = 1 << 14 // a container of 1 MiB in pieces of 64 bytes
	pieceCost        = 96      // of memory, beside its bytes
)

type fragmentKey struct {
	from netip.AddrPort
	id   uint32
	zlib bool
}

// fragmentSet is a container of which pieces are missing.
type fragmentSet struct {
	last   uint32            // number of the last piece
	pieces map[uint32][]byte // by number; nothing is held for those that are missing
	size   int               // bytes of the pieces
	crc    uint32
	hasCRC bool
	seen   time.Time // when the first piece came
}

// cost is the memory that the set takes.
func (s *fragmentSet) cost() int { return s.size + len(s.pieces)*pieceCost }

// reassembler puts fragments together.
type reassembler struct {
	sets  map[fragmentKey]*fragmentSet
	bytes int    // the cost of all sets
	lost  uint64 // fragments given up
}

// add takes one NmsgFragment. It returns the body of the container when its
// last missing piece came, nil before. An error says that the fragment, and the
// set it contradicts, are given up.
func (r *reassembler) add(msg []byte, zlib bool, from netip.AddrPort, now time.Time) ([]byte, error) {
	frag, err := parseFragment(msg)
	if err != nil {
		return nil, err
	}
	r.expire(now)
	key := fragmentKey{from, frag.id, zlib}
	set := r.sets[key]
	if set == nil {
		set = r.start(key, frag.last, now)
	}
	_, doubled := set.pieces[frag.current]
	switch {
	case frag.last != set.last:
		err = errFragment
	case doubled:
		return nil, nil
	case set.size+len(frag.data) > MaxContainer:
		err = errTooLong
	}
	if err != nil {
		r.drop(key, set)
		r.lost++
		return nil, err
	}
	set.pieces[frag.current] = append(make([]byte, 0, len(frag.data)), frag.data...)
	set.size += len(frag.data)
	r.bytes += len(frag.data) + pieceCost
	if frag.hasCRC {
		set.crc, set.hasCRC = frag.crc, true
	}
	if len(set.pieces) > int(set.last) {
		return r.finish(key, set)
	}
	for r.bytes > maxFragmentBytes {
		r.dropOldest()
	}
	return nil, nil
}

// start opens a set, at the cost of the oldest one where there are too many.
func (r *reassembler) start(key fragmentKey, last uint32, now time.Time) *fragmentSet {
	if r.sets == nil {
		r.sets = make(map[fragmentKey]*fragmentSet)
	}
	for len(r.sets) >= maxFragmentSets {
		r.dropOldest()
	}
	set := &fragmentSet{last: last, pieces: make(map[uint32][]byte), seen: now}
	r.sets[key] = set
	return set
}

func (r *reassembler) finish(key fragmentKey, set *fragmentSet) ([]byte, error) {
	body := make([]byte, 0, set.size)
	for i := range set.last + 1 {
		body = append(body, set.pieces[i]...)
	}
	delete(r.sets, key)
	r.bytes -= set.cost()
	if set.hasCRC && checksum(body) != set.crc {
		r.lost += uint64(len(set.pieces))
		return nil, errCRC
	}
	return body, nil
}

// drop gives up a set and counts its pieces as lost.
func (r *reassembler) drop(key fragmentKey, set *fragmentSet) {
	delete(r.sets, key)
	r.bytes -= set.cost()
	r.lost += uint64(len(set.pieces))
}

func (r *reassembler) dropOldest() {
	var oldest fragmentKey
	var found *fragmentSet
	for key, set := range r.sets {
		if found == nil || set.seen.Before(found.seen) {
			oldest, found = key, set
		}
	}
	r.drop(oldest, found)
}

// dropAll gives up all sets.
func (r *reassembler) dropAll() {
	for key, set := range r.sets {
		r.drop(key, set)
	}
}

// expire gives up the sets that are too old.
func (r *reassembler) expire(now time.Time) {
	for key, set := range r.sets {
		if now.Sub(set.seen) > maxFragmentAge {
			r.drop(key, set)
		}
	}
}

// fragmentMsg is an NmsgFragment.
type fragmentMsg struct {
	id, current, last uint32
	data              []byte // borrowed
	crc               uint32
	hasCRC            bool
}

// parseFragment reads an NmsgFragment; all fields but the CRC are required. An
// empty piece, which would abort nmsgtool, is refused.
func parseFragment(msg []byte) (f fragmentMsg, err error) {
	have := 0
	err = eachField(msg, func(key, v uint64, data []byte) bool {
		switch key {
		case keyFragID:
			f.id, have = uint32(v), have|1
		case keyFragCurrent:
			f.current, have = uint32(v), have|2
		case keyFragLast:
			f.last, have = uint32(v), have|4
		case keyFragData:
			f.data, have = data, have|8
		case keyFragCRC:
			f.crc, f.hasCRC = uint32(v), true
		}
		return true
	})
	if err == nil && (have != 15 || f.current > f.last || f.last >= maxPieces || len(f.data) == 0) {
		err = errFragment
	}
	return f, err
}
