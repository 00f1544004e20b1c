package capture

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync/atomic"
	"time"
)

// LiveConfig says what to capture on an interface and how.
type LiveConfig struct {
	Interface   string
	Snaplen     int  // bytes of each frame; 0 chooses
	Promiscuous bool // also what is addressed to others
	Buffer      int  // bytes of the kernel's ring; 0 for DefaultBuffer
	Engine      Engine

	// HeadersOnly says that no output wants whole packets. Then a short snaplen
	// is chosen, so that the ring holds more of them.
	HeadersOnly bool

	// Exclude is a libpcap filter for what is not captured, "" for nothing; see
	// [Live.Exclude].
	Exclude string
	Config
}

// Engine is what reads the kernel's ring.
type Engine uint8

// The engines.
const (
	Libpcap  Engine = iota // packet by packet; any interface
	AFPacket               // block by block; interfaces that carry Ethernet or bare IP
)

// handle is an interface that is open. One goroutine uses it.
type handle interface {
	// read waits for frames, a readTimeout at most, and returns those at hand,
	// borrowed until the next call. If there are none, it returns errNothing.
	read() ([]frame, error)

	// setFilter has a libpcap filter take the place of the one before. Nothing
	// is captured before the first one is set; "" lets everything through.
	setFilter(expr string) error

	// dropped returns how many packets were dropped since the last call, by the
	// kernel for want of room, and by the interface or its driver.
	dropped() (kernel, iface uint64)

	close()
}

// frame is a link-layer frame.
type frame struct {
	time    time.Time
	data    []byte // borrowed from the handle
	wireLen uint32 // its length before it was cut
}

var errNothing = errors.New("nothing came")

// DefaultBuffer is the size of the kernel's ring in bytes.
const DefaultBuffer = 16 << 20

const (
	readTimeout = 100 * time.Millisecond

	// headerSnaplen is enough for the headers that are read, far beyond what is
	// seen: 14 bytes of Ethernet, tags and labels, 40 of IPv6 and ten extension
	// headers, ports.
	headerSnaplen = 512

	// lastWait is when the kernel has surely handed over the block of packets
	// that was open at the stop.
	lastWait = readTimeout + 20*time.Millisecond

	// sampleEvery is how often the kernel is asked what it dropped, and
	// checkEvery how often whether the interface is up.
	sampleEvery = 100 * time.Millisecond
	checkEvery  = time.Second

	// An interface that is gone is looked for again after these waits.
	firstWait   = 100 * time.Millisecond
	longestWait = 2 * time.Second
)

// Live is a network interface being captured. When it goes away it is opened
// again once it is back; what passes in between is not seen.
type Live struct {
	cfg     LiveConfig
	handle  handle // nil while there is no interface
	index   int    // of the interface in the kernel; 0 for "any"
	layer   layer
	exclude atomic.Pointer[string] // a filter that is to take the place of hidden
	hidden  string                 // the filter of what is excluded

	bytes   uint64    // this and the following belong to the reading goroutine
	sampled time.Time // the last time
	checked time.Time
	stopped time.Time // when the context was found done
	broken  time.Time // since when reads give errors and no packets; zero while they don't
	ledger
}

// OpenLive opens an interface. Packets are captured from then on; from one that
// is down, once it is up.
func OpenLive(cfg LiveConfig) (*Live, error) {
	l := &Live{cfg: cfg, hidden: cfg.Exclude,
		ledger: ledger{log: cfg.logger(), stats: Stats{Name: cfg.Interface, Seen: time.Now()}}}
	err := l.open()
	if errors.Is(err, errNotUp) {
		// The filter's own mistakes are told now all the same.
		if _, err := compileFilter(cfg.Filter, linkEthernet); err != nil {
			return nil, err
		}
		l.away(err)
		return l, nil
	}
	if err != nil {
		return nil, err
	}
	return l, nil
}

// open gets a handle, with the filters set.
func (l *Live) open() error {
	handle, link, err := l.openHandle()
	if err != nil {
		return fmt.Errorf("open %s: %w", l.cfg.Interface, err)
	}
	if l.layer, err = newLayer(link, ""); err != nil {
		handle.close()
		return fmt.Errorf("open %s: %w", l.cfg.Interface, err)
	}
	if err := l.setFilter(handle); err != nil {
		handle.close()
		return err
	}
	l.handle, l.index, l.broken = handle, 0, time.Time{}
	if i, err := net.InterfaceByName(l.cfg.Interface); err == nil {
		l.index = i.Index
	}
	return nil
}

func (l *Live) openHandle() (handle, LinkType, error) {
	if l.cfg.Engine == AFPacket {
		return openRing(&l.cfg)
	}
	return openLibpcap(&l.cfg, l.log)
}

// Exclude has the kernel pass over what a libpcap filter matches, in place of
// what was excluded before, from shortly after this call on. While libpcap changes
// a filter, for some microseconds, nothing at all is captured; the other engine
// changes it at once. It may be called from any goroutine.
func (l *Live) Exclude(filter string) { l.exclude.Store(&filter) }

// setFilter sets the filter of what is excluded before the user's. The former
// only saves work: where the two can't be set, the user's alone is.
func (l *Live) setFilter(h handle) error {
	filter := l.cfg.Filter
	if l.hidden != "" {
		filter = "not (" + l.hidden + ")"
		if l.cfg.Filter != "" {
			filter += " and (" + l.cfg.Filter + ")"
		}
	}
	err := h.setFilter(filter)
	if errors.Is(err, errUnasked) {
		return fmt.Errorf("open %s: %w", l.cfg.Interface, err)
	}
	if err != nil && l.hidden != "" {
		cause := err
		if err = h.setFilter(l.cfg.Filter); err == nil {
			l.log.Warn("own traffic is captured, and passed over later", "interface", l.cfg.Interface, "cause", cause)
		}
	}
	if err != nil {
		return fmt.Errorf("%w %q: %w", ErrFilter, l.cfg.Filter, err)
	}
	return nil
}

