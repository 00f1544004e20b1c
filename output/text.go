package output

import (
	"errors"
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
	if labels := r.Labels.Or(l.payloads.Labels); labels == (encode.Labels{}) {
		b = append(b, "] [] [] \n"...) // nearly always, and at once
	} else {
		b = appendLabels(b, labels)
	}
	return append(AppendTuple(b, &r.Tuple), '\n')
}

func appendLabels(b []byte, labels encode.Labels) []byte {
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
	return append(b, "] \n"...)
}

// AppendTuple appends a tuple as it stands in the text.
func AppendTuple(b []byte, t *tuple.Tuple) []byte {
	b = append(appendAddr(b, &t.Src), '.')
	b = append(appendPort(b, t.SrcPort), " --> "...)
	b = append(appendAddr(b, &t.Dst), '.')
	b = append(appendPort(b, t.DstPort), " ("...)
	return append(appendSmall(b, uint(t.Proto)), ')')
}

// clock formats times. It keeps the text of the last second, which most
// records share with the one before.
type clock struct {
	sec  int64
	text []byte // with the point
}

// append appends t in UTC, to the nanosecond.
func (c *clock) append(b []byte, t time.Time) []byte {
	if sec := t.Unix(); sec != c.sec || c.text == nil {
		c.sec, c.text = sec, t.UTC().AppendFormat(c.text[:0], "2006-01-02 15:04:05.")
	}
	b = append(b, c.text...)
	nsec := uint(t.Nanosecond())
	b = appendThree(b, nsec/1e6)
	b = appendThree(b, nsec/1e3%1e3)
	return appendThree(b, nsec%1e3)
}
