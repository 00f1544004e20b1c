package main

import (
	"errors"
	"fmt"
	"hash/maphash"
	"math/bits"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"nmsgsensor/encode"
	"nmsgsensor/tuple"
)

// unique says which tuples are to be emitted, where each is only once a window.
// The window of a tuple begins when it is emitted, so that windows end one by
// one and not all at once. Two tuples with other labels are not the same: they
// were seen by other sensors.
//
// The clock is that of the packets, so that files give the same result each
// time. It may jump: a packet is in the window if it is less than the length of
// it away from the emission, in either direction.
//
// The table is of a fixed size. A tuple has its place in one of many small sets,
// chosen by a hash that others can't guess. Where a set is full, the tuple that
// has not come for longest falls out of it, and may be emitted again early.
type unique struct {
	window time.Duration // 0 for ever
	seed   maphash.Seed
	sets   []emittedSet
}

// emittedSet has what came last first, and free places last.
type emittedSet [8]emitted

// emitted is a tuple and when it was emitted. It has the size of a cache line,
// and no pointers: the garbage collector has nothing to do with it.
type emitted struct {
	uniqueKey
	nsec uint32
	sec  int64
}

type uniqueKey struct {
	tuple  tuple.Packed
	labels encode.Labels
}

func newUnique(spec uniqueSpec) *unique {
	n := (spec.tuples + len(emittedSet{}) - 1) / len(emittedSet{})
	return &unique{window: spec.window, seed: maphash.MakeSeed(), sets: make([]emittedSet, n)}
}

// size is the memory of the table; none for a nil unique.
func (u *unique) size() int {
	if u == nil {
		return 0
	}
	return len(u.sets) * int(unsafe.Sizeof(emittedSet{}))
}

// isFirst says whether the tuple is to be emitted, and keeps that it was;
// evicted says that another one fell out of the table for it while its window
// was open.
func (u *unique) isFirst(t *tuple.Tuple, l encode.Labels, when time.Time) (first, evicted bool) {
	key := uniqueKey{t.Pack(), l}
	n, _ := bits.Mul64(maphash.Comparable(u.seed, key), uint64(len(u.sets)))
	set := &u.sets[n]
	for i := range set {
		if e := &set[i]; e.uniqueKey == key {
			if first = !u.isOpen(e, when); first {
				e.sec, e.nsec = when.Unix(), uint32(when.Nanosecond())
			}
			set.raise(i)
			return first, false
		}
	}
	i, evicted := u.place(set, when)
	set[i] = emitted{key, uint32(when.Nanosecond()), when.Unix()}
	set.raise(i)
	return true, evicted
}

// place finds a place for a new tuple: one that is free, one whose window is over,
// or the last one.
func (u *unique) place(set *emittedSet, when time.Time) (i int, evicted bool) {
	for i := len(set) - 1; i >= 0; i-- {
		if e := &set[i]; e.tuple == (tuple.Packed{}) || !u.isOpen(e, when) {
			return i, false
		}
	}
	return len(set) - 1, true
}

// isOpen says whether the window of a tuple is open.
func (u *unique) isOpen(e *emitted, when time.Time) bool {
	if u.window == 0 {
		return true
	}
	d := when.Sub(time.Unix(e.sec, int64(e.nsec)))
	return -u.window < d && d < u.window
}

// raise makes what is at i the first.
func (s *emittedSet) raise(i int) {
	if i > 0 {
		e := s[i]
		copy(s[1:i+1], s[:i])
		s[0] = e
	}
}

// uniqueSpec is how often a tuple is emitted, and how many are remembered.
type uniqueSpec struct {
	window time.Duration // 0 for ever
	tuples int
}

// The bounds of a table, and what it has where nothing is said: 16 MiB.
const (
	minUnique     = 1 << 10
	defaultUnique = 1 << 18
	maxUnique     = 1 << 26
)

// uniqueFlag is a TIME[,N].
type uniqueFlag struct{ spec **uniqueSpec }

func (f uniqueFlag) String() string { return "" }
func (f uniqueFlag) Type() string   { return "window" }
func (f uniqueFlag) Set(s string) error {
	spec := uniqueSpec{tuples: defaultUnique}
	window, tuples, found := strings.Cut(s, ",")
	var err error
	if spec.window, err = time.ParseDuration(window); err != nil || spec.window < 0 {
		return errors.New("must be TIME[,N], such as 1m or 1m,1000000; a TIME of 0 is for ever")
	}
	if found {
		if spec.tuples, err = strconv.Atoi(tuples); err != nil || spec.tuples < minUnique || spec.tuples > maxUnique {
			return fmt.Errorf("tuples %q: must be from %d to %d", tuples, minUnique, maxUnique)
		}
	}
	*f.spec = &spec
	return nil
}
