package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"sync"
	"syscall"
	"time"

	"nmsgsensor/capture"
	"nmsgsensor/encode"
	"nmsgsensor/output"
)

// feed is a source at work.
type feed struct {
	source capture.Source
	waits  bool // for packets: it is no regular file
	tally  tally
}

// statSink is a sink that counts.
type statSink interface {
	output.Sink
	Stats() []output.Stats
}

// sense reads all inputs until they end, the context is done, the count is
// reached or a sink can't go on.
func sense(ctx context.Context, opt *options, stderr io.Writer) error {
	feeds, unopened, err := openFeeds(ctx, opt)
	if err != nil {
		return err
	}
	var hurry <-chan struct{}
	if !slices.ContainsFunc(feeds, func(f *feed) bool { return f.waits }) {
		hurry = ctx.Done() // files wait for a rate
	}
	sinks, err := openSinks(opt, hurry)
	if err != nil {
		return err
	}
	s := &stage{left: opt.count}
	if opt.rotation != nil {
		s.left = 0 // the count is that of each file
		defer opt.rotation.Wait(kickerTime)
	} else if opt.interval > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, output.NextInterval(time.Now(), opt.interval, opt.offset))
		defer cancel()
	}
	for _, sink := range sinks {
		s.sinks = append(s.sinks, sink)
	}
	failed := runFeeds(ctx, opt, s, feeds) || unopened
	err = s.failed // of the flush too
	if closing := s.close(); err == nil {
		err = closing
	}
	printCounters(stderr, s, feeds, sinks)
	damaged := false
	for _, f := range feeds {
		damaged = damaged || f.source.Stats().Damaged > 0
	}
	switch {
	case err != nil:
		return err
	case failed || damaged:
		return errReported
	}
	return nil
}

// kickerTime is how long the end waits for kicker commands.
const kickerTime = 10 * time.Second

// openFeeds opens the inputs. A file that can't be opened is told of, and the
// others go on; an interface that can't, or a bad filter, ends it all, as a
// sensor must not start half.
func openFeeds(ctx context.Context, opt *options) (feeds []*feed, failed bool, err error) {
	for _, in := range opt.inputs {
		src, err := openInput(ctx, opt, in)
		switch {
		case err != nil && (len(opt.inputs) == 1 || !in.kind.isFile() || errors.Is(err, capture.ErrFilter)):
			return nil, true, err
		case err != nil:
			opt.log.Error("input failed", "input", in.name, "cause", err)
			failed = true
		default:
			feeds = append(feeds, &feed{source: src, waits: !in.kind.isFile() || !capture.IsRegular(in.name)})
		}
	}
	return feeds, failed, nil
}

func openInput(ctx context.Context, opt *options, in input) (capture.Source, error) {
	cfg := capture.Config{Filter: opt.filter, Log: opt.log}
	switch in.kind {
	case liveInput:
		return capture.OpenLive(capture.LiveConfig{Interface: in.name, Snaplen: in.snaplen,
			Promiscuous: in.promiscuous, HeadersOnly: !opt.wantsPackets(), Config: cfg})
	case listenInput:
		return capture.Listen(in.name, in.port, cfg)
	case nmsgInput:
		return capture.Open(ctx, in.name, capture.NMSGFormat, cfg)
	case captureInput:
		return capture.Open(ctx, in.name, capture.CaptureFormat, cfg)
	}
	return capture.Open(ctx, in.name, capture.AnyFormat, cfg)
}

