package encode

import (
	"bytes"
	"errors"
	"io"
)

// Reader cuts a byte stream into containers. A container is handed out as soon as
// its last byte is there. The buffer grows to what the containers need, 1 MiB and
// a header at most.
type Reader struct {
	r      io.Reader
	buf    []byte
	start  int   // of what is not handed out yet, in buf
	end    int   // of what was read, in buf
	offset int64 // of buf[start] in the stream
	err    error // of r; comes after the last container
	swap   func([]byte) []byte
}

// NewReader returns a Reader of r.
func NewReader(r io.Reader) *Reader {
	return &Reader{r: r, buf: make([]byte, firstBuffer)}
}

// Lend has containers stay borrowed beyond the next call of Next. Before their
// bytes are written over, the Reader calls swap with its buffer, and goes on with
// the one that is returned, which may be the same and has any length.
func (r *Reader) Lend(swap func(buf []byte) []byte) { r.swap = swap }

// firstBuffer is enough for most streams, and stays in the processor's cache.
const firstBuffer = 256 << 10

// errCut says that the stream ends inside a container.
var errCut = errors.New("cut short")

// Next returns the next container, header included; its body may still be bad.
// The bytes are borrowed until the next call. Where there is none it passes over
// bytes up to the next one or the end, and returns a *DamageError; the call
// after that goes on from there. The end is io.EOF; errors of the underlying
// reader are returned as they are, once everything before is handed out.
func (r *Reader) Next() ([]byte, error) {
	if !r.fill(HeaderSize) {
		return nil, r.ending()
	}
	_, size, err := parseHeader(r.buf[r.start:r.end])
	if err != nil {
		return nil, r.resync(err)
	}
	if !r.fill(HeaderSize + size) {
		// The length may be what is bad: look for containers behind it.
		return nil, r.resync(errCut)
	}
	c := r.buf[r.start : r.start+HeaderSize+size]
	r.start += len(c)
	r.offset += int64(len(c))
	return c, nil
}

// Offset returns the place in the stream behind the last container.
func (r *Reader) Offset() int64 { return r.offset }

// fill reads until n bytes are there, n being at most a whole container.
func (r *Reader) fill(n int) bool {
	for r.end-r.start < n {
		if r.err != nil {
			return false
		}
		if r.start+n > len(r.buf) || r.start == r.end {
			r.move(n)
		}
		var k int
		k, r.err = r.r.Read(r.buf[r.end:])
		r.end += k
	}
	return true
}

// move makes room for n bytes from the front of the buffer on.
func (r *Reader) move(n int) {
	rest, buf := r.buf[r.start:r.end], r.buf
	if r.swap != nil {
		buf = r.swap(buf)
	}
	if n > len(buf) {
		buf = make([]byte, MaxContainer+HeaderSize)
	}
	r.start, r.end, r.buf = 0, copy(buf, rest), buf
}

// ending returns what is left to say when less than a header is there.
func (r *Reader) ending() error {
	if n := r.end - r.start; n > 0 {
		e := &DamageError{Offset: r.offset, Skipped: int64(n), Cause: errCut}
		r.skip(n)
		return e
	}
	return r.err
}

// resync passes over at least one byte, up to the next header that could be one.
func (r *Reader) resync(cause error) error {
	e := &DamageError{Offset: r.offset, Cause: cause}
	r.skip(1)
	for {
		have := r.buf[r.start:r.end]
		i := bytes.Index(have, []byte("NMSG"))
		if i < 0 {
			i = max(len(have)-3, 0)
		}
		r.skip(i)
		if !r.fill(HeaderSize) {
			r.skip(r.end - r.start)
			break
		}
		if _, _, err := parseHeader(r.buf[r.start:r.end]); err == nil {
			break
		}
		if string(r.buf[r.start:r.start+4]) == "NMSG" {
			r.skip(1)
		}
	}
	e.Skipped = r.offset - e.Offset
	return e
}

func (r *Reader) skip(n int) {
	r.start += n
	r.offset += int64(n)
}
