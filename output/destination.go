package output

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"nmsgsensor/encode"
)

// failure says why a datagram was lost.
type failure uint8

const (
	refused failure = iota // no collector listens there
	unreachable
	full // the socket's or the interface's queue
	tooLarge
	unresolved // the host name has no address
	overRate   // the queue before the rate limit is full
	otherFailure
	numFailures
)

func (f failure) String() string {
	return [numFailures]string{"refused", "unreachable", "full", "too_large", "unresolved", "over_rate", "other"}[f]
}

func failureOf(err error) failure {
	switch {
	case errors.Is(err, unix.ECONNREFUSED):
		return refused
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.ENOBUFS), errors.Is(err, unix.ENOMEM):
		return full
	case errors.Is(err, unix.EMSGSIZE):
		return tooLarge
	case errors.Is(err, unix.ENETUNREACH), errors.Is(err, unix.EHOSTUNREACH), errors.Is(err, unix.ENETDOWN), errors.Is(err, unix.EHOSTDOWN):
		return unreachable
	}
	return otherFailure
}

const (
	// maxQueue is how many datagrams go out in one system call.
	maxQueue = 64
	// sendBuffer is asked for; the kernel may give less.
	sendBuffer = 4 << 20
	// calm is how long a destination must be without errors to be up again.
	calm = 2 * time.Second
)

// destination is one collector. All but its counters and its address is guarded
// by mu.
type destination struct {
	name  string
	log   *slog.Logger
	seq   encode.Sequence
	queue []byte // finished datagrams, one behind the other
	ends  []int  // where each ends
	units []unit // the containers they make up

	socket  socket
	address address
	opened  func(local, remote netip.AddrPort) // see UDPConfig
	hurry   <-chan struct{}                    // see UDPConfig
	limit   *limiter                           // nil without a rate
	mu      sync.Mutex
	stop    chan struct{}  // closed to end pace; nothing is ever sent
	pacing  sync.WaitGroup // for pace

	down    time.Time   // of the last failure; zero while it is up
	isDown  atomic.Bool // the same, for stats
	lost    uint64      // datagrams, since it went down
	counter struct {
		payloads, containers, bytes, dropped atomic.Uint64
		failures                             [numFailures]atomic.Uint64
	}
}

// unit is a container in a destination's queue.
type unit struct {
	payloads uint64
	end      int // index behind its last datagram
	failed   bool
}

func newDestination(spec Sockspec, port uint16, cfg *UDPConfig) *destination {
	d := &destination{
		name:   spec.Host + "/" + strconv.Itoa(int(port)),
		log:    cfg.Log,
		opened: cfg.Opened,
		hurry:  cfg.Hurry,
		seq:    encode.Sequence{ID: rand.Uint64()},
		socket: socket{fd: -1},
	}
	d.address.start(spec.Host, port)
	d.connect() // if it can't now, then at the first datagram
	if spec.Rate > 0 {
		d.limit, d.stop = newLimiter(spec.Rate, spec.Freq), make(chan struct{})
		d.pacing.Go(func() { d.pace(d.stop) })
	}
	return d
}

