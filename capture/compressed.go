package capture

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"encoding/binary"
	"errors"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// maxWindow is how much of what was decompressed an archive may want to refer
// back to: as much as the largest preset of xz.
const maxWindow = 64 << 20

var errWindow = errors.New("wants more than 64 MiB of memory to decompress; let the tool that made it do that, and read from a pipe")

// decompress returns what is in the input, uncompressed, by its first bytes.
func decompress(in *input) (*bufio.Reader, error) {
	// Enough for what is looked at first. Whoever then reads more at a time reads
	// past this buffer.
	const readSize = 64 << 10
	raw := bufio.NewReaderSize(in, readSize)
	head, _ := raw.Peek(6)
	var r io.Reader
	var err error
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}): // RFC 1952 section 2.3.1
		r, err = gzip.NewReader(raw)
	case bytes.HasPrefix(head, []byte{0x28, 0xb5, 0x2f, 0xfd}): // RFC 8878 section 3.1.1
		var d *zstd.Decoder
		d, err = zstd.NewReader(raw, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
		r = zstdReader{d}
	case bytes.HasPrefix(head, []byte(xzMagic)):
		r, err = xz.ReaderConfig{DictCap: 1 << 20}.NewReader(&xzBound{r: raw})
	case bytes.HasPrefix(head, []byte("BZh")):
		r = bzip2.NewReader(raw)
	default:
		return raw, nil
	}
	if err != nil {
		return nil, err
	}
	in.compressed = true
	return bufio.NewReaderSize(r, readSize), nil
}

// zstdReader puts one of zstd's errors in words that help.
type zstdReader struct{ *zstd.Decoder }

func (r zstdReader) Read(b []byte) (int, error) {
	n, err := r.Decoder.Read(b)
	if errors.Is(err, zstd.ErrWindowSizeExceeded) || errors.Is(err, zstd.ErrDecoderSizeExceeded) {
		err = errWindow
	}
	return n, err
}

// xzBound hands an xz file on as it is, up to a block that wants a larger
// dictionary than maxWindow: package xz allocates what the block says, 4 GiB at
// most. Numbers of sections are those of The .xz File Format 1.2.1.
type xzBound struct {
	r     *bufio.Reader
	part  xzPart
	allow int   // bytes of the part that were not handed on yet
	size  int   // of the compressed data of the block, as far as handed on
	check int   // size of the check behind each block
	left  int64 // numbers still to come in the index
}

type xzPart uint8

const (
	xzStream xzPart = iota // its header (2.1.1), or padding between streams (2.2)
	xzBlock                // its header (3.1), or the index indicator (4.1)
	xzChunk                // of LZMA2 (5.3.1)
	xzCount                // of records in the index (4.2)
	xzRecord               // a number in one of these (4.3)
)

const xzMagic = "\xfd7zXZ\x00"

var errXZ = errors.New("no valid xz stream")

func (x *xzBound) Read(b []byte) (int, error) {
	for x.allow == 0 {
		if err := x.next(); err != nil {
			return 0, err
		}
	}
	n, err := x.r.Read(b[:min(len(b), x.allow)])
	x.allow -= n
	return n, err
}

// next looks at the part that begins here, and allows it. Where the file ends
// inside its first bytes, these are allowed, and package xz tells of it.
func (x *xzBound) next() error {
	const longest = 1024 // of a block header
	b, err := x.r.Peek(longest)
	if len(b) == 0 {
		return err
	}
	n := 0
	switch x.part {
	case xzStream:
		n, err = x.stream(b)
	case xzBlock:
		n, err = x.block(b)
	case xzChunk:
		n, err = x.chunk(b)
	case xzCount, xzRecord:
		n, err = x.index(b)
	}
	if err == io.ErrShortBuffer {
		n, err = len(b), nil
	}
	x.allow = n
	return err
}

func (x *xzBound) stream(b []byte) (int, error) {
	const headerLen, paddingLen = 12, 4
	switch {
	case len(b) < headerLen && b[0] != 0:
		return 0, io.ErrShortBuffer
	case b[0] == 0:
		return min(paddingLen, len(b)), nil
	case string(b[:6]) != xzMagic:
		return 0, errXZ
	}
	x.part = xzBlock
	x.check = [16]int{0, 4, 4, 4, 8, 8, 8, 16, 16, 16, 32, 32, 32, 64, 64, 64}[b[7]&0x0f] // 2.1.1.2
	return headerLen, nil
}

func (x *xzBound) block(b []byte) (int, error) {
	const (
		compressedSize   = 0x40
		uncompressedSize = 0x80
		filters          = 0x03
		lzma2            = 0x21
	)
	if b[0] == 0 {
		x.part = xzCount
		return 1, nil
	}
	size := (int(b[0]) + 1) * 4
	if len(b) < size {
		return 0, io.ErrShortBuffer
	}
	at := 2
	for _, flag := range []byte{compressedSize, uncompressedSize} {
		if b[1]&flag != 0 {
			_, n := binary.Uvarint(b[at:size])
			at += max(n, 0)
		}
	}
	// The filter: its number, the size of its properties, the dictionary's size.
	if b[1]&filters != 0 || at+3 > size || b[at] != lzma2 || b[at+1] != 1 {
		return 0, errXZ // package xz knows no other
	}
	if code := b[at+2] & 0x3f; uint64(2|code&1)<<(code/2+11) > maxWindow { // 5.3.1
		return 0, errWindow
	}
	x.part, x.size = xzChunk, 0
	return size, nil
}

func (x *xzBound) chunk(b []byte) (n int, err error) {
	if len(b) < 6 && b[0] != 0 {
		return 0, io.ErrShortBuffer
	}
	switch control := b[0]; {
	case control == 0: // the end; padding and check follow
		x.part = xzBlock
		return 1 + 3 - x.size%4 + x.check, nil
	case control >= 0x80:
		n = 5 + int(binary.BigEndian.Uint16(b[3:])) + 1
		if control >= 0xc0 {
			n++
		}
	case control <= 2:
		n = 3 + int(binary.BigEndian.Uint16(b[1:])) + 1
	default:
		return 0, errXZ
	}
	x.size += n
	return n, nil
}

// index goes over its numbers, whose length tells where the next stream begins.
func (x *xzBound) index(b []byte) (int, error) {
	v, n := binary.Uvarint(b)
	switch {
	case n == 0:
		return 0, io.ErrShortBuffer
	case n < 0 || x.part == xzCount && v > 1<<40:
		return 0, errXZ
	case x.part == xzCount:
		x.part, x.left, x.size = xzRecord, 2*int64(v)+1, 1
	}
	x.size += n
	if x.left--; x.left > 0 {
		return n, nil
	}
	const crcLen, footerLen = 4, 12
	x.part = xzStream
	return n + (4-x.size%4)%4 + crcLen + footerLen, nil
}
