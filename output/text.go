package output

import (
	"errors"
	"net/netip"
	"strconv"
	"time"

	"nmsgsensor/encode"
	"nmsgsensor/tuple"
)

// Lines writes each record that has a tuple as text.
type Lines struct {
	w         *writer
	append    func(*Lines, []byte, *Record) []byte
	payloads  Payloads
	immediate bool
	buf       []byte
	n         uint64 // records in buf
	clock     clock
}

// linesBuffer is how much text waits for its flush.
const linesBuffer = 64 << 10

// NewText returns a sink of text, two lines a record, as pynmsgpacket prints
// it. The name "-" is standard output; other files are created when the first
// record comes. Of payloads, labels and time count. With immediate, text does
// not wait once a source has no more at hand. With a Rotation, the name is the
// beginning of the files' names.
func NewText(name string, payloads Payloads, immediate bool, cfg FileConfig) *Lines {
	return &Lines{w: newWriter(name, cfg, ""), payloads: payloads, immediate: immediate, append: (*Lines).appendText}
}

// NewJSON returns a sink of JSON, one object a line: what nmsgtool -J prints
// for the base:ipconn of the record.
func NewJSON(name string, payloads Payloads, immediate bool, cfg FileConfig) *Lines {
	return &Lines{w: newWriter(name, cfg, ".json"), payloads: payloads, immediate: immediate, append: (*Lines).appendJSON}
}

// Write implements Sink.
func (l *Lines) Write(r *Record) error {
	if !r.HasTuple {
		return nil
	}
	l.buf = l.append(l, l.buf, r)
	l.n++
	if len(l.buf) >= linesBuffer || l.w.rotating.full(l.n) {
		return l.Flush()
	}
	return nil
}

// Push implements Pusher.
func (l *Lines) Push() error {
	if !l.immediate {
		return nil
	}
	return l.Flush()
}

// Flush implements Sink.
func (l *Lines) Flush() error {
	err := l.w.write(l.buf, l.n)
	l.buf, l.n = l.buf[:0], 0
	if err != nil {
		return err
	}
	return l.w.rotateIfDue()
}

// Rotate implements Rotator.
func (l *Lines) Rotate() error { return errors.Join(l.Flush(), l.w.rotate()) }

// Close implements Sink.
func (l *Lines) Close() error {
	l.w.last()
	return errors.Join(l.Flush(), l.w.close())
}

// Stats returns the counters.
func (l *Lines) Stats() []Stats { return []Stats{l.w.stats()} }

// appendText appends, with a space at the end of the first line,
//
//	[2015-02-22 06:58:27.573210000] [1:12 base packet] [] [] []
//	10.0.1.52.17500 --> 255.255.255.255.17500 (17)
func (l *Lines) appendText(b []byte, r *Record) []byte {
	b = append(b, '[')
	b = l.clock.append(b, l.payloads.time(r))
	if r.Type == encode.TypeIPConn {
		b = append(b, "] [1:5 base ipconn] ["...)
	} else {
		b = append(b, "] [1:12 base packet] ["...)
	}
	labels := r.Labels.Or(l.payloads.Labels)
	if labels.Source != 0 {
		b = appendHex8(b, labels.Source)
	}
	b = append(b, "] ["...)
	if labels.Operator != 0 {
		b = strconv.AppendUint(b, uint64(labels.Operator), 10)
	}
	b = append(b, "] ["...)
	if labels.Group != 0 {
		b = strconv.AppendUint(b, uint64(labels.Group), 10)
	}
	b = append(b, "] \n"...)
	return append(AppendTuple(b, &r.Tuple), '\n')
}

// AppendTuple appends a tuple as it stands in the text.
func AppendTuple(b []byte, t *tuple.Tuple) []byte {
	b = appendAddr(b, t.Src)
	b = append(b, '.')
	b = strconv.AppendUint(b, uint64(t.SrcPort), 10)
	b = append(b, " --> "...)
	b = appendAddr(b, t.Dst)
	b = append(b, '.')
	b = strconv.AppendUint(b, uint64(t.DstPort), 10)
	b = append(b, " ("...)
	b = strconv.AppendUint(b, uint64(t.Proto), 10)
	return append(b, ')')
}

// appendAddr appends an address as inet_ntop(3) writes it, which nmsgtool uses.
// That is RFC 5952 but for the IPv4-compatible addresses, ::192.0.2.1.
func appendAddr(b []byte, a netip.Addr) []byte {
	if a.Is6() && !a.Is4In6() {
		if v := a.As16(); isIPv4Compatible(&v) {
			return netip.AddrFrom4([4]byte(v[12:])).AppendTo(append(b, "::"...))
		}
	}
	return a.AppendTo(b)
}

// isIPv4Compatible says whether the first six of the eight groups are 0 and the
// seventh is not.
func isIPv4Compatible(v *[16]byte) bool {
	return [12]byte(v[:12]) == [12]byte{} && (v[12] != 0 || v[13] != 0)
}

func appendHex8(b []byte, v uint32) []byte {
	const digits = "0123456789abcdef"
	for shift := 28; shift >= 0; shift -= 4 {
		b = append(b, digits[v>>shift&15])
	}
	return b
}

// clock formats times. It keeps the text of the last second, which most
// records share with the one before.
type clock struct {
	sec  int64
	text []byte
}

// append appends t in UTC, to the nanosecond.
func (c *clock) append(b []byte, t time.Time) []byte {
	if sec := t.Unix(); sec != c.sec || c.text == nil {
		c.sec, c.text = sec, t.UTC().AppendFormat(c.text[:0], "2006-01-02 15:04:05")
	}
	b = append(b, c.text...)
	point := len(b)
	b = strconv.AppendUint(b, 1e9+uint64(t.Nanosecond()), 10) // with all its zeros
	b[point] = '.'
	return b
}
