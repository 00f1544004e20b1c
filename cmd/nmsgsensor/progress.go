package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/cheggaaa/pb/v3"
	"golang.org/x/sys/unix"
)

const (
	// progressAfter is how long reading takes before it is shown, so that a short
	// run does not flicker, and progressEvery how often it is shown then.
	progressAfter = 500 * time.Millisecond
	progressEvery = 100 * time.Millisecond
)

// progress is a line at the end of a terminal that tells how far files have been
// read. It asks for the counters and costs the packets nothing. Whatever else is
// for the terminal goes through it, and stands above the line.
type progress struct {
	term  *os.File
	mu    sync.Mutex // over the terminal
	shown int        // columns of the line that stands there; 0 for none
}

// newProgress returns the progress on standard error, nil where there is none to
// show: it is no terminal, or an input is no regular file and has no end that is
// known, or something else may write to the terminal: an output, who reads
// standard output from a pipe (a pager), a kicker.
func newProgress(stderr io.Writer, opt *options) *progress {
	term, isFile := stderr.(*os.File)
	if !isFile || !isTerminal(term) || os.Getenv("TERM") == "dumb" || opt.waits() || opt.kicker != nil {
		return nil
	}
	for _, out := range opt.fileOutputs() {
		if mayShow(out.name) {
			return nil
		}
	}
	return &progress{term: term}
}

// mayShow says whether what goes to a file of this name may come to a terminal.
func mayShow(name string) bool {
	st := stat(name, os.Stdout)
	switch {
	case name == "-" && st != nil && !st.Mode().IsRegular() && st.Mode()&os.ModeCharDevice == 0:
		return true
	case name == "-":
		return isTerminal(os.Stdout)
	case st == nil || st.Mode()&os.ModeCharDevice == 0:
		return false
	}
	f, err := os.OpenFile(name, os.O_WRONLY|unix.O_NOCTTY, 0)
	if err != nil {
		return false
	}
	defer f.Close()
	return isTerminal(f)
}

// progressLine is what the line shows: on the left what has been read, on the
// right how long it will take.
const progressLine pb.ProgressBarTemplate = `{{string . "packets"}} packets  {{counters . }} {{bar . "[" "=" ">" " " "]"}} {{percent . "%.0f%%"}}  {{speed . "%s/s" "-"}}  {{rtime . "%s left" "" "-"}}`

// show draws the line until stop is closed, and takes it away.
func (p *progress) show(stop <-chan struct{}, report func() *report) {
	begin := time.Now()
	ticker := time.NewTicker(progressEvery)
	defer ticker.Stop()
	defer p.erase()
	bar := progressLine.New(0).Set(pb.Bytes, true).Set(pb.Static, true)
	for {
		r := report()
		var size, read int64
		for _, in := range r.inputs {
			size += in.Size
			read += int64(in.Bytes)
		}
		bar.SetTotal(size).SetCurrent(read).Set("packets", quantity(float64(r.total().read)))
		// The first line is not shown: the rate is what was read since then. The
		// echo of a key must not break the line.
		line := bar.SetWidth(p.columns() - len("^C") - 1).String()
		if time.Since(begin) > progressAfter && read < size {
			p.draw(line)
		}
		select {
		case <-stop:
			return
		case <-ticker.C:
		}
	}
}

// draw has a line in place of the one before, unless the terminal is not ours:
// a job that a shell has put behind draws nothing.
func (p *progress) draw(line string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
	group, err := unix.IoctlGetInt(int(p.term.Fd()), unix.TIOCGPGRP)
	if err == nil && group != unix.Getpgrp() {
		return
	}
	p.term.WriteString(line)
	p.shown = pb.CellCount(line)
}

func (p *progress) erase() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
}

// clear takes the line away. A terminal that has become narrower has broken it
// into several.
func (p *progress) clear() {
	if p.shown == 0 {
		return
	}
	text := "\r"
	if above := (p.shown - 1) / p.columns(); above > 0 {
		text += fmt.Sprintf("\x1b[%dA", above) // cursor up
	}
	p.term.WriteString(text + "\x1b[J") // erase all below
	p.shown = 0
}

// columns is the width of the terminal now.
func (p *progress) columns() int {
	size, err := unix.IoctlGetWinsize(int(p.term.Fd()), unix.TIOCGWINSZ)
	if err != nil || size.Col == 0 {
		return 80
	}
	return int(size.Col)
}

// Write writes words where the line stands, which comes back below them.
func (p *progress) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
	return p.term.Write(b)
}
