package capture

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
)

// file is a capture file: pcap or pcapng.
type file struct {
	in     *input
	win    window
	format format
	log    *slog.Logger
	mu     sync.Mutex
	stats  Stats
}

// format is the reader of a file format. It looks at bytes, never at the file.
type format interface {
	// next reads what stands at the front of b. A step of no use and no need
	// says that what stands there is not of the format, and why is in the error.
	next(b []byte, p *Packet) (step, error)

	// resync says how far the next thing that is surely of the format is from
	// the front of b, or that none is there. If atEnd, no more than b will come.
	resync(b []byte, atEnd bool) (skip int, found bool)
}

// step is what next did.
type step struct {
	used     int64 // bytes that are done with; may be more than were there
	need     int   // it takes that many bytes to go on
	isPacket bool
}

// errCut says that the input ends inside something.
var errCut = errors.New("cut short")

// newFile reads the header of a capture. It returns errFormat where there is none.
func newFile(in *input, r *bufio.Reader, cfg Config) (*file, error) {
	f := &file{in: in, win: newWindow(r), log: cfg.logger(), stats: Stats{Name: in.name, Size: in.size}}
	warn := func(msg string) { f.log.Warn(msg, "input", in.name) }
	var err error
	head, _ := r.Peek(28)
	switch {
	case isPcap(head):
		f.format, err = newPcap(head, cfg.Filter)
		f.win.skip(pcapHeaderLen)
	case isPcapng(head):
		f.format, err = newPcapng(cfg.Filter, warn)
	default:
		return nil, errFormat
	}
	if err != nil {
		return nil, err
	}
	return f, nil
}

const batchSize = 256

// Run implements Source.
func (f *file) Run(ctx context.Context, fn func([]Packet) error) error {
	defer f.in.close()
	batch := make([]Packet, batchSize)
	for n := 0; ; {
		batch[n] = Packet{}
		st, err := f.format.next(f.win.bytes(), &batch[n])
		if st.isPacket {
			n++
		}
		if here := len(f.win.bytes()); err == nil && st.need == 0 && st.used <= int64(here) {
			f.win.start += int(st.used)
			f.win.offset += st.used
			if n < batchSize {
				continue
			}
			st.used = 0
		}
		// What follows may move the bytes that the batch has borrowed.
		if n > 0 {
			if err := f.deliver(batch[:n], fn); err != nil {
				return err
			}
			n = 0
		}
		if ctx.Err() != nil {
			return nil
		}
		switch {
		case err != nil:
			f.recover(err)
		case st.need > 0 && !f.win.fill(st.need):
			return f.end(ctx)
		case st.used > 0:
			f.win.skip(st.used)
		}
	}
}

func (f *file) deliver(batch []Packet, fn func([]Packet) error) error {
	f.mu.Lock()
	f.stats.Bytes = f.in.bytes.Load()
	f.mu.Unlock()
	return fn(batch)
}

// recover passes over what is not of the format.
func (f *file) recover(cause error) {
	at, from := f.win.offset, f.win.offset
	f.win.skip(1)
	for {
		f.win.fill(windowSize)
		skip, found := f.format.resync(f.win.bytes(), f.win.err != nil)
		f.win.skip(int64(skip))
		if found || f.win.err != nil && !f.win.fill(1) {
			break
		}
		if f.win.offset == from {
			f.win.skip(1)
		}
		from = f.win.offset
	}
	f.damaged(at, cause, f.win.offset-at)
}

// end is reached when no more bytes come.
func (f *file) end(ctx context.Context) error {
	if ctx.Err() != nil {
		return nil
	}
	f.mu.Lock()
	f.stats.Bytes = f.in.bytes.Load()
	f.mu.Unlock()
	if left := int64(len(f.win.bytes())); left > 0 && (f.win.err == io.EOF || f.in.compressed) {
		f.damaged(f.win.offset, errCut, left)
	} else if f.in.compressed && f.win.err != io.EOF {
		f.damaged(f.win.offset, f.win.err, 0)
	}
	if f.win.err == io.EOF || f.in.compressed {
		return nil
	}
	return f.win.err
}

func (f *file) damaged(offset int64, cause error, skipped int64) {
	f.mu.Lock()
	f.stats.Damaged++
	f.mu.Unlock()
	f.log.Warn("damaged input", "input", f.in.name, "offset", offset, "cause", cause, "skipped_bytes", skipped)
}

// Stats implements Source.
func (f *file) Stats() Stats {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.stats
}

// layer is what is known of an interface in a file: how to find the packets in
// its frames, and which frames are wanted.
type layer struct {
	link   LinkType
	decode decoder
	filter *filter
}

// newLayer also finds errors of the filter.
func newLayer(t LinkType, filter string) (layer, error) {
	l := layer{link: t, decode: decoderFor(t)}
	if l.decode == nil {
		return l, fmt.Errorf("%v: carries no IP that is known here", t)
	}
	var err error
	l.filter, err = compileFilter(filter, t)
	return l, err
}

// take sets the packet from a frame of this length on the wire.
func (l *layer) take(p *Packet, frame []byte, wireLen uint32) {
	if l.decode == nil {
		p.Skip = OtherLink
		return
	}
	if l.filter != nil && !l.filter.match(frame, wireLen) {
		p.Skip = Filtered
		return
	}
	p.IP, p.Skip = l.decode(frame)
	p.Cut = uint32(len(frame)) != wireLen
}
