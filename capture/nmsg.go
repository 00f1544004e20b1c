package capture

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"nmsgsensor/encode"
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

// Run implements Source.
func (s *stream) Run(ctx context.Context, fn func([]Packet) error) error {
	defer s.in.close()
	defer func() { s.publish(s.in.bytes.Load(), nil) }()
	for ctx.Err() == nil {
		container, err := s.r.Next()
		var damage *encode.DamageError
		switch {
		case errors.As(err, &damage):
			s.damaged(damage.Offset, damage.Cause, damage.Skipped)
			continue
		case ctx.Err() != nil:
			return nil
		case err == io.EOF || err != nil && s.in.compressed:
			s.end(err)
			return nil
		case err != nil:
			return err
		}
		at := s.r.Offset() - int64(len(container))
		bad, err := s.decode(container, netip.AddrPort{}, time.Now(), fn)
		switch {
		case bad != nil:
			s.damaged(at, bad, int64(len(container)))
		case s.decoder.LostFragments() > s.lost:
			s.damaged(at, errFragments, 0)
		}
		s.lost = s.decoder.LostFragments()
		if err != nil {
			return err
		}
	}
	return nil
}

// end tells why the stream ends, if not as it should, and of what will not come
// any more.
func (s *stream) end(err error) {
	if err != io.EOF {
		s.damaged(s.r.Offset(), err, 0)
	}
	if s.decoder.GiveUp(); s.decoder.LostFragments() > s.lost {
		s.damaged(s.r.Offset(), errFragments, 0)
	}
}

func (s *stream) damaged(offset int64, cause error, skipped int64) {
	s.publish(s.in.bytes.Load(), func(st *Stats) { st.Damaged++ })
	s.log.Warn("damaged input", "input", s.in.name, "offset", offset, "cause", cause, "skipped_bytes", skipped)
}

// nmsg is what streams and sockets have in common: containers in, batches of
// packets out.
type nmsg struct {
	log     *slog.Logger
	decoder encode.Decoder
	batch   []Packet
	mu      sync.Mutex
	stats   Stats
}

func newNMSG(name string, size int64, cfg Config) nmsg {
	return nmsg{log: cfg.logger(), batch: make([]Packet, 0, batchSize), stats: Stats{Name: name, Size: size}}
}

// decode hands on the payloads of a container, whose bytes are borrowed until
// it returns. It tells what is wrong with the container in bad; err is fn's.
func (s *nmsg) decode(container []byte, from netip.AddrPort, now time.Time, fn func([]Packet) error) (bad, err error) {
	bad = s.decoder.Decode(container, from, now, func(p *encode.Payload, crcOK bool) error {
		s.batch = append(s.batch, packetOf(p, crcOK))
		if len(s.batch) == cap(s.batch) {
			err = s.flush(fn)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if bad != nil {
		s.publish(0, func(st *Stats) { st.BadContainers++ })
	}
	return bad, s.flush(fn)
}

func (s *nmsg) flush(fn func([]Packet) error) error {
	s.publish(0, nil)
	if len(s.batch) == 0 {
		return nil
	}
	batch := s.batch
	s.batch = s.batch[:0]
	return fn(batch)
}

// packetOf reads the message of a payload.
func packetOf(p *encode.Payload, crcOK bool) Packet {
	out := Packet{Time: p.Time, Labels: p.Labels}
	var err error
	switch {
	case !crcOK:
		out.Skip = BadCRC
	case p.Vendor == encode.VendorBase && p.Type == encode.TypePacket:
		out.IP, err = encode.ParsePacket(p.Data)
	case p.Vendor == encode.VendorBase && p.Type == encode.TypeIPConn:
		out.Tuple, err = encode.ParseIPConn(p.Data)
		out.IsTuple = err == nil
	default:
		out.Skip = OtherPayload
	}
	if err != nil {
		out.Skip = BadPayload
	}
	return out
}

// publish makes the counters visible. A bytes of 0 leaves that one as it is.
func (s *nmsg) publish(bytes uint64, change func(*Stats)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if bytes > 0 {
		s.stats.Bytes = bytes
	}
	s.stats.Containers = s.decoder.Containers
	s.stats.LostContainers = s.decoder.Lost()
	s.stats.LostFragments = s.decoder.LostFragments()
	if change != nil {
		change(&s.stats)
	}
}

// Stats implements Source.
func (s *nmsg) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stats
}
