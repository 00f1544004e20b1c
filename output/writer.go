package output

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"
)

// writer is a file that is created when the first bytes are for it, or standard
// output.
type writer struct {
	name     string
	file     *os.File
	payloads atomic.Uint64
	writes   atomic.Uint64
	bytes    atomic.Uint64
	dropped  atomic.Uint64
	failed   atomic.Uint64
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
	return nil
}

func (w *writer) open() error {
	if w.file != nil {
		return nil
	}
	if w.name == "-" {
		w.file = os.Stdout
		return nil
	}
	var err error
	w.file, err = os.Create(w.name)
	return err
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
	if w.file == nil || w.name == "-" {
		return nil
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
