package output

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"

	"nmsgsensor/encode"
)

// Sizes of datagrams (UDP payload) in bytes.
const (
	DefaultMTU = 1280
	MinMTU     = encode.MinContainer
	MaxMTU     = 65507 // RFC 768 over IPv4
)

// UDPConfig says what is sent and how.
type UDPConfig struct {
	Payloads
	MTU    int          // largest datagram; 0 for DefaultMTU
	Mirror bool         // every destination gets everything; else they share
	Log    *slog.Logger // where changes of state are told; nil for slog.Default()

	// Hurry is closed when there is no more time to wait. Until then Write waits
	// where a rate lets nothing more through, as whoever reads files can; a nil
	// Hurry never lets it wait, and what is too much is dropped.
	Hurry <-chan struct{}

	// Opened is called with the addresses of each socket before the first
	// datagram leaves it, from whatever goroutine sends; nil for nobody.
	Opened func(local, remote netip.AddrPort)
}

// UDP sends containers to collectors. What may never leave (it would end
// nmsgtool): an empty container, an empty fragment, a length that is not the
// datagram's.
type UDP struct {
	cfg   UDPConfig
	dests []*destination
	next  int // whose turn it is, where they share
	c     encode.Container
	fill  zlibFill
}

// DialUDP opens a socket for each destination: each port of each Sockspec. One
// that can't be reached now is no error; what is for it is dropped and counted
// until it can.
func DialUDP(specs []Sockspec, cfg UDPConfig) (*UDP, error) {
	if cfg.MTU == 0 {
		cfg.MTU = DefaultMTU
	}
	if len(specs) == 0 {
		return nil, errors.New("no destination")
	}
	if cfg.MTU < MinMTU || cfg.MTU > MaxMTU {
		return nil, fmt.Errorf("datagrams of %d bytes: from %d to %d are possible", cfg.MTU, MinMTU, MaxMTU)
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	u := &UDP{cfg: cfg}
	for _, spec := range specs {
		for port := int(spec.First); port <= int(spec.Last); port++ {
			u.dests = append(u.dests, newDestination(spec, uint16(port), &cfg))
		}
	}
	for _, d := range u.dests { // whose names are all being resolved by now
		d.open()
	}
	return u, nil
}

// Write implements Sink.
func (u *UDP) Write(r *Record) error {
	if !u.cfg.Kind.wants(r) {
		return nil
	}
	if u.cfg.Zlib && !u.cfg.Single {
		u.compress(r)
		return nil
	}
	before := u.c.Mark()
	u.cfg.append(&u.c, r, 0)
	if before.Len() > 0 && u.full() {
		u.send(before)
	}
	if u.cfg.Single || u.full() {
		u.send(u.c.Mark())
	}
	return nil
}

// full says whether what was put in fills a datagram, or more than that.
func (u *UDP) full() bool { return u.c.Size(nil)+sequenceRoom > u.cfg.MTU }

// sequenceRoom is the most that the two sequence fields take: their keys and
// varints of 32 and 64 bits. Ids are random, so they nearly always take it all.
const sequenceRoom = 2 + 5 + 10

// send seals the payloads before the mark for each destination whose turn it is.
func (u *UDP) send(m encode.Mark) {
	if u.cfg.Mirror {
		for _, d := range u.dests {
			u.sendTo(d, m)
		}
	} else {
		u.sendTo(u.dests[u.next], m)
		u.next = (u.next + 1) % len(u.dests)
	}
	u.c.Drop(m)
}

func (u *UDP) sendTo(d *destination, m encode.Mark) {
	d.mu.Lock()
	defer d.mu.Unlock()
	sealed := u.c.SealTo(m, &d.seq, u.cfg.Zlib)
	d.seq.Next++
	d.add(sealed, uint64(m.Len()), u.cfg.MTU)
}

// Push implements Pusher: it sends the datagrams that are done.
func (u *UDP) Push() error {
	for _, d := range u.dests {
		d.mu.Lock()
		d.push()
		d.mu.Unlock()
	}
	return nil
}

// Flush implements Sink.
func (u *UDP) Flush() error {
	if u.cfg.Zlib {
		u.sendFilled(true)
	} else if u.c.Len() > 0 {
		u.send(u.c.Mark())
	}
	return u.Push()
}

// Close implements Sink.
func (u *UDP) Close() error {
	err := u.Flush()
	for _, d := range u.dests {
		err = errors.Join(err, d.close())
	}
	return err
}

// Stats returns the counters of each destination.
func (u *UDP) Stats() []Stats {
	var all []Stats
	for _, d := range u.dests {
		all = append(all, d.stats())
	}
	return all
}
