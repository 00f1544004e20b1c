package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/spf13/cobra"

	"nmsgsensor/cmd/nmsgsensor/talkers"
)

const topHelp = `Shows what a sensor sees while it works: packets and bytes, what is lost, inputs
and outputs and their state, and the busiest tuples, hosts and ports. It is a
sensor with another face: it takes the same flags, and sends and writes what they
say. Only its text needs a file (-o). Another sensor is not disturbed.

Usage: nmsgsensor top [flags] [input ...]

  nmsgsensor top -i eth0                  an interface
  nmsgsensor top -i eth0 -b 'udp port 53' what a filter lets through
  nmsgsensor top -l 10.0.1.52/9430        what sensors send here
  nmsgsensor top capture.pcap             a file, all of it
  nmsgsensor top -i eth0 -t 60 | tee log  no terminal: plain lines

Rates are those of the last ten seconds or so; where all inputs are files, it
counts from the beginning to the end. --stats TIME is the time between two looks
(1s). Bytes are those of IP packets, as their headers say. 2048 tuples, hosts and
ports each are kept: what makes up more than one in 2048 packets is among them.
A < before a number says that some of it may be another's. The screen stays when
the inputs have ended.

` + topKeys + `
nmsgsensor --help lists the flags.
`

const topKeys = `Keys:
  q, Ctrl-C     quit                 1, 2, 3, Tab  tuples, hosts, ports
  p, Space      pause, and go on     s             sort by packets or bytes
  / TEXT Enter  only what has TEXT   Esc           all again
  ?             this
`

// topLife is how fast what was counted fades: see talkers.New.
const topLife = 10 * time.Second

// newTopCommand returns the sensor with a face.
func newTopCommand(stderr io.Writer) *cobra.Command {
	held := &heldLog{w: stderr}
	cmd := newSensorCommand("top [flags] [input ...]", held, func(ctx context.Context, opt *options, _ io.Writer) error {
		opt.quiet = true
		if slices.ContainsFunc(opt.fileOutputs(), func(f fileOutput) bool { return f.name == "-" }) {
			return usageError{errors.New("top: standard output is for what it shows; give -w, -W, -o and -J a file")}
		}
		s := &sensor{opt: opt, stderr: held}
		f := &face{sensor: s, held: held, every: opt.stats}
		if opt.stats = 0; f.every == 0 {
			f.every = time.Second
		}
		if isTerminal(os.Stdout) && os.Getenv("TERM") != "dumb" {
			// Before privileges and system calls are given up.
			if f.keys = os.Stdin; !isTerminal(f.keys) {
				var err error
				if f.keys, err = os.OpenFile("/dev/tty", os.O_RDWR, 0); err != nil {
					return err
				}
			}
			opt.keys = true
		}
		life := topLife
		if f.totals = !opt.waits(); f.totals {
			life = 0
		}
		s.stage.talkers = talkers.New(life)
		s.face = f
		return s.sense(ctx)
	})
	cmd.Short = "Show live what a sensor sees: rates, losses, the busiest tuples, hosts and ports"
	cmd.SetHelpFunc(func(c *cobra.Command, _ []string) { fmt.Fprint(c.OutOrStdout(), topHelp) })
	return cmd
}

// face shows a sensor at work: in the terminal, or as lines where standard output
// is none.
type face struct {
	sensor *sensor
	held   *heldLog
	keys   *os.File // where keys come from; nil where nothing is a terminal
	every  time.Duration
	totals bool // count from the beginning: all inputs are files
	began  time.Time
}

// look is what there is to see at one moment.
type look struct {
	view
	talkers.Counts
	when    time.Time
	elapsed time.Duration
	before  uint64 // lost before packets came here
	behind  uint64 // and payloads behind it
	words   []string
	report  *report
}

func (f *face) look() look {
	now := time.Now()
	r := f.sensor.report()
	return look{view: f.sensor.view(r), Counts: f.sensor.stage.busiest(now), when: now, elapsed: now.Sub(f.began),
		before: r.lostBefore(), behind: r.lostBehind(), words: f.held.last(), report: r}
}

// show begins to show. The person who looks may end the sensor, with stop; ctx is
// done when somebody else does. The end of the sensor is not that of the view of
// it: the returned function waits for that too.
func (f *face) show(ctx context.Context, stop func()) (end func()) {
	f.began = time.Now()
	gone := make(chan struct{}) // closed when nothing is shown any more; nothing is sent
	if f.keys == nil {
		over := make(chan struct{}) // closed at the end of the sensor; nothing is sent
		go func() {
			defer close(gone)
			f.print(os.Stdout, over, stop)
		}()
		return func() {
			close(over)
			<-gone
		}
	}
	names := make([]string, len(f.sensor.feeds))
	for i, feed := range f.sensor.feeds {
		names[i] = feed.source.Stats().Name
	}
	program := tea.NewProgram(model{title: strings.Join(names, " "), totals: f.totals, every: f.every, look: f.look},
		tea.WithoutSignalHandler(), tea.WithInput(f.keys))
	if isTerminal(os.Stderr) {
		f.held.hold()
	}
	unwatch := context.AfterFunc(ctx, program.Quit)
	go func() {
		defer close(gone)
		_, err := program.Run()
		unwatch()
		f.held.release()
		if err != nil {
			f.sensor.opt.log.Error("nothing can be shown", "cause", err)
			f.sensor.failed.Store(true)
		}
		stop()
	}()
	return func() {
		program.Send(ended(f.look()))
		<-gone
	}
}

// heldLog is a writer for the log, which holds it back while the screen is not
// its own.
type heldLog struct {
	w       io.Writer
	mu      sync.Mutex
	holding bool
	held    []string // the last of what was said meanwhile
}

// linesHeld bounds what is held.
const linesHeld = 100

func (w *heldLog) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.holding {
		return w.w.Write(b)
	}
	w.held = append(w.held, string(b))
	w.held = w.held[max(len(w.held)-linesHeld, 0):]
	return len(b), nil
}

func (w *heldLog) hold() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.holding = true
}

// release says what was held.
func (w *heldLog) release() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, line := range w.held {
		io.WriteString(w.w, line)
	}
	w.holding, w.held = false, nil
}

// last returns the last two lines that are held.
func (w *heldLog) last() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.held[max(len(w.held)-2, 0):])
}
