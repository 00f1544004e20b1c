package talkers

import "hash/maphash"

// sketch keeps the keys that come most often in the memory of some counters
// (space-saving: Metwally, Agrawal and El Abbadi, "Efficient computation of
// frequent and top-k elements in data streams", 2005). A key that is new takes
// the counter of the one that came least, and its count: each key that makes up
// more than one in k of the stream is there, with a count that is right or too
// high by its error, which is one in k of the stream at most.
//
// Keys have no pointers, and nothing is allocated once it is made.
type sketch[K comparable] struct {
	seed  maphash.Seed
	items []item[K]
	heap  []int32 // indices of items, as a binary heap: none has a count below its parent's
	index []int32 // a hash table with linear probing: indices of items + 1, 0 for nothing; its length is a power of 2
}

type item[K comparable] struct {
	key   K
	count float64
	error float64 // of the count, how much may be other keys'
	bytes float64 // since the key has the counter
	hash  uint32
	place int32 // in the heap
	inUse bool  // an item that is not has a count of 0
}

func newSketch[K comparable](counters int) sketch[K] {
	slots := 1
	for slots < 4*counters {
		slots *= 2
	}
	s := sketch[K]{maphash.MakeSeed(), make([]item[K], counters), make([]int32, counters), make([]int32, slots)}
	for i := range s.items {
		s.items[i].place, s.heap[i] = int32(i), int32(i)
	}
	return s
}

// add counts a key once, with some bytes.
func (s *sketch[K]) add(key K, bytes float64) {
	hash := uint32(maphash.Comparable(s.seed, key))
	slot := s.slot(hash)
	for ; s.index[slot] != 0; slot = s.next(slot) {
		if it := &s.items[s.index[slot]-1]; it.hash == hash && it.key == key {
			it.count++
			it.bytes += bytes
			s.down(it.place)
			return
		}
	}
	least := s.heap[0]
	it := &s.items[least]
	if it.inUse {
		s.remove(least)
		for slot = s.slot(hash); s.index[slot] != 0; slot = s.next(slot) {
		}
	}
	s.index[slot] = least + 1
	*it = item[K]{key: key, count: it.count + 1, error: it.count, bytes: bytes, hash: hash, place: it.place, inUse: true}
	s.down(it.place)
}

// fade makes all that was counted so far count less.
func (s *sketch[K]) fade(factor float64) {
	const nothing = 0.1 // of a packet
	for i := range s.items {
		it := &s.items[i]
		if it.count *= factor; it.count < nothing {
			it.count = 0
		}
		it.error *= factor
		it.bytes *= factor
	}
}

// down moves the item at a place of the heap to where its count, which has
// grown, belongs.
func (s *sketch[K]) down(place int32) {
	i := s.heap[place]
	count := s.items[i].count
	for {
		child := 2*place + 1
		if int(child) >= len(s.heap) {
			break
		}
		if other := child + 1; int(other) < len(s.heap) && s.items[s.heap[other]].count < s.items[s.heap[child]].count {
			child = other
		}
		if s.items[s.heap[child]].count >= count {
			break
		}
		s.heap[place] = s.heap[child]
		s.items[s.heap[place]].place = place
		place = child
	}
	s.heap[place] = i
	s.items[i].place = place
}

func (s *sketch[K]) slot(hash uint32) uint32 { return hash & uint32(len(s.index)-1) }
func (s *sketch[K]) next(slot uint32) uint32 { return s.slot(slot + 1) }

// remove takes an item out of the index, and closes the gap: what follows it
// moves up where it is then still found.
func (s *sketch[K]) remove(i int32) {
	gap := s.slot(s.items[i].hash)
	for s.index[gap] != i+1 {
		gap = s.next(gap)
	}
	for slot := s.next(gap); s.index[slot] != 0; slot = s.next(slot) {
		home := s.slot(s.items[s.index[slot]-1].hash)
		if s.slot(slot-home) >= s.slot(slot-gap) {
			s.index[gap] = s.index[slot]
			gap = slot
		}
	}
	s.index[gap] = 0
}
