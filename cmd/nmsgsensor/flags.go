package main

import (
	"time"

	"github.com/spf13/pflag"

	"nmsgsensor/capture"
	"nmsgsensor/output"
)

// group is a group of flags, which stand together in the help and the manual.
// What each says of itself begins with the name of its value, if it has one, and
// fits a line of the help; its default is added there.
type group struct {
	title string
	note  string // of all of them; may be empty
	flags *pflag.FlagSet
}

// groups makes all flags; each is in a group.
func groups(opt *options) (all []group) {
	for _, g := range []struct {
		title, note string
		add         func(*pflag.FlagSet, *options)
	}{
		{"Inputs", "repeatable; SOCKET is ADDR/PORT[..PORT][,RATE[,FREQ]]", inputFlags},
		{"Outputs", "without any, text on standard output; RATE is datagrams a second", outputFlags},
		{"Limits", "a TIME has a unit: 500ms, 10s, 1m", limitFlags},
		{"Running", "", runningFlags},
	} {
		f := pflag.NewFlagSet(g.title, pflag.ContinueOnError)
		f.SortFlags = false
		g.add(f, opt)
		all = append(all, group{g.title, g.note, f})
	}
	return all
}

func inputFlags(f *pflag.FlagSet, opt *options) {
	f.VarP(inputFlag{&opt.inputs, liveInput}, "interface", "i", "`IF[+][,N]` capture; + promiscuous; N bytes of each frame")
	f.VarP(inputFlag{&opt.inputs, nmsgInput}, "readnmsg", "r", "`FILE` read NMSG")
	f.VarP(inputFlag{&opt.inputs, captureInput}, "readpcap", "p", "`FILE` read pcap or pcapng")
	f.VarP(inputFlag{&opt.inputs, listenInput}, "listen", "l", "`SOCKET` receive NMSG over UDP, without RATE")
	f.StringVarP(&opt.filter, "bpf", "b", "", "`FILTER` of libpcap, for interfaces and captures")
	f.Var(engineFlag{&opt.engine}, "engine", "`NAME` reads -i; afpacket takes less CPU")
	f.BoolVar(&opt.captureOwn, "capture-own", false, "also capture what is sent to the collectors")
}

func outputFlags(f *pflag.FlagSet, opt *options) {
	f.VarP(socketsFlag{&opt.sockets}, "socket", "s", "`SOCKET` send base:ipconn to a collector; repeatable")
	f.Var(socketsFlag{&opt.packets}, "packet-socket", "`SOCKET` send base:packet to a collector; repeatable")
	f.BoolVar(&opt.mirror, "mirror", false, "each collector gets all; without it they share")
	f.VarP(nameFlag{&opt.write}, "write", "w", "`FILE` write base:packet; - is standard output")
	f.VarP(nameFlag{&opt.writeIP}, "write-ipconn", "W", "`FILE` write base:ipconn; - is standard output")
	f.VarP(nameFlag{&opt.text}, "text", "o", "`FILE` write the text there, not to standard output")
	f.VarP(nameFlag{&opt.json}, "json", "J", "`FILE` write JSON, a line each; - is standard output")
	f.BoolVarP(&opt.quiet, "quiet", "q", false, "no text on standard output")
	f.BoolVarP(&opt.zlib, "zlib", "z", false, "compress containers")
	f.Var(labelFlag{&opt.labels.Source, 0}, "setsource", "`0xN` source label of what is emitted")
	f.Var(labelFlag{&opt.labels.Operator, 10}, "setoperator", "`N` operator label of what is emitted")
	f.Var(labelFlag{&opt.labels.Group, 10}, "setgroup", "`N` group label of what is emitted")
	f.Var(stampFlag{&opt.stampNow}, "stamp", "`packet|now` time of an ipconn: its packet's, or now")
}

func limitFlags(f *pflag.FlagSet, opt *options) {
	f.VarP(countFlag{&opt.count}, "count", "c", "`N` stop after as many packets; with -k: rotate")
	f.VarP(secondsFlag{&opt.interval}, "interval", "t", "`SECONDS` stop after these; with -k: rotate")
	f.BoolVarP(&opt.random, "randomize", "R", false, "let the intervals of -t begin at a random second")
	f.VarP(kickerFlag{&opt.kicker}, "kicker", "k", "`CMD` rotate files; run this with each one's name")
	f.Var(uniqueFlag{&opt.unique}, "unique", "`TIME[,N]` a tuple once in TIME of packets, 0 for ever; N kept")
	f.IntVarP(&opt.mtu, "mtu", "m", output.DefaultMTU, "`BYTES` largest datagram, of UDP payload")
	f.DurationVar(&opt.flush, "flush", 500*time.Millisecond, "`TIME` that a payload may wait in a buffer")
	f.BoolVar(&opt.single, "unbuffered", false, "no waiting: each payload in its own container")
	f.IntVarP(&opt.bufferKiB, "buffer-size", "B", capture.DefaultBuffer>>10, "`KIB` of the ring of each interface")
}

func runningFlags(f *pflag.FlagSet, opt *options) {
	f.VarP(userFlag{&opt.user}, "user", "U", "`USER` to be once all is open, with no privileges")
	f.BoolVar(&opt.keepRaw, "keep-net-raw", false, "with -U: keep what opens an interface again")
	f.BoolVar(&opt.seccomp, "seccomp", true, "the kernel refuses calls that are not needed")
	f.DurationVar(&opt.stats, "stats", 0, "`TIME` from one line of counters to the next")
	f.Float64Var(&opt.lossShare, "warn-loss", 1, "`PERCENT` of loss to warn of, in --stats TIME or 10s")
	f.Var(addressFlag{&opt.metrics}, "metrics", "`ADDR:PORT` to serve metrics, health and a page at")
	f.Var(logFlag{&opt.logFormat}, "log-format", "`text|json` the form of the log")
	f.Var(nameFlag{&opt.config}, "config", "`FILE` with flags, TOML: name = value")
	f.BoolVar(&opt.checkOnly, "check", false, "check flags, files, filter and names, and exit")
	f.BoolP("help", "h", false, "this help; nmsgsensor man | man -l - has more")
	f.BoolP("version", "v", false, "the version")
}
