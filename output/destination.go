package output

import (
	"errors"
	"math/rand/v2"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"nmsgsensor/encode"
)

const (
	// maxQueue is how many datagrams go out in one system call.
	maxQueue = 64
	// sendBuffer is asked for; the kernel may give less.
	sendBuffer = 4 << 20
	// fewTries is how often a datagram is tried again: what the network says of
	// datagrams that had left before, the kernel tells in place of trying it.
	fewTries = 3
	// manyTries is how often where a host is not there, and the last one was not lost
	// after all: that brings an error for each of the hundred or so that waited for
	// its link address, and they can come as fast as we try.
	manyTries = 128
)

// destination is one collector. All but its counters and its address is guarded
// by mu.
type destination struct {
	health
	seq   encode.Sequence
	queue []byte // finished datagrams, one behind the other
	ends  []int  // where each ends
	units []unit // the containers they make up
	set   uint32 // id of the next set of fragments; counted, as two of one id would end a collector

	socket  socket
	tries   int  // that the next datagram has where the host is not there
	astray  bool // the last failure may be that of the address it has here
	address address
	opened  func(local, remote netip.AddrPort) // see UDPConfig
	hurry   <-chan struct{}                    // see UDPConfig
	limit   *limiter                           // nil without a rate
	mu      sync.Mutex
	stop    chan struct{}  // closed to end pace; nothing is ever sent
	pacing  sync.WaitGroup // for pace

	counter struct{ payloads, containers, bytes, dropped atomic.Uint64 }
}

// unit is a container in a destination's queue.
type unit struct {
	payloads uint64
	end      int // index behind its last datagram
	lost     bool
}

func newDestination(spec Sockspec, port uint16, cfg *UDPConfig) *destination {
	d := &destination{
		health: health{log: cfg.Log, kind: "destination", name: spec.Host + "/" + strconv.Itoa(int(port)), unit: "datagrams"},
		opened: cfg.Opened,
		hurry:  cfg.Hurry,
		seq:    encode.Sequence{ID: rand.Uint64()},
		set:    rand.Uint32(),
		socket: socket{fd: -1},
		tries:  manyTries,
	}
	d.address.start(spec.Host, port)
	if spec.Rate > 0 {
		d.limit, d.stop = newLimiter(spec.Rate, spec.Freq), make(chan struct{})
	}
	return d
}

// open makes it ready; the first address is worth waiting for.
func (d *destination) open() {
	d.address.done.Wait()
	d.connect() // if it can't now, then at the first datagram
	if d.limit != nil {
		d.pacing.Go(func() { d.pace(d.stop) })
	}
}

// add queues a sealed container, in fragments of mtu bytes if it is longer.
func (d *destination) add(sealed []byte, payloads uint64, mtu int) {
	if len(sealed) <= mtu {
		d.queue = append(d.queue, sealed...)
		d.ends = append(d.ends, len(d.queue))
	} else {
		frags := encode.NewFragments(sealed, mtu, d.set)
		d.set++
		for i := range frags.Len() {
			d.queue = frags.Append(d.queue, i)
			d.ends = append(d.ends, len(d.queue))
		}
	}
	d.units = append(d.units, unit{payloads: payloads, end: len(d.ends)})
	switch {
	case d.limit != nil:
		for d.holdsTooMuch() && d.mayWait() {
			time.Sleep(d.limit.every())
			d.push()
		}
		if d.holdsTooMuch() {
			d.dropLast()
		}
	case len(d.ends) >= maxQueue:
		d.push()
	}
}

// holdsTooMuch says whether the rate lets the last container no more in; one may
// always wait, of however many fragments.
func (d *destination) holdsTooMuch() bool {
	return len(d.units) > 1 && len(d.ends) > maxHeld
}

// mayWait says whether the caller has time.
func (d *destination) mayWait() bool {
	if d.hurry == nil {
		return false
	}
	select {
	case <-d.hurry:
		return false
	default:
		return true
	}
}

// dropLast takes the last container back: the rate lets no more through. Its
// number is used up, so that the collector sees the loss.
func (d *destination) dropLast() {
	last := len(d.units) - 1
	n, start := 0, 0 // datagrams and bytes before it
	if last > 0 {
		n = d.units[last-1].end
		start = d.ends[n-1]
	}
	d.failed(overRate, uint64(len(d.ends)-n), errOverRate)
	d.counter.dropped.Add(d.units[last].payloads)
	d.queue, d.ends, d.units = d.queue[:start], d.ends[:n], d.units[:last]
}

var errOverRate = errors.New("more than the rate lets through")

