package output

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"
)

// address is where a destination is. A host name is resolved in the background:
// at the start, and again while the destination fails, ever less often.
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
		err = errUnresolved
	}
	return addr, err
}

var errUnresolved = errors.New("not resolved yet")

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
			a.addr = netip.AddrPortFrom(ips[0].Unmap(), a.port)
		}
	})
}

// settled says that the destination works there: when it fails again, the name
// is resolved at once.
func (a *address) settled() {
	a.mu.Lock()
	a.wait, a.next = 0, time.Time{}
	a.mu.Unlock()
}

func (a *address) stop() {
	a.mu.Lock()
	if a.cancel != nil {
		a.cancel()
	}
	a.mu.Unlock()
	a.done.Wait()
}
