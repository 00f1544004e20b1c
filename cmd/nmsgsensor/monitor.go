package main

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

const (
	// sampleEvery is the distance of the points of the page's lines, and
	// samples how many are kept: ten minutes.
	sampleEvery = 5 * time.Second
	samples     = 121
	// lossEvery is how often loss is looked for, without --stats.
	lossEvery = 10 * time.Second
	// stallAfter is how long a live source may not come round: it does each
	// 100 ms, but where a sink holds it up.
	stallAfter = 10 * time.Second
)

// monitor keeps what was reported before.
type monitor struct {
	mu      sync.Mutex
	history []*report // the latest last; at most samples
}

// watch tells counters and loss at their times, keeps the history, and feeds
// the watchdog of systemd while the data path is alive.
func (s *sensor) watch(stop <-chan struct{}) {
	daemon.SdNotify(false, daemon.SdNotifyReady)
	defer daemon.SdNotify(false, daemon.SdNotifyStopping)
	stats := optionalTicker(s.opt.stats)
	defer stats.Stop()
	every := lossEvery
	if s.opt.stats > 0 {
		every = s.opt.stats
	}
	loss := time.NewTicker(every)
	defer loss.Stop()
	sample := time.NewTicker(sampleEvery)
	defer sample.Stop()
	limit, _ := daemon.SdWatchdogEnabled(false)
	watchdog := optionalTicker(limit / 2)
	defer watchdog.Stop()
	before := s.monitor.since()[0]
	for {
		select {
		case <-stop:
			if !s.stage.broken() { // which tells itself
				s.warn(before, s.report())
			}
			return
		case <-stats.C:
			s.tell(s.report())
		case <-loss.C:
			now := s.report()
			s.warn(before, now)
			before = now
		case <-sample.C:
			s.monitor.keep(s.report())
		case <-watchdog.C:
			if len(stalled(s.report())) == 0 {
				daemon.SdNotify(false, daemon.SdNotifyWatchdog)
			}
		}
	}
}

// optionalTicker never ticks where there is no time.
func optionalTicker(every time.Duration) *time.Ticker {
	if every > 0 {
		return time.NewTicker(every)
	}
	t := time.NewTicker(time.Hour)
	t.Stop()
	return t
}

func (m *monitor) keep(r *report) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.history = append(m.history, r)
	m.history = m.history[max(len(m.history)-samples, 0):]
}

// since returns the history, the latest last.
func (m *monitor) since() []*report {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.history)
}

// loss is what one stage lost in an interval.
type loss struct {
	where  string // the input or output
	what   string
	lost   uint64
	of     uint64 // lost and not lost
	remedy string
}

func (s *sensor) warn(before, now *report) {
	for _, l := range losses(before, now, s.opt.lossShare/100) {
		s.opt.log.Warn(l.what, "where", l.where, "lost", l.lost, "share", fmt.Sprintf("%.2f%%", 100*float64(l.lost)/float64(l.of)),
			"interval", now.when.Sub(before.when).Round(time.Second), "remedy", l.remedy)
	}
}

// losses are those between two reports that are more than a share of 1.
func losses(before, now *report, share float64) (all []loss) {
	add := func(where, what string, lost, kept uint64, remedy string) {
		if lost > 0 && float64(lost) > share*float64(lost+kept) {
			all = append(all, loss{where, what, lost, lost + kept, remedy})
		}
	}
	for i, in := range now.inputs {
		was := before.inputs[i]
		read := in.read - was.read
		switch in.kind {
		case liveInput:
			add(in.label, "packets lost in the kernel's ring", in.KernelDropped-was.KernelDropped, read,
				"a larger ring (--buffer-size), a shorter snaplen (-i IF,SNAPLEN), a filter (-b), fewer outputs")
			add(in.label, "packets lost by the interface", in.InterfaceDropped-was.InterfaceDropped, read,
				"more descriptors (ethtool -G), a CPU of its own for its interrupts")
		case listenInput:
			add(in.label, "datagrams lost in the socket's buffer", in.KernelDropped-was.KernelDropped, in.Containers-was.Containers,
				"a larger limit (sysctl net.core.rmem_max), fewer outputs")
		}
		add(in.label, "containers lost before they came here", in.LostContainers-was.LostContainers, in.Containers-was.Containers,
			"look at the senders' counters, and at the network between")
	}
	for i, out := range now.outputs {
		was := before.outputs[i]
		add(out.label, "payloads could not leave", out.Dropped-was.Dropped, out.Payloads-was.Payloads,
			"look at the reasons in the counters: a higher rate, a collector that runs, --flush, room")
	}
	return all
}

// problems says why the sensor is not healthy: an interface that is away, a
// source that does not come round, a file that takes nothing, no destination
// that does.
func problems(r *report) (all []string) {
	for _, in := range r.inputs {
		if in.Down {
			all = append(all, "interface "+in.label+" is away")
		}
	}
	for _, name := range stalled(r) {
		all = append(all, "input "+name+" has stalled")
	}
	destinations, down := 0, 0
	for _, out := range r.outputs {
		switch {
		case out.destination && out.Down:
			destinations, down = destinations+1, down+1
		case out.destination:
			destinations++
		case out.Down:
			all = append(all, "file "+out.label+" takes no payloads")
		}
	}
	if destinations > 0 && down == destinations {
		all = append(all, "no destination takes datagrams")
	}
	return all
}

// stalled are the sources that have not come round for too long.
func stalled(r *report) (names []string) {
	for _, in := range r.inputs {
		if !in.Seen.IsZero() && r.when.Sub(in.Seen) > stallAfter {
			names = append(names, in.label)
		}
	}
	return names
}
