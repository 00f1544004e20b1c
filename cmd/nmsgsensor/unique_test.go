package main

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"nmsgsensor/capture"
	"nmsgsensor/encode"
	"nmsgsensor/output"
	"nmsgsensor/tuple"
)

func TestUniqueWindow(t *testing.T) {
	type packet struct {
		at    time.Duration // since 1970
		first bool
	}
	for name, test := range map[string]struct {
		window time.Duration
		stream []packet
	}{
		"a window begins with the emission and ends before its length": {time.Minute, []packet{
			{0, true}, {0, false}, {time.Minute - 1, false}, {time.Minute, true}, {2*time.Minute - 1, false}, {2 * time.Minute, true}}},
		"what is folded does not lengthen a window": {time.Minute, []packet{
			{0, true}, {40 * time.Second, false}, {80 * time.Second, true}}},
		"packets out of order are in the window": {time.Minute, []packet{
			{time.Hour, true}, {time.Hour - time.Minute + 1, false}, {time.Hour + time.Minute - 1, false}}},
		"when time jumps back by more a new window begins": {time.Minute, []packet{
			{time.Hour, true}, {time.Hour - time.Minute, true}, {time.Hour - time.Minute + 1, false}, {time.Hour, true}, {0, true}, {1, false}}},
		"0 is for ever, whatever the time": {0, []packet{
			{time.Hour, true}, {0, false}, {1e6 * time.Hour, false}, {-1e6 * time.Hour, false}}},
		"the shortest window folds what has the same time": {1, []packet{
			{5, true}, {5, false}, {6, true}, {5, true}}},
	} {
		u, tp := newUnique(uniqueSpec{test.window, minUnique}), tupleOf(1)
		for i, p := range test.stream {
			if first, evicted := u.isFirst(&tp, encode.Labels{}, time.Unix(0, int64(p.at))); first != p.first || evicted {
				t.Errorf("%s: packet %d: first %v, evicted %v", name, i, first, evicted)
			}
		}
	}
}

// TestUniqueTimesThatNoClockHas come in NMSG payloads. Differences are beyond
// what a time.Duration holds.
func TestUniqueTimesThatNoClockHas(t *testing.T) {
	u, tp := newUnique(uniqueSpec{time.Minute, minUnique}), tupleOf(1)
	for _, sec := range []int64{1 << 62, -1 << 62, 0, 1<<33 + 1<<62, 1 << 62} {
		if first, _ := u.isFirst(&tp, encode.Labels{}, time.Unix(sec, 0)); !first {
			t.Errorf("%d was folded", sec)
		}
		if first, _ := u.isFirst(&tp, encode.Labels{}, time.Unix(sec, 999_999_999)); first {
			t.Errorf("%d was not folded", sec)
		}
	}
}

// TestUniqueIsExact holds random streams against a map of emissions: nothing is
// folded but what was emitted less than a window away, and nothing is emitted
// early but for what fell out, of which there is none in a table with room.
func TestUniqueIsExact(t *testing.T) {
	type key struct {
		tuple  tuple.Tuple
		labels encode.Labels
	}
	for _, c := range []struct {
		name     string
		window   time.Duration
		tuples   uint32
		overflow bool
	}{
		{"with room", time.Second, 500, false}, {"too small", time.Second, 5000, true},
		{"for ever", 0, 500, false}, {"for ever and too small", 0, 5000, true},
	} {
		size := 1 << 16 // 500 of them and never nine in a set
		if c.overflow {
			size = minUnique
		}
		u := newUnique(uniqueSpec{c.window, size})
		random := rand.New(rand.NewPCG(1, 2))
		emitted := map[key]time.Time{}
		now, early, evictions, folded := time.Unix(1e9, 0), 0, 0, 0
		for range 200_000 {
			now = now.Add(time.Duration(random.ExpFloat64() * float64(100*time.Microsecond)))
			switch random.IntN(2000) {
			case 0:
				now = now.Add(-time.Duration(random.Int64N(int64(5 * time.Second))))
			case 1:
				now = now.Add(time.Duration(random.Int64N(int64(5 * time.Second))))
			}
			// Some tuples come more often than others.
			k := key{tupleOf(min(random.Uint32N(c.tuples), random.Uint32N(c.tuples))), encode.Labels{Group: random.Uint32N(2)}}
			first, evicted := u.isFirst(&k.tuple, k.labels, now)
			if evicted {
				evictions++
			}
			last, known := emitted[k]
			open := known && (c.window == 0 || now.Sub(last).Abs() < c.window)
			switch {
			case !first && !open:
				t.Fatalf("%s: folded what was not emitted", c.name)
			case first && open:
				early++
			case !first:
				folded++
			}
			if first {
				emitted[k] = now
			}
		}
		if early > evictions || (evictions > 0) != c.overflow || c.overflow && early == 0 || folded == 0 {
			t.Errorf("%s: %d early, %d fell out, %d folded", c.name, early, evictions, folded)
		}
	}
}

