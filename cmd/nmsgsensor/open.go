package main

import (
	"context"
	"errors"
	"os"
	"runtime/debug"

	"nmsgsensor/capture"
	"nmsgsensor/output"
)

// open opens inputs, outputs and the metrics' socket, and gives up what is not
// needed any more.
func (s *sensor) open(ctx context.Context) error {
	if !s.opt.captureOwn {
		s.own = new(ownTraffic)
	}
	if s.opt.unique != nil {
		s.stage.unique = newUnique(*s.opt.unique)
	}
	// Outputs first: then an interface is opened with the filter that excludes
	// them. libpcap lets nothing through for a moment when a filter changes.
	if err := s.openDrains(); err != nil {
		return err
	}
	if s.opt.metrics != "" {
		var err error
		if s.server, err = listenHTTP(s.opt.metrics, s); err != nil {
			return err
		}
	}
	// What sockets and a change of user need is more than the work needs. Files need
	// no more, and their first bytes are parsed when they are opened.
	if s.opt.user == nil && s.opt.filesAlone() {
		if err := s.withdraw(); err != nil {
			return err
		}
		return s.openFeeds(ctx)
	}
	if err := s.openFeeds(ctx); err != nil {
		return err
	}
	if s.opt.user != nil {
		if err := s.opt.user.become(s.opt.keepRaw); err != nil {
			return err
		}
		if err := s.mayWrite(); err != nil {
			return err
		}
	}
	return s.withdraw()
}

// withdraw leaves this process what the work needs, and no more. The process for
// commands is as it was before.
func (s *sensor) withdraw() error {
	s.boundMemory()
	if c := s.opt.kicker; c != nil && *c != "" {
		var err error
		if s.kicker, err = startKicker(*c, s.opt.logFormat, s.opt.log); err != nil {
			return err
		}
		s.opt.rotation.Done = s.kicker.done
	}
	if s.opt.seccomp {
		if err := s.opt.confine(); err != nil {
			s.opt.log.Warn("system calls are not restricted", "cause", err)
		}
	}
	return nil
}

// openFeeds opens the inputs. A file that can't be opened is told of, and the
// others go on; an interface that can't, or a bad filter, ends it all, as a
// sensor must not start half.
func (s *sensor) openFeeds(ctx context.Context) error {
	for _, in := range s.opt.inputs {
		src, err := s.openInput(ctx, in)
		switch {
		case err != nil && ctx.Err() != nil:
			return ctx.Err()
		case err != nil && (len(s.opt.inputs) == 1 || !in.kind.isFile() || errors.Is(err, capture.ErrFilter)):
			return err
		case err != nil:
			s.opt.log.Error("input failed", "input", in.name, "cause", remedied(err))
			s.failed.Store(true)
		default:
			s.feeds = append(s.feeds, &feed{kind: in.kind, source: src, waits: in.waits()})
		}
	}
	return nil
}

func (s *sensor) openInput(ctx context.Context, in input) (capture.Source, error) {
	cfg := capture.Config{Filter: s.opt.filter, Log: s.opt.log}
	switch in.kind {
	case liveInput:
		return s.openLive(capture.LiveConfig{Interface: in.name, Snaplen: in.snaplen, Buffer: s.opt.ring(), Engine: s.opt.engine,
			Promiscuous: in.promiscuous, HeadersOnly: !s.opt.wantsPackets(), Config: cfg})
	case listenInput:
		return capture.Listen(in.name, in.port, cfg)
	case nmsgInput:
		return capture.Open(ctx, in.name, capture.NMSGFormat, cfg)
	case captureInput:
		return capture.Open(ctx, in.name, capture.CaptureFormat, cfg)
	}
	return capture.Open(ctx, in.name, capture.AnyFormat, cfg)
}

func (s *sensor) openLive(cfg capture.LiveConfig) (capture.Source, error) {
	if s.own == nil {
		return capture.OpenLive(cfg)
	}
	cfg.Exclude = s.own.filter()
	live, err := capture.OpenLive(cfg)
	if err != nil {
		return nil, err
	}
	s.own.keepOut(live.Exclude, cfg.Exclude)
	return live, nil
}

// openDrains makes the outputs. Files are created when their first payload comes.
func (s *sensor) openDrains() error {
	opt := s.opt
	if err := opt.checkFiles(); err != nil {
		return err
	}
	ipconn := output.Payloads{Kind: output.IPConn, Labels: opt.labels, Now: opt.stampNow, Zlib: opt.zlib, Single: opt.single}
	packet := output.Payloads{Kind: output.Packet, Labels: opt.labels, Zlib: opt.zlib, Single: opt.single}
	files := output.FileConfig{Rotation: opt.rotation, Endure: opt.waits(), Log: opt.log}
	immediate := isTerminal(os.Stdout)
	if name := opt.textName(); name != "" {
		s.drain("text", output.NewText(name, output.Payloads{}, name == "-" && immediate || opt.single, files))
	}
	if opt.json != "" {
		s.drain("json", output.NewJSON(opt.json, ipconn, opt.json == "-" && immediate || opt.single, files))
	}
	if opt.write != "" {
		s.drain("packet", output.NewFile(opt.write, packet, files))
	}
	if opt.writeIP != "" {
		s.drain("ipconn", output.NewFile(opt.writeIP, ipconn, files))
	}
	cfg := output.UDPConfig{MTU: opt.mtu, Mirror: opt.mirror, Log: opt.log}
	if !opt.waits() {
		cfg.Hurry = s.hurry // files wait for a rate
	}
	if s.own != nil {
		cfg.Opened = s.own.opened
	}
	for _, to := range []struct {
		specs    []output.Sockspec
		message  string
		payloads output.Payloads
	}{{opt.sockets, "ipconn", ipconn}, {opt.packets, "packet", packet}} {
		if len(to.specs) == 0 {
			continue
		}
		cfg.Payloads = to.payloads
		udp, err := output.DialUDP(to.specs, cfg)
		if err != nil {
			return err
		}
		s.drain(to.message, udp)
	}
	return nil
}

func (s *sensor) drain(message string, sink statSink) {
	s.drains = append(s.drains, &drain{sink, message})
	s.stage.sinks = append(s.stage.sinks, sink)
}

// boundMemory has the Go runtime collect garbage before it has more than what
// is worked with: nothing of it grows with the traffic. The kernel's rings come
// on top of it. GOMEMLIMIT (package runtime) is heeded where it is set.
func (s *sensor) boundMemory() {
	const (
		program = 24 << 20 // runtime, metrics, fragments held
		perFeed = 8 << 20  // blocks that are read, what they inflate to
		perSink = 4 << 20  // containers being filled, sealed and sent
	)
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(int64(program + len(s.opt.inputs)*perFeed + len(s.drains)*perSink + s.stage.unique.size()))
	}
}