// push sends what is queued, as far as the rate allows, and never waits.
func (d *destination) push() {
	k := len(d.units)
	if d.limit != nil {
		k = d.limit.allow(d.units)
	}
	if k == 0 {
		return
	}
	n := d.units[k-1].end
	if err := d.connect(); err == nil {
		d.transmit(n)
	} else {
		d.lose(0, n, failureOf(err), err)
	}
	d.settle(k)
}

// pace pushes at the rate until stop is closed.
func (d *destination) pace(stop <-chan struct{}) {
	tick := time.NewTicker(d.limit.every())
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
			d.mu.Lock()
			d.push()
			d.mu.Unlock()
		}
	}
}

// connect opens the socket once there is an address, and again when the address
// has changed, be it the collector's or our own.
func (d *destination) connect() error {
	addr, err := d.address.current()
	if err != nil {
		return err
	}
	astray := d.astray
	d.astray = false
	if d.socket.fd >= 0 && d.socket.addr == addr && !(astray && d.socket.moved()) {
		return nil
	}
	if err := d.socket.open(addr); err != nil {
		return err
	}
	if d.opened != nil {
		d.opened(d.socket.local(), addr)
	}
	return nil
}

// transmit sends the first n datagrams.
func (d *destination) transmit(n int) {
	var told error // by the last tries
	for i, tries := 0, 0; i < n; {
		sent, err := d.socket.send(d.queue, d.ends, i, n)
		if err == nil {
			if i += sent; tries > 0 {
				d.failed(refused, uint64(tries), told)
				d.address.again()
			} else if d.worked() {
				d.address.settled()
			}
			tries, d.tries = 0, manyTries
			continue
		}
		f := failureOf(err)
		if d.mayTry(f, err, tries) {
			told, tries = err, tries+1
			continue
		}
		end := d.containerEnd(i)
		if err == unix.EAGAIN { // there is no room for the others either
			end = n
		}
		d.lose(i, end, f, err)
		i, tries, d.tries = end, 0, fewTries
	}
}

// mayTry says whether a datagram that failed is tried again after so many tries. An
// interface without room and a packet filter of this host, which gives EPERM, speak
// of this datagram and no other.
func (d *destination) mayTry(f failure, err error, tries int) bool {
	switch {
	case f == full || err == unix.EPERM:
		return false
	case f == unreachable:
		return tries < d.tries
	}
	return tries < fewTries
}

// containerEnd returns the index behind the last datagram of the container that
// datagram i is of. Without one of its fragments the others are of no use.
func (d *destination) containerEnd(i int) int {
	for _, u := range d.units {
		if i < u.end {
			return u.end
		}
	}
	return len(d.ends)
}

// lose counts datagrams from to to-1 as lost, and with them their containers.
func (d *destination) lose(from, to int, f failure, err error) {
	start := 0
	for k := range d.units {
		if from < d.units[k].end && start < to {
			d.units[k].lost = true
		}
		start = d.units[k].end
	}
	d.failed(f, uint64(to-from), err)
	d.astray = d.astray || f == unreachable
	if f != full {
		d.address.again()
	}
}

// settle counts the first k containers and takes them out of the queue.
func (d *destination) settle(k int) {
	start := 0
	for _, u := range d.units[:k] {
		end := d.ends[u.end-1]
		if u.lost {
			d.counter.dropped.Add(u.payloads)
		} else {
			d.counter.payloads.Add(u.payloads)
			d.counter.containers.Add(1)
			d.counter.bytes.Add(uint64(end - start))
		}
		start = end
	}
	if k == len(d.units) {
		d.queue, d.ends, d.units = d.queue[:0], d.ends[:0], d.units[:0]
		return
	}
	n := d.units[k-1].end
	d.queue = append(d.queue[:0], d.queue[start:]...)
	d.ends = append(d.ends[:0], d.ends[n:]...)
	for i := range d.ends {
		d.ends[i] -= start
	}
	d.units = append(d.units[:0], d.units[k:]...)
	for i := range d.units {
		d.units[i].end -= n
	}
}

// close sends what the rate still holds back, for a second at most where there
// is a hurry, and closes the socket.
func (d *destination) close() error {
	if d.limit != nil {
		close(d.stop)
		d.pacing.Wait()
		for end := time.Now().Add(time.Second); len(d.units) > 0 && (d.mayWait() || time.Now().Before(end)); {
			time.Sleep(d.limit.every())
			d.push()
		}
		for len(d.units) > 0 {
			d.dropLast()
		}
	}
	d.address.stop()
	return d.socket.close()
}

func (d *destination) stats() Stats {
	c := &d.counter
	return Stats{Name: d.name, Down: d.down.Load(), Payloads: c.payloads.Load(), Containers: c.containers.Load(),
		Bytes: c.bytes.Load(), Dropped: c.dropped.Load(), Errors: d.errors(datagramFailures)}
}