// TestUniqueHoldsWhatItSays: when half of the places are taken, some one in a
// hundred has fallen out, and the memory is that of the help.
func TestUniqueHoldsWhatItSays(t *testing.T) {
	const n = 1 << 15
	u := newUnique(uniqueSpec{0, n})
	if u.size() != n*64 {
		t.Errorf("%d bytes", u.size())
	}
	out := 0
	for i := range uint32(n / 2) {
		tp := tupleOf(i)
		if _, evicted := u.isFirst(&tp, encode.Labels{}, time.Time{}); evicted {
			out++
		}
	}
	if out > n/2/50 {
		t.Errorf("%d of %d fell out", out, n/2)
	}
}

// TestStageFolds: a tuple that is folded is not for the outputs of tuples; its
// packet is still for those of packets, and all is counted.
func TestStageFolds(t *testing.T) {
	var got collecting
	s := &stage{sinks: []output.Sink{&got}, unique: newUnique(uniqueSpec{time.Minute, minUnique})}
	var counts tally
	at := time.Unix(1e9, 0)
	err := s.intake(&counts, nil)([]capture.Packet{
		{IP: udp4, Time: at}, {IP: udp4, Time: at}, {IP: udp4, Time: at, Cut: true}, {Skip: capture.NotIP}, {IP: udp4[:22], Time: at},
		{IP: udp4, Time: at, Labels: encode.Labels{Source: 1}},
		{IP: udp4, Time: at.Add(time.Minute)},
	})
	want := tally{read: 7, delivered: 3, folded: 2, cut: 1}
	want.skipped[capture.NotIP], want.noTuple[tuple.Truncated] = 1, 1
	if err != nil || counts != want {
		t.Errorf("%+v, %v", counts, err)
	}
	if tuples := []bool{true, false, false, false, true, true}; !slices.Equal(got.tuples, tuples) {
		t.Errorf("tuples of %v", got.tuples)
	}
	if packets := []bool{true, true, false, true, true, true}; !slices.Equal(got.packets, packets) {
		t.Errorf("packets of %v", got.packets)
	}
}

// collecting is a sink that keeps what records have.
type collecting struct{ tuples, packets []bool }

func (c *collecting) Write(r *output.Record) error {
	c.tuples, c.packets = append(c.tuples, r.HasTuple), append(c.packets, r.Packet != nil)
	return nil
}
func (c *collecting) Flush() error { return nil }
func (c *collecting) Close() error { return nil }

func TestUniqueDoesNotAllocate(t *testing.T) {
	u, i := newUnique(uniqueSpec{time.Minute, minUnique}), uint32(0)
	if n := testing.AllocsPerRun(5000, func() {
		tp := tupleOf(i % 3000)
		u.isFirst(&tp, encode.Labels{}, time.Unix(int64(i/100), 0))
		i++
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkUnique(b *testing.B) {
	for _, c := range []struct {
		name   string
		tuples uint32
		order  int
	}{{"1 thousand tuples", 1 << 10, 1 << 12}, {"64 thousand", 1 << 16, 1 << 18}, {"too many", 1 << 31, 1 << 19}} {
		b.Run(c.name, func(b *testing.B) {
			u := newUnique(uniqueSpec{time.Minute, defaultUnique})
			order := make([]tuple.Tuple, c.order)
			for i := range order {
				order[i] = tupleOf(rand.Uint32N(c.tuples))
			}
			now := time.Unix(1, 0)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				u.isFirst(&order[i&(c.order-1)], encode.Labels{}, now)
			}
		})
	}
}

// tupleOf makes one tuple of each number.
func tupleOf(n uint32) tuple.Tuple {
	var a [4]byte
	binary.BigEndian.PutUint32(a[:], n)
	return tuple.Tuple{Src: netip.AddrFrom4(a), Dst: netip.AddrFrom4([4]byte{198, 51, 100, 1}), SrcPort: 1234, DstPort: 53, Proto: 17}
}
