package output

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"time"
)

// writer is a file that is created when the first bytes are for it, a row of
// such files, or standard output.
type writer struct {
	name     string
	file     *os.File
	rotating *rotating // nil where it is a single file
	payloads atomic.Uint64
	writes   atomic.Uint64
	bytes    atomic.Uint64
	dropped  atomic.Uint64
	failed   atomic.Uint64
}

// newWriter returns a writer of a file, or, with a Rotation, of files whose names
// begin with name and end with suffix. Standard output, "-", is never rotated.
func newWriter(name string, r *Rotation, suffix string) *writer {
	w := &writer{name: name}
	if r != nil && name != "-" {
		w.rotating = &rotating{Rotation: r, base: name, suffix: suffix}
	}
	return w
}

// write writes b, in which there are n payloads, in one system call where the
// kernel takes it so. After an error, what was written of b is taken off a
// regular file again, so that it ends with something whole.
func (w *writer) write(b []byte, n uint64) error {
	if len(b) == 0 {
		return nil
	}
	err := w.open()
	if err == nil {
		var k int
		if k, err = w.file.Write(b); err != nil && k > 0 {
			w.undo(k)
		}
	}
	if err != nil {
		w.failed.Add(1)
		w.dropped.Add(n)
		return w.named(err)
	}
	w.payloads.Add(n)
	w.writes.Add(1)
	w.bytes.Add(uint64(len(b)))
	if w.rotating != nil {
		w.rotating.payloads += n
	}
	return nil
}

// due says whether what waits to be written, so many payloads, is the last of
// this file.
func (w *writer) due(pending uint64) bool {
	return w.rotating.due(pending) && (pending > 0 || w.file != nil)
}

// rotate ends the file; the next write begins another. Where nothing was
// written, there is none.
func (w *writer) rotate() error {
	if w.rotating == nil || w.file == nil {
		return nil
	}
	err := w.file.Close()
	w.file = nil
	return errors.Join(err, w.rotating.finish())
}

func (w *writer) open() error {
	if w.file != nil {
		return nil
	}
	if w.name == "-" {
		w.file = os.Stdout
		return nil
	}
	name := w.name
	if w.rotating != nil {
		w.rotating.begin(time.Now())
		name = w.rotating.part
	}
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	w.file = f
	return nil
}

// undo cuts k bytes off the end of a regular file. That it can't be done with
// anything else is no error of its own.
func (w *writer) undo(k int) {
	if end, err := w.file.Seek(0, io.SeekCurrent); err == nil {
		w.file.Truncate(end - int64(k))
		w.file.Seek(end-int64(k), io.SeekStart)
	}
}

func (w *writer) named(err error) error {
	if w.name != "-" {
		return err // a PathError has the name
	}
	var path *os.PathError
	if errors.As(err, &path) {
		err = path.Err
	}
	return fmt.Errorf("write standard output: %w", err)
}

func (w *writer) close() error {
	switch {
	case w.file == nil || w.name == "-":
		return nil
	case w.rotating != nil:
		return w.rotate()
	}
	return w.file.Close()
}

func (w *writer) stats() Stats {
	s := Stats{Name: w.name, Payloads: w.payloads.Load(), Bytes: w.bytes.Load(), Dropped: w.dropped.Load()}
	if n := w.failed.Load(); n > 0 {
		s.Errors = map[string]uint64{"write": n}
	}
	return s
}