// add queues a sealed container, in fragments of mtu bytes if it is longer.
func (d *destination) add(sealed []byte, payloads uint64, mtu int) {
	if len(sealed) <= mtu {
		d.queue = append(d.queue, sealed...)
		d.ends = append(d.ends, len(d.queue))
	} else {
		frags := encode.NewFragments(sealed, mtu, rand.Uint32())
		for i := range frags.Len() {
			d.queue = frags.Append(d.queue, i)
			d.ends = append(d.ends, len(d.queue))
		}
	}
	d.units = append(d.units, unit{payloads: payloads, end: len(d.ends)})
	switch {
	case d.limit != nil && len(d.ends) > maxHeld:
		for len(d.ends) > maxHeld && d.mayWait() {
			time.Sleep(d.limit.every())
			d.push()
		}
		if len(d.ends) > maxHeld {
			d.dropLast()
		}
	case d.limit == nil && len(d.ends) >= maxQueue:
		d.push()
	}
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
	n := 0
	if last > 0 {
		n = d.units[last-1].end
	}
	d.fail(overRate, errOverRate, time.Now())
	d.counter.dropped.Add(d.units[last].payloads)
	start := 0
	if n > 0 {
		start = d.ends[n-1]
	}
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
		for i := range n {
			d.lose(i, unreached(err), err)
		}
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

// unreached is why there is no socket.
func unreached(err error) failure {
	if f := failureOf(err); f != otherFailure {
		return f
	}
	return unresolved
}

// connect opens the socket once there is an address, and again when the address
// has changed.
func (d *destination) connect() error {
	addr, err := d.address.current()
	if err != nil || d.socket.fd >= 0 && d.socket.addr == addr {
		return err
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
	now := time.Now()
	for i, refusals := 0, 0; i < n; {
		sent, err := d.socket.send(d.queue, d.ends, i, n)
		i += sent
		if sent > 0 && !d.down.IsZero() && now.Sub(d.down) > calm {
			d.log.Info("destination takes datagrams again", "destination", d.name, "lost", d.lost)
			d.down, d.lost = time.Time{}, 0
			d.isDown.Store(false)
		}
		if err == nil {
			continue
		}
		f := failureOf(err)
		if f == refused && refusals < 3 {
			// The kernel tells it of a datagram that was sent before; this one it
			// has not tried.
			refusals++
			d.fail(f, err, now)
			continue
		}
		d.lose(i, f, err)
		i++
		if f == full {
			for ; i < n; i++ { // there is no room for these either
				d.lose(i, full, err)
			}
		}
	}
}

// lose counts datagram i as lost, and with it its container.
func (d *destination) lose(i int, f failure, err error) {
	for k := range d.units {
		if i < d.units[k].end {
			d.units[k].failed = true
			break
		}
	}
	d.fail(f, err, time.Now())
}

// fail counts a failure, and tells of the first.
func (d *destination) fail(f failure, err error, now time.Time) {
	d.counter.failures[f].Add(1)
	if d.down.IsZero() {
		d.log.Warn("destination does not take datagrams", "destination", d.name, "cause", err)
	}
	d.down = now
	d.isDown.Store(true)
	d.lost++
	if f != full {
		d.address.again()
	}
}

// settle counts the first k containers and takes them out of the queue.
func (d *destination) settle(k int) {
	start := 0
	for _, u := range d.units[:k] {
		end := d.ends[u.end-1]
		if u.failed {
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
	s := Stats{Name: d.name, Down: d.isDown.Load(), Payloads: c.payloads.Load(), Containers: c.containers.Load(), Bytes: c.bytes.Load(), Dropped: c.dropped.Load()}
	for f := range numFailures {
		if n := c.failures[f].Load(); n > 0 {
			if s.Errors == nil {
				s.Errors = make(map[string]uint64)
			}
			s.Errors[f.String()] = n
		}
	}
	return s
}

// address is where a destination is. A host name is resolved in the background:
// at the start, and again when the destination fails.
type address struct {
	host   string
	port   uint16
	static bool // host is an address
	mu     sync.Mutex
	addr   netip.AddrPort // not valid until it is known
	err    error          // of the last attempt
	busy   bool
	next   time.Time // not to be resolved before
	wait   time.Duration
	cancel context.CancelFunc
	done   sync.WaitGroup
}

const (
	resolveTimeout = 5 * time.Second
	firstWait      = time.Second
	longestWait    = time.Minute
)

func (a *address) start(host string, port uint16) {
	a.host, a.port = host, port
	if ip, err := netip.ParseAddr(host); err == nil {
		a.addr, a.static = netip.AddrPortFrom(ip, port), true
		return
	}
	a.again()
	a.done.Wait() // the first time is worth waiting for
}

// current returns the address, or why there is none yet.
func (a *address) current() (netip.AddrPort, error) {
	a.mu.Lock()
	addr, err := a.addr, a.err
	a.mu.Unlock()
	if addr.IsValid() {
		return addr, nil
	}
	a.again()
	if err == nil {
		err = errors.New("not resolved yet")
	}
	return addr, err
}

// again resolves the name once more, unless that was done a moment ago.
func (a *address) again() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.static || a.busy || time.Now().Before(a.next) {
		return
	}
	a.wait = min(max(2*a.wait, firstWait), longestWait)
	a.next = time.Now().Add(a.wait)
	a.busy = true
	ctx, cancel := context.WithTimeout(context.Background(), resolveTimeout)
	a.cancel = cancel
	a.done.Go(func() {
		defer cancel()
		ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", a.host)
		a.mu.Lock()
		defer a.mu.Unlock()
		a.busy, a.err = false, err
		if err == nil {
			a.addr, a.wait = netip.AddrPortFrom(ips[0].Unmap(), a.port), 0
		}
	})
}

func (a *address) stop() {
	a.mu.Lock()
	if a.cancel != nil {
		a.cancel()
	}
	a.mu.Unlock()
	a.done.Wait()
}
