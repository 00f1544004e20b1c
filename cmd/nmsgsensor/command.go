package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
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
	kicker   *string       // nil where files are not rotated
	interval time.Duration // of the rotation, or of the run
	offset   time.Duration // of the interval, at random
	random   bool
	rotation *output.Rotation // nil where files are not rotated

	bufferKiB  int // of each interface's ring
	captureOwn bool
	user       *account // nil to stay who we are
	keepRaw    bool
	stats      time.Duration // 0 for never
	lossShare  float64       // in percent, above which loss is warned of
	metrics    string
	logFormat  string // text or json
	log        *slog.Logger
}

const examples = `  nmsgsensor capture.pcap                      print the tuples of a capture
  nmsgsensor -i eth0 -s 10.0.1.52/9430         sensor: an interface to a collector
  nmsgsensor -q -w packets.nmsg capture.pcapng convert frames to base:packet
  nmsgtool -i eth0 -V base -T packet -w - --unbuffered | nmsgsensor -s 10.0.1.52/9430`

// newCommand returns the command; stderr gets its log and its counters.
func newCommand(stderr io.Writer) *cobra.Command {
	opt := options{logFormat: "text"}
	var config string
	var checkOnly bool
	cmd := &cobra.Command{
		Use:   "nmsgsensor [flags] [input ...]",
		Short: "Extract the 5-tuples of TCP and UDP packets, print them, send them to NMSG collectors",
		Long: `nmsgsensor takes packets from network interfaces, pcap and pcapng files, and
NMSG streams, extracts the 5-tuples of TCP and UDP packets, prints them, and
sends them as base:ipconn to NMSG collectors.

An input is NMSG, pcap or pcapng, told apart by content; "-" is standard input.
Without any, standard input is read if it is not a terminal.`,
		Example:           examples,
		Version:           versionText(),
		SilenceErrors:     true,
		SilenceUsage:      true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
		Args:              cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if config == "" {
				config = os.Getenv("NMSGSENSOR_CONFIG")
			}
			args, err := configure(cmd.Flags(), config, args)
			if err != nil {
				return usageError{err}
			}
			for _, name := range args {
				opt.inputs = append(opt.inputs, input{kind: anyInput, name: name})
			}
			if len(opt.inputs) == 0 {
				if isTerminal(os.Stdin) {
					cmd.Help()
					return usageError{}
				}
				opt.inputs = []input{{kind: anyInput, name: "-"}}
			}
			if err := opt.check(); err != nil {
				return usageError{err}
			}
			opt.log = newLog(stderr, opt.logFormat)
			opt.schedule()
			if checkOnly {
				return opt.try(cmd.Context(), cmd.OutOrStdout())
			}
			return sense(cmd.Context(), &opt, stderr)
		},
	}
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	cmd.SetVersionTemplate("{{.Version}}\n")
	addFlags(cmd, &opt)
	f := cmd.Flags()
	f.StringVar(&config, "config", "", "read flags from this TOML `FILE`: their long names are the keys")
	f.BoolVar(&checkOnly, "check", false, "check flags, configuration, filter and names, and exit")
	cmd.AddCommand(newInterfacesCommand())
	return cmd
}

