package main

import (
	"errors"
	"strings"

	"github.com/spf13/pflag"
)

// acceptHabits adds flags of nmsgtool that say what is done anyway; other values
// of them are refused with the reason. The help does not show them.
func acceptHabits(flags *pflag.FlagSet) {
	f := pflag.NewFlagSet("nmsgtool", pflag.ContinueOnError)
	f.VarP(onlyFlag{"base", "only base is known: base:packet and base:ipconn"}, "vendor", "V", "")
	f.VarP(onlyFlag{"packet", "leave it out: frames become base:packet, and tuples base:ipconn, which -s and -W emit"}, "msgtype", "T", "")
	f.VarP(onlyFlag{`\n`, `lines of text end with \n`}, "endline", "e", "")
	f.BoolP("debug", "d", false, "")
	f.VisitAll(func(f *pflag.Flag) { f.Hidden = true })
	flags.AddFlagSet(f)
}

// onlyFlag takes one value, of which nothing has to be kept.
type onlyFlag struct{ value, otherwise string }

func (f onlyFlag) String() string { return "" }
func (f onlyFlag) Type() string   { return "only" }
func (f onlyFlag) Set(s string) error {
	if !strings.EqualFold(s, f.value) {
		return errors.New(f.otherwise)
	}
	return nil
}

// elsewhere are flags of nmsgtool, tcpdump and others that are none here, and
// what to do instead.
var elsewhere = []struct{ names, remedy string }{
	// By other names here.
	{"readif iface dev device", "say -i, --interface"},
	{"readsock", "say -l, --listen"},
	{"writesock", "say -s, --socket for base:ipconn, --packet-socket for base:packet"},
	{"dest destination collector", "say -s, --socket"},
	{"rate", "say -s ADDR/PORT,RATE"},
	{"nmsg", "say -r, --readnmsg"},
	{"pcap", "say -p, --readpcap"},
	{"file input", "give the name alone, or say -r or -p"},
	{"writenmsg", "say -w, --write"},
	{"writepres", "say -o, --text"},
	{"writejson", "say -J, --json"},
	{"output", "say -w (base:packet), -W (base:ipconn), -o (text) or -J (JSON)"},
	{"zlibout", "say -z, --zlib"},
	{"username", "say -U, --user"},
	{"verbose", "say --stats TIME"},
	{"G", "say -t SECONDS, with -k"},
	{"snapshot-length snaplen", "say -i IF,N"},
	{"promisc promiscuous", "say -i IF+"},
	{"list-interfaces", "say: nmsgsensor interfaces"},
	{"host src dst net port proto sport dport tcp udp", "say it in a filter, such as -b 'udp dst port 53'; see pcap-filter(7)"},

	// What nmsgtool does besides.
	{"byterate", "files are read as fast as outputs take them; RATE of -s bounds what is sent"},
	{"D", inForeground + "; to list interfaces: nmsgsensor interfaces"},
	{"daemon", inForeground},
	{"P pidfile", "no file has its process id: systemd knows it, and so does $! of the shell"},
	{"C readchan", "channels are not known; say their addresses: -l ADDR/PORT..PORT"},
	{"f readpres j readjson", "text is not read back; nmsgtool reads it: nmsgtool ... -w - | nmsgsensor"},
	{"filter", "say -b, --bpf; " + noModule},
	{"statsmod", "say --metrics; " + noModule},
	{"F policy M", noModule},
	{"getsource getoperator getgroup", "payloads are not chosen by labels; nmsgtool does: nmsgtool ... -w - | nmsgsensor"},
	{"L readzsock S writezsock Z readzchan", "ZeroMQ is not spoken; UDP is: -l to receive, -s to send"},
	{"readkafka writekafka kafkakey", "Kafka is not spoken; nmsgtool reads and writes it: nmsgsensor -w - | nmsgtool -r - ..."},

	// What tcpdump does besides.
	{"n", "leave it out: addresses and ports are always numbers"},
	{"A X", "payloads are not shown; tcpdump -A and -X do"},
}

const (
	inForeground = "it stays in the foreground: systemd or & puts it behind"
	noModule     = "modules of nmsgtool are not loaded; -w - | nmsgtool -r - ... puts it behind"
)