// Run implements Source.
func (l *Live) Run(ctx context.Context, fn func([]Packet) error) error {
	// Only this goroutine touches the handle, to the end.
	defer l.close()
	batch := make([]Packet, batchSize)
	for !l.done(ctx) {
		if l.handle == nil {
			if err := l.reopen(ctx); err != nil {
				return err
			}
			continue
		}
		if f := l.exclude.Load(); f != nil && l.exclude.CompareAndSwap(f, nil) {
			l.hidden = *f
			switch err := l.setFilter(l.handle); {
			case errors.Is(err, errUnasked): // the filter before is still set
				l.log.Warn("own traffic is captured, and passed over later", "interface", l.cfg.Interface, "cause", err)
			case err != nil:
				return err
			}
		}
		frames, err := l.handle.read()
		switch {
		case err == nil:
			n := l.take(batch, frames)
			if err := fn(batch[:n]); err != nil {
				return err
			}
			if n < len(frames) {
				return nil
			}
			l.broken = time.Time{}
			last := frames[n-1].time
			if passed := last.Sub(l.sampled); passed >= sampleEvery || passed < 0 {
				l.sample(last)
			}
		case err == errNothing:
			l.sample(time.Now())
			if !l.stopped.IsZero() && time.Since(l.stopped) > lastWait {
				return nil
			}
		default:
			l.failed(err)
		}
	}
	return nil
}

// take makes packets of frames, up to one that came after the stop, and returns
// how many.
func (l *Live) take(batch []Packet, frames []frame) int {
	for i := range frames {
		f := &frames[i]
		if !l.stopped.IsZero() && l.cameAfter(f.time) {
			return i
		}
		l.bytes += uint64(len(f.data))
		batch[i].Time = f.time
		l.layer.take(&batch[i], f.data, f.wireLen)
	}
	return len(frames)
}

// done says whether Run is to end. While there is a handle, that is so when what
// came before the stop has been read from its ring.
func (l *Live) done(ctx context.Context) bool {
	if ctx.Err() == nil {
		return false
	}
	if l.stopped.IsZero() {
		l.stopped = time.Now()
	}
	return l.handle == nil
}

// cameAfter says whether a packet is from after the stop. When the clock was set
// back meanwhile, all that come for too long are.
func (l *Live) cameAfter(t time.Time) bool {
	return t.After(l.stopped) || time.Since(l.stopped) > longestWait
}

// failed closes the handle after an error of a read, when what came before the
// interface went away has been read: the kernel hands over its last block of
// packets when their time is over, whatever became of the interface.
func (l *Live) failed(err error) {
	now := time.Now()
	if l.broken.IsZero() {
		l.broken = now
	}
	if now.Sub(l.broken) < lastWait {
		time.Sleep(readTimeout / 10)
		return
	}
	l.close()
	l.away(err)
}

// reopen waits for the interface. What no waiting helps against is an error.
func (l *Live) reopen(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for wait := firstWait; ; wait = min(2*wait, longestWait) {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		err := l.open()
		switch {
		case err == nil:
			l.back()
			return nil
		case errors.Is(err, os.ErrPermission), errors.Is(err, ErrFilter):
			return err
		}
		l.mu.Lock()
		l.stats.Seen = time.Now()
		l.mu.Unlock()
		timer.Reset(wait)
	}
}

// away tells that nothing is captured now; back, that it goes on.
func (l *Live) away(cause error) {
	if l.setDown(true) {
		l.log.Warn("interface is away; waiting for it", "interface", l.cfg.Interface, "cause", cause)
	}
}

func (l *Live) back() {
	if l.setDown(false) {
		l.log.Info("interface is back", "interface", l.cfg.Interface)
	}
}

// setDown says whether that is news.
func (l *Live) setDown(down bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	news := l.stats.Down != down
	l.stats.Down = down
	if news && !down {
		l.stats.Returns++
	}
	return news
}

// sample asks the kernel what it dropped, and now and then what became of the
// interface.
func (l *Live) sample(now time.Time) {
	l.sampled = now
	kernel, iface := l.handle.dropped()
	l.mu.Lock()
	l.stats.KernelDropped += kernel
	l.stats.InterfaceDropped += iface
	l.stats.Bytes, l.stats.Seen = l.bytes, time.Now()
	l.mu.Unlock()
	if passed := now.Sub(l.checked); l.index != 0 && (passed >= checkEvery || passed < 0) {
		l.checked = now
		l.check()
	}
}

// check finds out what libpcap does not tell of: an interface that is down, and
// one of another index that has taken the name.
func (l *Live) check() {
	i, err := net.InterfaceByName(l.cfg.Interface)
	switch {
	case err == nil && i.Index != l.index:
		l.close()
		l.away(errors.New("another interface has its name now"))
	case err == nil && i.Flags&net.FlagUp == 0:
		l.away(errNotUp)
	case err == nil:
		l.back()
	}
	// One without the name was renamed, and is captured on, or is gone, which
	// the next read tells.
}

// close takes a last sample of the handle, if there is one.
func (l *Live) close() {
	if l.handle == nil {
		return
	}
	l.index = 0 // not to be checked any more
	l.sample(time.Now())
	l.handle.close()
	l.handle = nil
}
