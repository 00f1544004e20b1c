package main

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"nmsgsensor/capture"
	"nmsgsensor/output"
)

// sensor is everything at work: sources, the stage and sinks, and what watches
// them.
type sensor struct {
	opt    *options
	stderr io.Writer
	stage  stage
	feeds  []*feed
	drains []*drain
	own    *ownTraffic     // nil where it is captured like any other
	failed atomic.Bool     // an input that could not be opened or read, which has been told
	hurry  <-chan struct{} // closed when somebody waits for the end: not when the count is reached

	monitor monitor
	face    *face   // nil but for top
	server  *server // nil without --metrics
	kicker  *kicker // nil without a command
}

// feed is a source at work.
type feed struct {
	kind   inputKind
	source capture.Source
	waits  bool // for packets: it is no regular file
	tally  tally
}

// drain is a sink that counts.
type drain struct {
	statSink
	message string // what it is made of, for the counters
}

type statSink interface {
	output.Sink
	Stats() []output.Stats
}

// rotationLag is how long a file may stay behind its interval.
const rotationLag = 500 * time.Millisecond

// sense reads all inputs until they end, the context is done, the count or the
// time is reached or a sink can't go on. Counters go to stderr.
func sense(ctx context.Context, opt *options, stderr io.Writer) error {
	return (&sensor{opt: opt, stderr: stderr}).sense(ctx)
}

func (s *sensor) sense(ctx context.Context) error {
	opt, outer := s.opt, ctx
	ctx, release := opt.bound(ctx)
	defer release()
	s.hurry = ctx.Done()
	// Inputs keep the context with which they are opened, so it has to be this one.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	end := func() {} // waits for what is shown
	err := s.open(ctx)
	switch {
	case err == nil:
		s.monitor.keep(s.report()) // what is shown has rates since then
		if s.face != nil {
			end = s.face.show(outer, release)
		}
		s.work(ctx, cancel)
		err = s.stage.failed // of the flush too
	case errors.Is(err, ctx.Err()):
		err = nil // it was stopped while it waited for an input's first bytes
	default:
		return s.close(err)
	}
	err = s.close(err)
	if s.kicker != nil {
		defer s.kicker.wait(kickerTime)
	}
	end()
	last := s.report()
	s.tell(last)
	if err == nil && (s.failed.Load() || slices.ContainsFunc(last.inputs, func(in inputReport) bool { return in.Damaged > 0 })) {
		err = errReported
	}
	return err
}

// close ends the sinks, and returns err or, where that is nil, the first of their
// errors. The others are told here.
func (s *sensor) close(err error) error {
	for _, closing := range s.stage.close() {
		switch {
		case err == nil:
			err = closing
		case closing.Error() != err.Error(): // which a sink may give twice
			s.opt.log.Error("output failed", "cause", remedied(closing))
		}
	}
	return err
}

// bound is a context that ends with the interval, where that is the time to run.
func (o *options) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	if o.interval > 0 && o.rotation == nil {
		return context.WithDeadline(ctx, output.NextInterval(time.Now(), o.interval, o.offset))
	}
	return context.WithCancel(ctx)
}

// work reads and answers.
func (s *sensor) work(ctx context.Context, cancel func()) {
	if s.server != nil {
		defer s.server.serve()()
	}
	if s.opt.rotation == nil {
		s.stage.left = s.opt.count // else the count is that of each file
	}
	s.run(ctx, cancel)
}

// report gathers all counters.
func (s *sensor) report() *report {
	r := &report{when: time.Now()}
	inputs, outputs := labels{}, labels{}
	for _, f := range s.feeds {
		st := f.source.Stats()
		r.inputs = append(r.inputs, inputReport{inputs.of(st.Name), f.kind, s.stage.snapshot(&f.tally), st})
	}
	for _, d := range s.drains {
		_, isUDP := d.statSink.(*output.UDP)
		for _, st := range d.Stats() {
			r.outputs = append(r.outputs, outputReport{outputs.of(st.Name), d.message, isUDP, st})
		}
	}
	return r
}

// tell prints a report.
func (s *sensor) tell(r *report) {
	if s.opt.logFormat == "json" {
		s.opt.log.Info("counters", r.attributes()...)
		return
	}
	s.stderr.Write(r.line())
}

// run runs regular files one after the other, so that the same command gives the
// same output, and everything else at the same time.
func (s *sensor) run(ctx context.Context, cancel func()) {
	var running sync.WaitGroup
	var files []*feed
	for _, f := range s.feeds {
		if f.waits {
			running.Go(func() { s.read(ctx, cancel, f) })
		} else {
			files = append(files, f)
		}
	}
	running.Go(func() {
		for _, f := range files {
			if ctx.Err() == nil {
				s.read(ctx, cancel, f)
			}
		}
	})
	stop := make(chan struct{}) // closed when the sources are done; nothing is sent
	var beside sync.WaitGroup
	beside.Go(func() { s.tick(stop, cancel) })
	signals := make(chan os.Signal, 2) // more that come meanwhile ask for the same
	signal.Notify(signals, syscall.SIGHUP, syscall.SIGUSR1)
	defer signal.Stop(signals)
	beside.Go(func() { s.heed(signals, stop, cancel) })
	beside.Go(func() { s.watch(stop) })
	if s.opt.progress != nil {
		beside.Go(func() { s.opt.progress.show(stop, s.report) })
	}
	running.Wait()
	close(stop)
	beside.Wait()
}

// read reads one input to its end, or until nothing can go on.
func (s *sensor) read(ctx context.Context, cancel func(), f *feed) {
	err := f.source.Run(ctx, s.stage.intake(&f.tally, s.own))
	var sink sinkError
	switch {
	case err == nil || errors.Is(err, ctx.Err()):
	case errors.Is(err, errDone), errors.As(err, &sink):
		cancel()
	default:
		s.opt.log.Error("input failed", "input", f.source.Stats().Name, "cause", err)
		s.failed.Store(true)
	}
}

// tick flushes the sinks each time the longest wait is over: all of them where
// an input waits for packets or files end at a time, the collectors alone where
// all inputs are files, so that the same files give the same bytes.
func (s *sensor) tick(stop <-chan struct{}, cancel func()) {
	sinks := s.stage.sinks
	waits := slices.ContainsFunc(s.feeds, func(f *feed) bool { return f.waits })
	if !waits && (s.opt.rotation == nil || s.opt.rotation.Every == 0) {
		sinks = nil
		for _, d := range s.drains {
			if _, ok := d.statSink.(*output.UDP); ok {
				sinks = append(sinks, d.statSink)
			}
		}
	}
	every := s.opt.flush
	if s.opt.rotation != nil && s.opt.rotation.Every > 0 {
		every = min(every, rotationLag)
	}
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-stop:
			return
		case <-ticker.C:
			s.stage.flush(sinks)
			if s.stage.broken() {
				cancel()
			}
		}
	}
}

// heed does what signals ask for: SIGHUP begins other files, or ends the run
// where files are not rotated; SIGUSR1 tells the counters.
func (s *sensor) heed(signals <-chan os.Signal, stop <-chan struct{}, cancel func()) {
	for {
		select {
		case <-stop:
			return
		case sig := <-signals:
			switch {
			case sig == syscall.SIGUSR1:
				s.tell(s.report())
			case s.opt.rotation != nil:
				s.stage.rotate()
			default:
				cancel()
			}
		}
	}
}
