package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"runtime/debug"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"nmsgsensor/capture"
	"nmsgsensor/encode"
	"nmsgsensor/output"
)

// options is what the command line says.
type options struct {
	inputs   []input
	filter   string
	count    uint64
	sockets  []output.Sockspec // for base:ipconn
	packets  []output.Sockspec // for base:packet
	mirror   bool
	write    string // base:packet
	writeIP  string // base:ipconn
	text     string
	json     string
	quiet    bool
	mtu      int
	flush    time.Duration
	single   bool
	zlib     bool
	labels   encode.Labels
	stampNow bool
	unique   *uniqueSpec   // nil where a tuple is emitted each time that it comes
	kicker   *string       // nil where files are not rotated
	interval time.Duration // of the rotation, or of the run
	offset   time.Duration // of the interval, at random
	random   bool
	rotation *output.Rotation // nil where files are not rotated

	bufferKiB  int // of each interface's ring
	engine     capture.Engine
	captureOwn bool
	user       *account // nil to stay who we are
	keepRaw    bool
	seccomp    bool
	stats      time.Duration // 0 for never
	lossShare  float64       // in percent, above which loss is warned of
	metrics    string
	logFormat  string // text or json
	log        *slog.Logger
	config     string // a file with more of these
	checkOnly  bool
	progress   *progress // nil where none is shown
	keys       bool      // a terminal is set to hand over keys
}

// newCommand returns the command; stderr gets its log and its counters.
func newCommand(stderr io.Writer) *cobra.Command {
	cmd := newSensorCommand("nmsgsensor [flags] [input ...]", stderr, sense)
	cmd.AddCommand(newInterfacesCommand(), newTopCommand(stderr), newManualCommand(groups(&options{logFormat: "text"})))
	return cmd
}

// newSensorCommand returns a command with all flags, and which hands them on to
// run.
func newSensorCommand(use string, stderr io.Writer, run func(context.Context, *options, io.Writer) error) *cobra.Command {
	opt := options{logFormat: "text"}
	all := groups(&opt)
	cmd := &cobra.Command{
		Use:           use,
		Version:       versionText(),
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := opt.settle(cmd, args); err != nil {
				return usageError{err}
			}
			if opt.progress = newProgress(stderr, &opt); opt.progress != nil {
				stderr = opt.progress
			}
			opt.log = newLog(stderr, opt.logFormat)
			opt.schedule()
			if opt.checkOnly {
				return opt.try(cmd.Context(), cmd.OutOrStdout())
			}
			if cmd.Flags().Changed("msgtype") && len(opt.sockets) > 0 && len(opt.packets) == 0 {
				opt.log.Warn("-s sends base:ipconn, whatever -T says; --packet-socket sends base:packet")
			}
			return run(cmd.Context(), &opt, stderr)
		},
	}
	for _, g := range all {
		cmd.Flags().AddFlagSet(g.flags)
	}
	acceptHabits(cmd.Flags())
	complete(cmd, all)
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return usageError{flagMistake(cmd.Flags(), err)} })
	cmd.SetVersionTemplate("{{.Version}}\n")
	ofCommands := cmd.HelpFunc()
	cmd.SetHelpFunc(func(c *cobra.Command, args []string) {
		if c != cmd {
			ofCommands(c, args)
			return
		}
		writeHelp(c.OutOrStdout(), c, all)
	})
	return cmd
}

// settle adds what the environment, a file and the arguments say to what the
// flags did. Its errors are mistakes of usage.
func (o *options) settle(cmd *cobra.Command, args []string) error {
	if o.config == "" {
		o.config = os.Getenv("NMSGSENSOR_CONFIG")
	}
	args, err := configure(cmd.Flags(), o.config, args)
	if err == nil {
		err = misplaced(cmd, args)
	}
	if err != nil {
		return err
	}
	for _, name := range args {
		o.inputs = append(o.inputs, input{kind: anyInput, name: name})
	}
	if len(o.inputs) == 0 {
		if isTerminal(os.Stdin) {
			cmd.Help()
			return errors.New("no input: give files, -i IF or -l SOCKET, or - to read from this terminal")
		}
		o.inputs = []input{{kind: anyInput, name: "-"}}
	}
	return o.check()
}

// schedule turns what the flags say of rotation into a Rotation.
func (o *options) schedule() {
	if o.random && o.interval > 0 {
		o.offset = time.Duration(rand.Int64N(int64(o.interval/time.Second))) * time.Second
	}
	if o.kicker != nil {
		o.rotation = &output.Rotation{Every: o.interval, Offset: o.offset, Count: o.count}
	}
}

// check finds what no single flag can.
func (o *options) check() error {
	if o.mtu < output.MinMTU || o.mtu > output.MaxMTU {
		return fmt.Errorf("--mtu %d: must be from %d to %d bytes", o.mtu, output.MinMTU, output.MaxMTU)
	}
	if o.flush <= 0 {
		return fmt.Errorf("--flush %v: must be positive; --unbuffered waits for nothing", o.flush)
	}
	if o.kicker != nil && len(o.files()) == 0 {
		return errors.New("--kicker: needs a file to rotate, of -w, -W, -o or -J; standard output is none")
	}
	if o.random && o.interval == 0 {
		return errors.New("--randomize: goes with --interval, which it moves")
	}
	if o.bufferKiB < minBufferKiB || o.bufferKiB > maxBufferKiB {
		return fmt.Errorf("--buffer-size %d: must be from %d to %d KiB", o.bufferKiB, minBufferKiB, maxBufferKiB)
	}
	if o.stats < 0 || !(o.lossShare >= 0 && o.lossShare <= 100) { // NaN is neither
		return errors.New("--stats and --warn-loss: must not be negative, nor above 100 percent")
	}
	if o.keepRaw && o.user == nil {
		return errors.New("--keep-net-raw: goes with --user; without it nothing is given up")
	}
	return o.checkOutputs()
}

// waits says whether an input waits for packets.
func (o *options) waits() bool {
	return slices.ContainsFunc(o.inputs, func(in input) bool { return in.waits() })
}

// wantsPackets says whether an output needs the bytes of packets.
func (o *options) wantsPackets() bool { return o.write != "" || len(o.packets) > 0 }

// The bounds of a ring: libpcap's header has an int of bytes.
const (
	minBufferKiB = 64
	maxBufferKiB = 1<<21 - 1
)

// ring is the size of an interface's ring in bytes.
func (o *options) ring() int { return o.bufferKiB << 10 }

// try opens the inputs to find out whether the options hold, reads nothing, and
// says so. Sockets are not opened: they may be in use by the sensor that runs.
func (o *options) try(ctx context.Context, w io.Writer) error {
	o.inputs = slices.DeleteFunc(o.inputs, func(in input) bool { return in.kind == listenInput || in.name == "-" })
	s := &sensor{opt: o}
	if err := o.checkFiles(); err != nil {
		return err
	}
	if err := s.openFeeds(ctx); err != nil {
		return err
	}
	if s.failed.Load() {
		return errReported
	}
	_, err := fmt.Fprintln(w, "ok")
	return err
}

// versionText is the module's version and the commit, as the Go tool recorded them.
func versionText() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "nmsgsensor (unknown version)"
	}
	text := "nmsgsensor " + info.Main.Version + " " + info.GoVersion
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			text += " " + s.Value
		}
	}
	return text
}

func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}
