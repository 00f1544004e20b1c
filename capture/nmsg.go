package capture

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/netip"
	"time"

	"nmsgsensor/encode"
	"nmsgsensor/tuple"
)

// stream is NMSG from a file or a pipe.
type stream struct {
	in   *input
	r    *encode.Reader
	lost uint64 // fragments, as far as they have been told of
	nmsg
}

var errFragments = errors.New("fragments of a container that did not come whole")

func newStream(in *input, r *bufio.Reader, cfg Config) *stream {
	return &stream{in: in, r: encode.NewReader(r), nmsg: newNMSG(in.name, in.size, cfg)}
}

// Run implements Source. Reading a regular file goes ahead of working on it.
func (s *stream) Run(ctx context.Context, fn func([]Packet) error) error {
	defer s.in.close()
	defer s.publish(nil)
	if s.in.waits {
		return s.read(ctx, inStep(fn))
	}
	return runAhead(ctx, fn, func(ctx context.Context, r *relay) error {
		s.r.Lend(r.swap)
		s.decoder.Lend(r.swap)
		return s.read(ctx, r)
	})
}

// read reads the stream to its end, until ctx is done or nobody wants more.
func (s *stream) read(ctx context.Context, r *relay) error {
	defer r.flush()
	for ctx.Err() == nil && r.err == nil {
		container, err := s.r.Next()
		damage, isDamage := errors.AsType[*encode.DamageError](err)
		switch {
		case err != nil && ctx.Err() != nil: // what was on its way is not cut
			return nil
		case isDamage:
			s.damaged(r, damage.Offset, damage.Cause, damage.Skipped)
			continue
		case err == io.EOF || err != nil && s.in.isCorrupt(err):
			s.end(r, err)
			return nil
		case err != nil:
			return err
		}
		at := s.r.Offset() - int64(len(container))
		bad := s.decode(container, netip.AddrPort{}, time.Now(), r)
		switch {
		case bad != nil:
			s.damaged(r, at, bad, int64(len(container)))
		case s.decoder.LostFragments() > s.lost:
			s.damaged(r, at, errFragments, 0)
		}
		s.lost = s.decoder.LostFragments()
	}
	return r.err
}

// end tells why the stream ends, if not as it should, and of what will not come
// any more.
func (s *stream) end(r *relay, err error) {
	if err != io.EOF {
		s.damaged(r, s.r.Offset(), err, 0)
	}
	if s.decoder.GiveUp(); s.decoder.LostFragments() > s.lost {
		s.damaged(r, s.r.Offset(), errFragments, 0)
	}
}

// Stats implements Source.
func (s *stream) Stats() Stats {
	st := s.nmsg.Stats()
	st.Bytes = s.in.bytes.Load()
	return st
}

// nmsg is what streams and sockets have in common: containers in, packets out.
type nmsg struct {
	decoder encode.Decoder
	ledger
}

func newNMSG(name string, size int64, cfg Config) nmsg {
	if cfg.Filter != "" {
		cfg.logger().Warn("filter is for frames, and not applied to NMSG", "input", name)
	}
	return nmsg{ledger: ledger{log: cfg.logger(), stats: Stats{Name: name, Size: size}}}
}

// decode hands on the payloads of a container, whose bytes are borrowed until it
// returns, or longer where the relay runs ahead. It returns what is wrong with
// the container.
func (s *nmsg) decode(container []byte, from netip.AddrPort, now time.Time, r *relay) error {
	err := s.decoder.Decode(container, from, now, func(p *encode.Payload) error {
		readPayload(&r.room()[0], p, r.tuple())
		r.took(1)
		return r.err
	})
	if r.fn != nil {
		r.flush()
	}
	if err == nil || r.err != nil {
		s.publish(nil)
		return nil
	}
	s.publish(func(st *Stats) { st.BadContainers++ })
	return err
}

// readPayload reads the message of a payload into out, which gets t if it is a
// tuple. The checksum of a plain packet is left to check.
func readPayload(out *Packet, p *encode.Payload, t *tuple.Tuple) {
	// One by one: a whole Packet would first be put together elsewhere.
	out.Time, out.Labels = p.Time, p.Labels
	out.IP, out.Tuple, out.Skip, out.Message.Data = nil, nil, 0, nil
	var err error
	switch {
	case p.Vendor == encode.VendorBase && p.Type == encode.TypePacket:
		if out.IP, err = encode.ParsePacket(p.Data); err == nil && p.IsPlainPacket(out.IP) {
			out.Message = p.Message
			return
		}
	case p.Vendor == encode.VendorBase && p.Type == encode.TypeIPConn:
		*t, err = encode.ParseIPConn(p.Data)
		out.Tuple = t
	default:
		out.Skip = OtherPayload
	}
	if err != nil {
		out.skip(BadPayload)
	}
	if !p.Sound() {
		out.skip(BadCRC)
	}
}

// check holds messages against their checksums. No packet is handed on before.
func check(batch []Packet) {
	for i := range batch {
		if p := &batch[i]; p.Message.Data != nil && !p.Message.Sound() {
			p.skip(BadCRC)
		}
	}
}

// skip says that there is no packet here, but for one of the reasons of payloads.
func (p *Packet) skip(why Reason) {
	p.IP, p.Tuple, p.Message.Data, p.Skip = nil, nil, nil, why
}

// publish makes the counters visible, and what change makes of them.
func (s *nmsg) publish(change func(*Stats)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stats.Containers = s.decoder.Containers
	s.stats.LostContainers = s.decoder.Lost()
	s.stats.LostFragments = s.decoder.LostFragments()
	if change != nil {
		change(&s.stats)
	}
}
