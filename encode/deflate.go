package encode

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/bits"

	"github.com/klauspost/compress/zlib"
)

// deflater compresses; it keeps its tables from one container to the next.
type deflater struct {
	w   *zlib.Writer
	out bytes.Buffer
}

// append appends body as a zlib stream (RFC 1950) to b.
func (d *deflater) append(b, body []byte) []byte {
	d.out.Reset()
	if d.w == nil {
		d.w = zlib.NewWriter(&d.out)
	} else {
		d.w.Reset(&d.out)
	}
	// Neither fails: the buffer takes everything.
	d.w.Write(body)
	d.w.Close()
	return append(b, d.out.Bytes()...)
}

var (
	errInflate = errors.New("bad zlib stream")
	errTooLong = errors.New("longer than 1 MiB")
)

// inflater is the other direction; it keeps its buffers.
type inflater struct {
	r   io.ReadCloser
	in  bytes.Reader
	out []byte

	swap func([]byte) []byte // see Decoder.Lend
}

// inflate returns the bytes of a compressed body: a length, then a zlib stream of
// just that length. They are borrowed until the next call, or as swap has it.
// Nothing is allocated on the word of the length: more than MaxContainer is
// refused.
func (f *inflater) inflate(body []byte) ([]byte, error) {
	if len(body) < 4 {
		return nil, errInflate
	}
	size := binary.BigEndian.Uint32(body)
	if size > MaxContainer {
		return nil, errTooLong
	}
	f.in.Reset(body[4:])
	if f.r == nil {
		r, err := zlib.NewReader(&f.in)
		if err != nil {
			return nil, errInflate
		}
		f.r = r
	} else if err := f.r.(zlib.Resetter).Reset(&f.in, nil); err != nil {
		return nil, errInflate
	}
	if f.swap != nil {
		f.out = f.swap(f.out)
	}
	if cap(f.out) < int(size)+1 {
		f.out = make([]byte, 1<<bits.Len32(size))
	}
	if _, err := io.ReadFull(f.r, f.out[:size]); err != nil {
		return nil, errInflate
	}
	// One byte more than promised, to see that the stream ends there, is whole,
	// and that its checksum holds.
	if _, err := io.ReadFull(f.r, f.out[size:size+1]); err != io.EOF {
		return nil, errInflate
	}
	return f.out[:size], nil
}
