package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// fileOutput is an output that is a file, or standard output.
type fileOutput struct{ flag, name string }

// fileOutputs are those that the flags ask for; the text goes to standard output
// unless something else does.
func (o *options) fileOutputs() (all []fileOutput) {
	for _, out := range []fileOutput{{"-w", o.write}, {"-W", o.writeIP}, {"-o", o.textName()}, {"-J", o.json}} {
		if out.name != "" {
			all = append(all, out)
		}
	}
	return all
}

// textName is the file that the text goes to, "" where none is wanted.
func (o *options) textName() string {
	if o.text == "" && !o.quiet && o.write != "-" && o.writeIP != "-" && o.json != "-" {
		return "-"
	}
	return o.text
}

// files are the output files that are no standard output.
func (o *options) files() (names []string) {
	for _, out := range o.fileOutputs() {
		if out.name != "-" {
			names = append(names, out.name)
		}
	}
	return names
}

// checkFiles finds what an output file would say at its first payload: that it
// can't be created there.
func (o *options) checkFiles() error {
	for _, name := range o.files() {
		dir := filepath.Dir(name)
		if st, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("write %s: no such directory; make it: mkdir -p %s", name, dir)
		} else if err == nil && !st.IsDir() {
			return fmt.Errorf("write %s: %s is no directory", name, dir)
		}
		if st, err := os.Stat(name); err == nil && st.IsDir() && o.kicker == nil {
			return fmt.Errorf("write %s: is a directory; give a file in it", name)
		}
	}
	return nil
}

// checkOutputs finds outputs in each other's way, or in that of an input.
func (o *options) checkOutputs() error {
	all := o.fileOutputs()
	for i, out := range all {
		for _, other := range all[:i] {
			switch {
			case out.name == "-" && other.name == "-":
				return fmt.Errorf("%s and %s: standard output can carry one of them; give the other a file", other.flag, out.flag)
			case out.isSame(other):
				return fmt.Errorf("%s and %s write the same file %s; give each its own", other.flag, out.flag, out.name)
			}
		}
		for _, in := range o.inputs {
			if in.kind.isFile() && sameFile(stat(in.name, os.Stdin), stat(out.name, os.Stdout)) {
				return fmt.Errorf("%s %s: is an input too, and would be overwritten; write to another file", out.flag, out.name)
			}
		}
	}
	return nil
}

// isSame says whether both write one regular file, be it there already or not.
func (f fileOutput) isSame(other fileOutput) bool {
	a, b := stat(f.name, os.Stdout), stat(other.name, os.Stdout)
	if a != nil || b != nil || f.name == "-" || other.name == "-" {
		return sameFile(a, b)
	}
	x, errX := filepath.Abs(f.name)
	y, errY := filepath.Abs(other.name)
	return x == y && errX == nil && errY == nil
}

// stat returns what a name is of, nil if that is nothing; "-" is an open file.
func stat(name string, open *os.File) os.FileInfo {
	st, err := os.Stat(name)
	if name == "-" {
		st, err = open.Stat()
	}
	if err != nil {
		return nil
	}
	return st
}

// sameFile says whether both are one regular file, by whatever name or link.
func sameFile(a, b os.FileInfo) bool {
	return a != nil && b != nil && a.Mode().IsRegular() && os.SameFile(a, b)
}
