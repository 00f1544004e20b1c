package output

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync/atomic"
	"time"
)

// FileConfig is what all file outputs have in common.
type FileConfig struct {
	// Rotation has the files follow each other; nil for a single file.
	Rotation *Rotation

	// Endure has a regular file that takes nothing, as on a full disk, be no
	// error: what is for it is dropped and counted until it takes something
	// again. A pipe or a device that fails does not come back, and is one.
	Endure bool

	Log *slog.Logger // where changes of state are told; nil for slog.Default()
}

// writer is a file that is created when the first bytes are for it, a row of
// such files, or standard output.
type writer struct {
	health
	endure   bool
	regular  bool // what was opened is a regular file
	file     *os.File
	rotating *rotating // nil where it is a single file
	payloads atomic.Uint64
	writes   atomic.Uint64
	bytes    atomic.Uint64
	dropped  atomic.Uint64
}

// newWriter returns a writer of a file, or, with a Rotation, of files whose names
// begin with name and end with suffix. Standard output, "-", is never rotated.
func newWriter(name string, cfg FileConfig, suffix string) *writer {
	w := &writer{endure: cfg.Endure, health: health{log: cfg.Log, kind: "file", name: name, unit: "payloads"}}
	if w.log == nil {
		w.log = slog.Default()
	}
	if cfg.Rotation != nil && name != "-" {
		w.rotating = &rotating{Rotation: cfg.Rotation, base: name, suffix: suffix}
	}
	return w
}

// write writes b, in which there are n payloads, or drops and counts them.
func (w *writer) write(b []byte, n uint64) error {
	if len(b) == 0 {
		return nil
	}
	if err := w.put(b); err != nil {
		w.dropped.Add(n)
		return w.bear(n, err)
	}
	w.worked()
	w.payloads.Add(n)
	w.writes.Add(1)
	w.bytes.Add(uint64(len(b)))
	if w.rotating != nil {
		w.rotating.payloads += n
	}
	return nil
}

// put writes b in one system call where the kernel takes it so: a kill then finds
// all that was written before whole, and cuts at most b. After an error, what was
// written of b is taken off a regular file again, so that it ends with something
// whole.
func (w *writer) put(b []byte) error {
	if err := w.open(); err != nil {
		return err
	}
	k, err := w.file.Write(b)
	if err != nil && k > 0 {
		w.undo(k)
	}
	return err
}

// bear counts an error that cost n payloads, and returns it unless it can be
// lived with. The first file must be there, but for a full disk: a name that is
// wrong would never be right.
func (w *writer) bear(n uint64, err error) error {
	f := failureOf(err)
	if w.endure && (w.regular || w.file == nil && f == noSpace) {
		w.failed(f, n, err)
		return nil
	}
	w.failures[f].Add(n)
	return w.named(err)
}

// rotateIfDue ends a file that is over.
func (w *writer) rotateIfDue() error {
	if w.rotating.due() {
		return w.rotate()
	}
	return nil
}

// rotate ends the file; the next write begins another. Where nothing was
// written, there is none.
func (w *writer) rotate() error {
	if w.rotating == nil || w.file == nil {
		return nil
	}
	err := w.file.Close()
	w.file = nil
	if err = errors.Join(err, w.rotating.finish()); err != nil {
		return w.bear(0, err)
	}
	return nil
}

func (w *writer) open() error {
	if w.file != nil {
		return nil
	}
	f, err := w.create()
	if err != nil {
		return err
	}
	w.file = f
	if st, err := f.Stat(); err == nil {
		w.regular = st.Mode().IsRegular()
	}
	return nil
}

func (w *writer) create() (*os.File, error) {
	name := w.name
	switch {
	case name == "-":
		return os.Stdout, nil
	case w.rotating != nil:
		w.rotating.begin(time.Now())
		name = w.rotating.part
	}
	// Not os.Create: whoever opens a named pipe to read too never learns that
	// nobody else does.
	return os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o666)
}

// undo cuts k bytes off the end of a regular file, or at least has the next write
// go over them. That neither can be done with anything else is no error of its
// own.
func (w *writer) undo(k int) {
	if end, err := w.file.Seek(-int64(k), io.SeekCurrent); err == nil {
		w.file.Truncate(end)
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

// last says that no write follows the next one: what fails now is an error.
func (w *writer) last() { w.endure = false }

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
	return Stats{Name: w.name, Down: w.down.Load(), Payloads: w.payloads.Load(), Bytes: w.bytes.Load(),
		Dropped: w.dropped.Load(), Errors: w.errors(fileFailures)}
}
