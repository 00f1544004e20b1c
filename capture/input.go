package capture

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Format is what an input must be.
type Format uint8

// The formats.
const (
	AnyFormat     Format = iota
	CaptureFormat        // pcap or pcapng
	NMSGFormat
)

// Open opens a file, a named pipe or, for "-", standard input, and finds out by
// its first bytes what it holds, which must be what is wanted: pcap, pcapng or
// NMSG, compressed with gzip, zstd, xz or bzip2 or not. It waits for these bytes
// until ctx is done.
func Open(ctx context.Context, name string, want Format, cfg Config) (Source, error) {
	in, err := openInput(ctx, name)
	if err != nil {
		return nil, err
	}
	src, err := newSource(in, want, cfg)
	if err != nil {
		in.close()
		return nil, fmt.Errorf("%s: %w", in.name, err)
	}
	return src, nil
}

func newSource(in *input, want Format, cfg Config) (Source, error) {
	r, err := decompress(in)
	if err != nil {
		return nil, err
	}
	head, err := r.Peek(4)
	if len(head) < 4 {
		if err == io.EOF {
			if len(head) == 0 {
				return nil, ErrEmpty
			}
			return nil, ErrFormat
		}
		return nil, err
	}
	isNMSG := string(head) == "NMSG"
	switch {
	case isNMSG && want == CaptureFormat:
		return nil, ErrNotCapture
	case isNMSG:
		return newStream(in, r, cfg), nil
	}
	f, err := newFile(in, r, cfg)
	if err == nil && want == NMSGFormat {
		return nil, ErrNotNMSG
	}
	if err == ErrFormat && want == NMSGFormat {
		// Garbage before the first container is damage, not another format.
		return newStream(in, r, cfg), nil
	}
	if err != nil {
		return nil, err
	}
	return f, nil
}

// Errors of what an input holds.
var (
	ErrEmpty      = errors.New("empty file")
	ErrFormat     = errors.New("neither pcap, pcapng nor NMSG")
	ErrNotCapture = errors.New("is an NMSG stream, not a capture")
	ErrNotNMSG    = errors.New("is a capture, not an NMSG stream")
)

// input is an open file descriptor. Reads wait for data in steps, so that an
// idle pipe does not keep the program from stopping.
type input struct {
	name       string
	fd         int
	waits      bool // a read may block: it is no regular file
	compressed bool
	size       int64 // 0 where it is not known
	ctx        context.Context
	bytes      atomic.Uint64
}

func openInput(ctx context.Context, name string) (*input, error) {
	in := &input{name: name, ctx: ctx}
	if name == "-" {
		in.name = "stdin"
	} else {
		// Without O_NONBLOCK, opening a pipe waits for its writer.
		fd, err := unix.Open(name, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
		if err != nil {
			return nil, &os.PathError{Op: "open", Path: name, Err: err}
		}
		in.fd = fd
	}
	var st unix.Stat_t
	if err := unix.Fstat(in.fd, &st); err != nil {
		in.close()
		return nil, &os.PathError{Op: "open", Path: name, Err: err}
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		in.close()
		return nil, &os.PathError{Op: "open", Path: name, Err: unix.EISDIR}
	case unix.S_IFREG:
		in.size = st.Size
	default:
		in.waits = true
	}
	return in, nil
}

// Read reads from the descriptor. Once the context is done it returns its error.
func (in *input) Read(b []byte) (int, error) {
	for {
		if err := in.ctx.Err(); err != nil {
			return 0, err
		}
		if in.waits {
			const step = 100 // milliseconds
			fds := []unix.PollFd{{Fd: int32(in.fd), Events: unix.POLLIN}}
			if n, err := unix.Poll(fds, step); err == nil && n == 0 || err == unix.EINTR {
				continue
			}
		}
		n, err := unix.Read(in.fd, b)
		switch {
		case err == unix.EINTR || err == unix.EAGAIN:
			continue
		case err != nil:
			return 0, &os.PathError{Op: "read", Path: in.name, Err: err}
		case n == 0:
			return 0, io.EOF
		}
		in.bytes.Add(uint64(n))
		return n, nil
	}
}

// isCorrupt says whether an error other than the end means that what was compressed
// is damaged, and not that it could not be read.
func (in *input) isCorrupt(err error) bool {
	return in.compressed && !errors.As(err, new(*os.PathError))
}

func (in *input) close() {
	if in.fd > 0 {
		unix.Close(in.fd)
	}
}

// IsRegular says whether name is a regular file, which never waits for bytes.
func IsRegular(name string) bool {
	var st unix.Stat_t
	return stat(name, &st) && st.Mode&unix.S_IFMT == unix.S_IFREG
}

func stat(name string, st *unix.Stat_t) bool {
	if name == "-" {
		return unix.Fstat(0, st) == nil
	}
	return unix.Stat(name, st) == nil
}
