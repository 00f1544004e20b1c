package talkers

import (
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"nmsgsensor/tuple"
)

// TestSketchKeepsItsWord: of streams of several shapes, each key that makes up
// more than one in k is there, no count is below the truth, none above by more
// than its error, and no error is above one in k. Index and heap stay whole.
func TestSketchKeepsItsWord(t *testing.T) {
	const k, n = 64, 20_000
	random := rand.New(rand.NewPCG(1, 2))
	zipf := rand.NewZipf(random, 1.2, 1, 5000)
	for name, next := range map[string]func(i int) uint64{
		"few keys":                     func(int) uint64 { return random.Uint64N(k) },
		"all alike":                    func(int) uint64 { return random.Uint64N(5000) },
		"some often":                   func(int) uint64 { return zipf.Uint64() },
		"always another":               func(i int) uint64 { return uint64(i) },
		"one after all the others":     func(i int) uint64 { return uint64(min(i, n-n/k-2)) },
		"one between always another":   func(i int) uint64 { return uint64(i * (i % 50)) },
		"one before all of the others": func(i int) uint64 { return uint64(max(i, n/k+2)) },
	} {
		s, truth := newSketch[uint64](k), map[uint64]float64{}
		for i := range n {
			key := next(i)
			truth[key]++
			s.add(key, 10)
		}
		found := map[uint64]bool{}
		for i := range s.items {
			it := &s.items[i]
			if !it.inUse {
				continue
			}
			found[it.key] = true
			if is := truth[it.key]; it.count < is || it.count-it.error > is || it.error > n/k || it.bytes > 10*is {
				t.Errorf("%s: %d came %v times: %+v", name, it.key, is, it)
			}
		}
		for key, is := range truth {
			if is > n/k && !found[key] {
				t.Errorf("%s: %d came %v times and is not there", name, key, is)
			}
		}
		checkWhole(t, name, &s)
	}
}

func checkWhole(t *testing.T, name string, s *sketch[uint64]) {
	t.Helper()
	for place, i := range s.heap {
		if s.items[i].place != int32(place) || s.items[i].count < s.items[s.heap[max(place-1, 0)/2]].count {
			t.Errorf("%s: heap is broken at %d", name, place)
		}
	}
	used := 0
	for _, i := range s.index {
		if i != 0 {
			used++
		}
	}
	for i := range s.items {
		it := &s.items[i]
		if !it.inUse {
			continue
		}
		used--
		slot := s.slot(it.hash)
		for s.index[slot] != 0 && s.index[slot] != int32(i)+1 {
			slot = s.next(slot)
		}
		if s.index[slot] == 0 {
			t.Errorf("%s: %d is not found", name, it.key)
		}
	}
	if used != 0 {
		t.Errorf("%s: %d too many in the index", name, used)
	}
}

// TestFadedCountsAreRates: what came at a rate has it, and what ended is gone
// after a while, to be found at its rate again when it comes back.
func TestFadedCountsAreRates(t *testing.T) {
	k := New(10 * time.Second)
	now := k.since
	steady, early := tupleOf(1), tupleOf(2)
	udp := udpPacket(100)
	var c Counts
	for second := range 200 {
		for range 50 {
			k.Add(udp, &steady, true)
		}
		if second < 20 || second >= 190 {
			k.Add(udp, &early, true)
		}
		now = now.Add(time.Second)
		c = k.Counts(now)
		if rate := c.Packets / c.Seconds; second >= 20 && second < 190 && math.Abs(rate-50) > 1 {
			t.Fatalf("%v packets a second", rate)
		}
		i := slices.IndexFunc(c.Tuples, func(c Count) bool { return c.Key == text(early) })
		if there := second < 20 || second >= 190; there != (i >= 0) && (there || second >= 100) {
			t.Fatalf("second %d: at %d", second, i)
		}
	}
	if rate := c.Bytes / c.Seconds; math.Abs(rate-5064) > 100 {
		t.Errorf("%v bytes a second", rate)
	}
}

// TestWhatPacketsCountFor is of each kind of them.
func TestWhatPacketsCountFor(t *testing.T) {
	k := New(0)
	a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	for _, tp := range []tuple.Tuple{
		{Src: a, Dst: a, SrcPort: 123, DstPort: 123, Proto: 17},
		{Src: b, Dst: b, SrcPort: 443, DstPort: 1024, Proto: 6},
		{Src: a, Dst: netip.AddrFrom16(a.As16()), SrcPort: 0, DstPort: 1, Proto: 1},
	} {
		k.Add(udpPacket(1000)[:28], &tp, true)
	}
	k.Add(udpPacket(500), new(tuple.Tuple), false)
	k.Add(nil, new(tuple.Tuple), false)
	c := k.Counts(k.since.Add(time.Second))
	if c.Packets != 5 || c.Bytes != 3500 || c.Seconds != 1 {
		t.Errorf("%+v", c)
	}
	for _, list := range []struct {
		got  []Count
		want []string
	}{
		{c.Tuples, []string{"192.0.2.1.0 --> ::ffff:192.0.2.1.1 (1)", "192.0.2.1.123 --> 192.0.2.1.123 (17)", "2001:db8::1.443 --> 2001:db8::1.1024 (6)"}},
		{c.Hosts, []string{"192.0.2.1", "2001:db8::1", "::ffff:192.0.2.1"}},
		{c.Ports, []string{"protocol 1, 0", "protocol 1, 1", "tcp 1024", "tcp 443", "udp 123"}},
	} {
		var keys []string
		for _, c := range list.got {
			keys = append(keys, c.Key)
		}
		if slices.Sort(keys); !slices.Equal(keys, list.want) {
			t.Errorf("%q, want %q", keys, list.want)
		}
	}
}

func TestAddDoesNotAllocate(t *testing.T) {
	k, i, ip := New(time.Second), uint32(0), udpPacket(100)
	if n := testing.AllocsPerRun(20_000, func() {
		tp := tupleOf(i * 7919 % 10_000)
		k.Add(ip, &tp, true)
		i++
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkAdd(b *testing.B) {
	for _, c := range []struct {
		name  string
		flows uint64
	}{{"100 flows", 100}, {"100 thousand", 100_000}} {
		b.Run(c.name, func(b *testing.B) {
			zipf := rand.NewZipf(rand.New(rand.NewPCG(1, 2)), 1.1, 1, c.flows)
			order := make([]tuple.Tuple, 1<<18)
			for i := range order {
				order[i] = tupleOf(uint32(zipf.Uint64()))
			}
			k, ip := New(0), udpPacket(100)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				k.Add(ip, &order[i%len(order)], true)
			}
		})
	}
}

func tupleOf(n uint32) tuple.Tuple {
	return tuple.Tuple{Src: netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)}), Dst: netip.AddrFrom4([4]byte{192, 0, 2, byte(n)}),
		SrcPort: uint16(1024 + n), DstPort: 443, Proto: 6}
}

func text(t tuple.Tuple) string { return tupleText(t.Pack()) }

// udpPacket is an IPv4 packet with UDP of this length.
func udpPacket(n int) []byte {
	b := make([]byte, n)
	b[0], b[2], b[3], b[9] = 0x45, byte(n>>8), byte(n), 17
	return b
}
