// Package talkers finds the busiest tuples, hosts and ports of a stream of
// packets, in bounded memory.
package talkers

import (
	"fmt"
	"math"
	"net/netip"
	"time"

	"nmsgsensor/output"
	"nmsgsensor/tuple"
)

// Counters is how many keys of each kind are kept; see sketch for what that
// means.
const Counters = 2048

// Talkers counts packets. Its caller serialises all calls.
type Talkers struct {
	tuples  sketch[tuple.Packed]
	hosts   sketch[host]
	ports   sketch[port]
	packets float64
	bytes   float64
	seconds float64 // in which these came
	since   time.Time
	life    time.Duration
}

type host struct {
	addr [16]byte
	is4  bool
}

type port struct {
	proto uint16
	port  uint16
}

// New returns one in which what was counted fades: after each life, it counts a
// third (1/e) of what is new. With a life of 0 nothing fades.
func New(life time.Duration) *Talkers {
	return &Talkers{tuples: newSketch[tuple.Packed](Counters), hosts: newSketch[host](Counters), ports: newSketch[port](Counters),
		since: time.Now(), life: life}
}

// Add counts a packet, whose bytes are nil where only its tuple is known. One
// that has a tuple counts for both of its hosts and ports.
func (k *Talkers) Add(ip []byte, t *tuple.Tuple, hasTuple bool) {
	bytes := float64(tuple.Length(ip))
	k.packets++
	k.bytes += bytes
	if !hasTuple {
		return
	}
	k.tuples.add(t.Pack(), bytes)
	src, dst := host{t.Src.As16(), t.Src.Is4()}, host{t.Dst.As16(), t.Dst.Is4()}
	k.hosts.add(src, bytes)
	if dst != src {
		k.hosts.add(dst, bytes)
	}
	k.ports.add(port{uint16(t.Proto), t.SrcPort}, bytes)
	if t.DstPort != t.SrcPort {
		k.ports.add(port{uint16(t.Proto), t.DstPort}, bytes)
	}
}

// Count is how often something came.
type Count struct {
	Key     string
	Packets float64
	Bytes   float64 // of IP packets, as their headers say; at least
	Error   float64 // of Packets, how many may be others'
}

// Counts are those of some time, of all packets and by what they have.
type Counts struct {
	Seconds              float64
	Packets, Bytes       float64
	Tuples, Hosts, Ports []Count // in no order
}

// Counts returns what was counted, and lets it fade.
func (k *Talkers) Counts(now time.Time) Counts {
	passed := max(now.Sub(k.since), 0)
	k.since = now
	k.seconds += passed.Seconds()
	c := Counts{Seconds: k.seconds, Packets: k.packets, Bytes: k.bytes,
		Tuples: counts(&k.tuples, tupleText), Hosts: counts(&k.hosts, host.text), Ports: counts(&k.ports, port.text)}
	if k.life > 0 {
		factor := math.Exp(-passed.Seconds() / k.life.Seconds())
		k.tuples.fade(factor)
		k.hosts.fade(factor)
		k.ports.fade(factor)
		k.packets, k.bytes, k.seconds = k.packets*factor, k.bytes*factor, k.seconds*factor
	}
	return c
}

func counts[K comparable](s *sketch[K], text func(K) string) (all []Count) {
	for i := range s.items {
		if it := &s.items[i]; it.count > 0 {
			all = append(all, Count{text(it.key), it.count, it.bytes, it.error})
		}
	}
	return all
}

func tupleText(p tuple.Packed) string {
	t := p.Tuple()
	return string(output.AppendTuple(nil, &t))
}

func (h host) text() string {
	a := netip.AddrFrom16(h.addr)
	if h.is4 {
		a = a.Unmap()
	}
	return a.String()
}

func (p port) text() string {
	switch p.proto {
	case 6:
		return fmt.Sprintf("tcp %d", p.port)
	case 17:
		return fmt.Sprintf("udp %d", p.port)
	}
	return fmt.Sprintf("protocol %d, %d", p.proto, p.port)
}