func addFlags(cmd *cobra.Command, opt *options) {
	f := cmd.Flags()
	f.SortFlags = false
	f.VarP(inputFlag{&opt.inputs, liveInput}, "interface", "i", "capture from this interface, `IF[+][,SNAPLEN]`; + is promiscuous; repeatable")
	f.VarP(inputFlag{&opt.inputs, nmsgInput}, "readnmsg", "r", "read NMSG from `FILE`; repeatable")
	f.VarP(inputFlag{&opt.inputs, captureInput}, "readpcap", "p", "read pcap or pcapng from `FILE`; repeatable")
	f.VarP(inputFlag{&opt.inputs, listenInput}, "listen", "l", "read NMSG from UDP at `ADDR/PORT[..PORT]`; repeatable")
	f.StringVarP(&opt.filter, "bpf", "b", "", "libpcap `FILTER` for interfaces and captures, applied as written")
	f.Uint64VarP(&opt.count, "count", "c", 0, "stop after `N` packets or payloads read; with -k: rotate files after N payloads")
	f.VarP(socketsFlag{&opt.sockets}, "socket", "s", "send base:ipconn to `ADDR/PORT[..PORT][,RATE[,FREQ]]`; RATE in datagrams a second; repeatable")
	f.Var(socketsFlag{&opt.packets}, "packet-socket", "send base:packet to `ADDR/PORT[..PORT][,RATE[,FREQ]]`; repeatable")
	f.BoolVar(&opt.mirror, "mirror", false, "send everything to every collector; without it they share")
	f.VarP(nameFlag{&opt.write}, "write", "w", "write base:packet to `FILE`; - is standard output")
	f.VarP(nameFlag{&opt.writeIP}, "write-ipconn", "W", "write base:ipconn to `FILE`; - is standard output")
	f.VarP(nameFlag{&opt.text}, "text", "o", "write the text to `FILE` instead of standard output")
	f.VarP(nameFlag{&opt.json}, "json", "J", "write JSON to `FILE`, one object a line; - is standard output")
	f.BoolVarP(&opt.quiet, "quiet", "q", false, "no text on standard output")
	f.IntVarP(&opt.mtu, "mtu", "m", output.DefaultMTU, "largest datagram, in `BYTES` of UDP payload")
	f.DurationVar(&opt.flush, "flush", 500*time.Millisecond, "`TIME` that a payload may wait in a buffer")
	f.BoolVar(&opt.single, "unbuffered", false, "one payload a container, which does not wait")
	f.BoolVarP(&opt.zlib, "zlib", "z", false, "compress containers")
	f.VarP(kickerFlag{&opt.kicker}, "kicker", "k", "rotate output files: write FILE.TIME, and run `CMD` with the name of each that is done")
	f.VarP(secondsFlag{&opt.interval}, "interval", "t", "rotate files every `SECONDS`, or stop after them if there is no -k")
	f.BoolVarP(&opt.random, "randomize", "R", false, "let the intervals begin at a random second")
	f.Var(labelFlag{&opt.labels.Source, 0}, "setsource", "source label of what is emitted, `0xN`")
	f.Var(labelFlag{&opt.labels.Operator, 10}, "setoperator", "operator label of what is emitted, `N`")
	f.Var(labelFlag{&opt.labels.Group, 10}, "setgroup", "group label of what is emitted, `N`")
	f.Var(stampFlag{&opt.stampNow}, "stamp", "time of an ipconn: that of the `packet|now`")
	f.IntVarP(&opt.bufferKiB, "buffer-size", "B", capture.DefaultBuffer>>10, "ring of each interface, in `KIB`")
	f.BoolVar(&opt.captureOwn, "capture-own", false, "also capture what is sent to the collectors")
	f.VarP(userFlag{&opt.user}, "user", "U", "become `USER` once all is open, with no privileges left")
	f.BoolVar(&opt.keepRaw, "keep-net-raw", false, "with -U: keep CAP_NET_RAW, to open an interface again")
	f.DurationVar(&opt.stats, "stats", 0, "tell the counters every `TIME`")
	f.Float64Var(&opt.lossShare, "warn-loss", 1, "warn of loss above `PERCENT` in an interval (that of --stats, or 10s)")
	f.Var(addressFlag{&opt.metrics}, "metrics", "serve /metrics (Prometheus), /healthz and a page on `ADDR:PORT`")
	f.Var(logFlag{&opt.logFormat}, "log-format", "write the log as `text|json`")
}

// schedule turns what the flags say of rotation into a Rotation.
func (o *options) schedule() {
	if o.random && o.interval > 0 {
		o.offset = time.Duration(rand.Int64N(int64(o.interval/time.Second))) * time.Second
	}
	if o.kicker != nil {
		o.rotation = &output.Rotation{Command: *o.kicker, Every: o.interval, Offset: o.offset, Count: o.count, Log: o.log}
	}
}

// check finds what no single flag can.
func (o *options) check() error {
	if o.mtu < output.MinMTU || o.mtu > output.MaxMTU {
		return fmt.Errorf("--mtu %d: from %d to %d bytes are possible", o.mtu, output.MinMTU, output.MaxMTU)
	}
	if o.flush <= 0 {
		return fmt.Errorf("--flush %v: must be positive; --unbuffered waits for nothing", o.flush)
	}
	if o.kicker != nil && len(o.files()) == 0 {
		return errors.New("--kicker: there is no file to rotate (-w, -W, -o, -J); standard output is not")
	}
	if o.random && o.interval == 0 {
		return errors.New("--randomize: there is no --interval to begin anew")
	}
	if o.bufferKiB < minBufferKiB || o.bufferKiB > maxBufferKiB {
		return fmt.Errorf("--buffer-size %d: from %d to %d KiB are possible", o.bufferKiB, minBufferKiB, maxBufferKiB)
	}
	if o.stats < 0 || o.lossShare < 0 || o.lossShare > 100 {
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
	for _, name := range o.files() {
		if _, err := os.Stat(filepath.Dir(name)); err != nil {
			return err
		}
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