func openSinks(opt *options, hurry <-chan struct{}) (sinks []statSink, err error) {
	ipconn := output.Payloads{Kind: output.IPConn, Labels: opt.labels, Now: opt.stampNow, Zlib: opt.zlib, Single: opt.single}
	packet := output.Payloads{Kind: output.Packet, Labels: opt.labels, Zlib: opt.zlib, Single: opt.single}
	text := opt.text
	if text == "" && !opt.quiet && opt.write != "-" && opt.writeIP != "-" && opt.json != "-" {
		text = "-"
	}
	immediate := isTerminal(os.Stdout)
	if text != "" {
		sinks = append(sinks, output.NewText(text, encode.Labels{}, text == "-" && immediate || opt.single, opt.rotation))
	}
	if opt.json != "" {
		sinks = append(sinks, output.NewJSON(opt.json, opt.labels, opt.json == "-" && immediate || opt.single, opt.rotation))
	}
	if opt.write != "" {
		sinks = append(sinks, output.NewFile(opt.write, packet, opt.rotation))
	}
	if opt.writeIP != "" {
		sinks = append(sinks, output.NewFile(opt.writeIP, ipconn, opt.rotation))
	}
	for _, to := range []struct {
		specs    []output.Sockspec
		payloads output.Payloads
	}{{opt.sockets, ipconn}, {opt.packets, packet}} {
		if len(to.specs) == 0 {
			continue
		}
		udp, err := output.DialUDP(to.specs, output.UDPConfig{Payloads: to.payloads, MTU: opt.mtu, Mirror: opt.mirror, Log: opt.log, Hurry: hurry})
		if err != nil {
			return nil, err
		}
		sinks = append(sinks, udp)
	}
	return sinks, nil
}

// runFeeds runs regular files one after the other, so that the same command
// gives the same output, and everything else at the same time. It says whether
// one of them failed, which has then been told.
func runFeeds(ctx context.Context, opt *options, s *stage, feeds []*feed) (failed bool) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var running sync.WaitGroup
	var mu sync.Mutex
	run := func(f *feed) {
		err := f.source.Run(ctx, s.intake(&f.tally))
		var sink sinkError
		switch {
		case err == nil || ctx.Err() != nil && errors.Is(err, context.Canceled):
		case errors.Is(err, errDone), errors.As(err, &sink):
			cancel()
		default:
			opt.log.Error("input failed", "input", f.source.Stats().Name, "cause", err)
			mu.Lock()
			failed = true
			mu.Unlock()
		}
	}
	var files []*feed
	waits := false
	for _, f := range feeds {
		if !f.waits {
			files = append(files, f)
			continue
		}
		waits = true
		running.Go(func() { run(f) })
	}
	running.Go(func() {
		for _, f := range files {
			if ctx.Err() == nil {
				run(f)
			}
		}
	})
	stop := make(chan struct{}) // closed when the sources are done; nothing is sent
	var ticking sync.WaitGroup
	ticking.Go(func() { s.tick(opt.flush, waits || opt.rotation != nil && opt.rotation.Every > 0, stop, cancel) })
	if opt.rotation != nil {
		ticking.Go(func() { s.rotateOnHangup(stop) })
	}
	running.Wait()
	close(stop)
	ticking.Wait()
	return failed
}

// tick flushes the sinks each time the longest wait is over: all of them where
// an input waits for packets, the collectors alone where all inputs are files,
// so that the same files give the same bytes.
func (s *stage) tick(every time.Duration, all bool, stop <-chan struct{}, cancel func()) {
	sinks := s.sinks
	if !all {
		sinks = nil
		for _, sink := range s.sinks {
			if _, ok := sink.(*output.UDP); ok {
				sinks = append(sinks, sink)
			}
		}
	}
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-stop:
			return
		case <-ticker.C:
			s.flush(sinks)
			if s.broken() {
				cancel()
			}
		}
	}
}

// rotateOnHangup begins other files at each SIGHUP.
func (s *stage) rotateOnHangup(stop <-chan struct{}) {
	hangups := make(chan os.Signal, 1) // one is kept: more that come meanwhile ask for the same
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	for {
		select {
		case <-stop:
			return
		case <-hangups:
			s.rotate()
		}
	}
}

func (s *stage) broken() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failed != nil
}

// printCounters prints the last line: what came in, what became of it, and what
// went where.
func printCounters(w io.Writer, s *stage, feeds []*feed, sinks []statSink) {
	b := []byte("nmsgsensor:")
	add := func(prefix, key string, n uint64) { b = fmt.Appendf(b, " %s%s=%d", prefix, key, n) }
	var sum tally
	for _, f := range feeds {
		sum.add(s.snapshot(&f.tally))
	}
	sum.each(func(key string, n uint64) { add("", key, n) })
	for _, f := range feeds {
		sourceCounters(f, add)
	}
	for _, sink := range sinks {
		for _, st := range sink.Stats() {
			sinkCounters(st, add)
		}
	}
	w.Write(append(b, '\n'))
}
