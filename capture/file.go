package capture

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
)

// file is a capture file: pcap or pcapng.
type file struct {
	in     *input
	win    window
	format format
	ledger
}

// format is the reader of a file format. It looks at bytes, never at the file.
type format interface {
	// usual reads, from the front of b, packets that nothing is odd about and
	// that have more behind them. It leaves all others to next.
	usual(b []byte, batch []Packet) (n, used int)

	// next reads what stands at the front of b. With an error, a step of some
	// use says that what stands there is whole but of no use itself, and one of
	// none that it is not of the format. If atEnd, no more than b will come.
	next(b []byte, atEnd bool, p *Packet) (step, error)

	// resync says how far the next thing that is surely of the format is from
	// the front of b, or that none is there. What is less than a lookahead it
	// leaves for when more is there, if it is not atEnd.
	resync(b []byte, atEnd bool) (skip int, found bool)
}

// step is what next did.
type step struct {
	used     int64 // bytes that are done with; may be more than were there
	need     int   // it takes that many bytes to go on
	isPacket bool
}

// lookahead is how much is looked at to be sure behind damage. Twice as much is
// read, so that what moves in memory is no more than what is passed over.
const lookahead = windowSize / 4

// errCut says that the input ends inside something.
var errCut = errors.New("cut short")

// newFile reads the header of a capture. It returns ErrFormat where there is none.
func newFile(in *input, r *bufio.Reader, cfg Config) (*file, error) {
	f := &file{in: in, win: newWindow(r), ledger: ledger{log: cfg.logger(), stats: Stats{Name: in.name, Size: in.size}}}
	warn := func(msg string) { f.log.Warn(msg, "input", in.name) }
	var err error
	head, _ := r.Peek(28)
	switch {
	case isPcap(head):
		f.format, err = newPcap(head, cfg.Filter)
		f.win.skip(pcapHeaderLen)
	case isPcapng(head):
		head, _ = r.Peek(r.Buffered())
		f.format, err = newPcapng(head, cfg.Filter, warn)
	default:
		return nil, ErrFormat
	}
	if err != nil {
		return nil, err
	}
	return f, nil
}

// Run implements Source. Reading a regular file goes ahead of working on it.
func (f *file) Run(ctx context.Context, fn func([]Packet) error) error {
	defer f.in.close()
	if f.in.waits {
		return f.read(ctx, inStep(fn))
	}
	return runAhead(ctx, fn, f.read)
}

// read reads the file to its end, until ctx is done or nobody wants more.
func (f *file) read(ctx context.Context, r *relay) error {
	f.win.relay = r
	for r.err == nil {
		n, used := f.format.usual(f.win.bytes(), r.room())
		f.win.pass(used)
		r.took(n)
		atEnd := f.win.err != nil && ctx.Err() == nil // what is on its way at the stop is not cut
		st, err := f.format.next(f.win.bytes(), atEnd, &r.room()[0])
		if st.isPacket {
			r.took(1)
		}
		switch {
		case err != nil && st.used > 0:
			at := f.win.offset
			f.damaged(r, at, err, f.win.skip(st.used))
		case err != nil:
			f.recover(ctx, err)
		case st.used > 0:
			f.win.skip(st.used)
		case ctx.Err() != nil:
			r.flush()
			return r.err
		case st.need > 0 && !f.win.fill(st.need) && atEnd:
			if done, err := f.end(ctx); done {
				r.flush()
				return errors.Join(r.err, err)
			}
		}
	}
	return r.err
}

// recover passes over what is not of the format.
func (f *file) recover(ctx context.Context, cause error) {
	at := f.win.offset
	f.win.skip(1)
	for ctx.Err() == nil {
		f.win.fill(2 * lookahead)
		skip, found := f.format.resync(f.win.bytes(), f.win.err != nil)
		f.win.skip(int64(skip))
		if found || len(f.win.bytes()) == 0 {
			break
		}
	}
	f.damaged(f.win.relay, at, cause, f.win.offset-at)
}

// end is reached when no more bytes come, and says whether there is nothing
// left to read. What lies behind a record that claims to be longer than the
// file is still read.
func (f *file) end(ctx context.Context) (done bool, err error) {
	if ctx.Err() != nil {
		return true, nil
	}
	cause := errCut
	if f.win.err != io.EOF {
		if !f.in.isCorrupt(f.win.err) {
			return true, f.win.err
		}
		cause = f.win.err
	}
	if len(f.win.bytes()) > 0 {
		f.recover(ctx, cause)
		f.win.err = io.EOF // is told now
		return false, nil
	}
	if cause != errCut {
		f.damaged(f.win.relay, f.win.offset, cause, 0)
	}
	return true, nil
}

// Stats implements Source.
func (f *file) Stats() Stats {
	s := f.ledger.Stats()
	s.Bytes = f.in.bytes.Load()
	return s
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

// take sets the packet, but for its time, from a frame of this length on the wire.
func (l *layer) take(p *Packet, frame []byte, wireLen uint32) {
	p.IP, p.Cut = nil, false
	switch {
	case l.decode == nil:
		p.Skip = OtherLink
	case l.filter != nil && !l.filter.match(frame, wireLen):
		p.Skip = Filtered
	default:
		p.IP, p.Skip = l.decode(frame)
		p.Cut = uint32(len(frame)) != wireLen
	}
}
