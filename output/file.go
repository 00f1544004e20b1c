package output

import (
	"errors"

	"nmsgsensor/encode"
)

// File is an NMSG file: containers of up to 1 MiB, split where nmsgtool splits
// them.
type File struct {
	w   *writer
	cfg Payloads
	c   encode.Container
}

// NewFile returns a sink of NMSG. The name "-" is standard output; another file
// is created when the first payload comes. A container is written when it is
// full, at every Flush and at Close.
//
// With a Rotation, the name is the beginning of the files' names.
func NewFile(name string, payloads Payloads, cfg FileConfig) *File {
	return &File{w: newWriter(name, cfg, ".nmsg"), cfg: payloads}
}

// Write implements Sink.
func (f *File) Write(r *Record) error {
	if !f.cfg.Kind.wants(r) {
		return nil
	}
	var err error
	if !f.cfg.append(&f.c, r, encode.MaxContainer) {
		err = f.Flush()
		f.cfg.append(&f.c, r, 0)
	}
	if f.cfg.Single || f.w.rotating.full(uint64(f.c.Len())) {
		err = errors.Join(err, f.Flush())
	}
	return err
}

// Flush implements Sink. A container that can't be written is dropped.
func (f *File) Flush() error {
	if f.c.Len() > 0 {
		err := f.w.write(f.c.Seal(nil, f.cfg.Zlib), uint64(f.c.Len()))
		f.c.Reset()
		if err != nil {
			return err
		}
	}
	return f.w.rotateIfDue()
}

// Rotate implements Rotator.
func (f *File) Rotate() error { return errors.Join(f.Flush(), f.w.rotate()) }

// Close implements Sink.
func (f *File) Close() error {
	f.w.last()
	return errors.Join(f.Flush(), f.w.close())
}

// Stats returns the counters.
func (f *File) Stats() []Stats {
	s := f.w.stats()
	s.Containers = f.w.writes.Load()
	return []Stats{s}
}
