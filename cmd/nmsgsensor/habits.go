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

const (
	noZMQ    = "ZeroMQ is not spoken; UDP is: -l to receive, -s to send"
	noKafka  = "Kafka is not spoken; nmsgtool reads and writes it: nmsgsensor -w - | nmsgtool -r - ..."
	noModule = "modules of nmsgtool are not loaded; -w - | nmsgtool -r - ... puts it behind"
	noLabels = "payloads are not chosen by labels; nmsgtool does: nmsgtool ... -w - | nmsgsensor"
	noText   = "text is not read back; nmsgtool reads it: nmsgtool ... -w - | nmsgsensor"
	inFilter = "say it in a filter, such as -b 'udp dst port 53'; see pcap-filter(7)"
)

// elsewhere are flags of nmsgtool, tcpdump and others that are none here, and
// what to do instead.
var elsewhere = map[string]string{
	// nmsgtool's long names of letters that are the same here.
	"readif":    "say -i, --interface",
	"readsock":  "say -l, --listen",
	"writesock": "say -s, --socket for base:ipconn, --packet-socket for base:packet",
	"writenmsg": "say -w, --write",
	"writepres": "say -o, --text",
	"writejson": "say -J, --json",
	"zlibout":   "say -z, --zlib",
	"username":  "say -U, --user",

	// What nmsgtool does besides.
	"byterate": "files are read as fast as outputs take them; RATE of -s bounds what is sent",
	"D":        "it stays in the foreground: systemd or & puts it behind; to list interfaces: nmsgsensor interfaces",
	"daemon":   "it stays in the foreground: systemd or & puts it behind",
	"P":        "no file has its process id: systemd knows it, and so does $! of the shell",
	"pidfile":  "no file has its process id: systemd knows it, and so does $! of the shell",
	"C":        "channels are not known; say their addresses: -l ADDR/PORT..PORT",
	"readchan": "channels are not known; say their addresses: -l ADDR/PORT..PORT",
	"f":        noText, "readpres": noText, "j": noText, "readjson": noText,
	"F": noModule, "filter": "say -b, --bpf; " + noModule, "policy": noModule, "M": noModule, "statsmod": "say --metrics; " + noModule,
	"getsource": noLabels, "getoperator": noLabels, "getgroup": noLabels,
	"L": noZMQ, "readzsock": noZMQ, "S": noZMQ, "writezsock": noZMQ, "Z": noZMQ, "readzchan": noZMQ,
	"readkafka": noKafka, "writekafka": noKafka, "kafkakey": noKafka,

	// tcpdump's and others'.
	"n":               "leave it out: addresses and ports are always numbers",
	"A":               "payloads are not shown; tcpdump -A does",
	"X":               "payloads are not shown; tcpdump -X does",
	"G":               "say -t SECONDS, with -k",
	"list-interfaces": "say: nmsgsensor interfaces",
	"snapshot-length": "say -i IF,N", "snaplen": "say -i IF,N",
	"promisc": "say -i IF+", "promiscuous": "say -i IF+",
	"host": inFilter, "src": inFilter, "dst": inFilter, "net": inFilter, "port": inFilter, "proto": inFilter,
	"sport": inFilter, "dport": inFilter, "tcp": inFilter, "udp": inFilter,
	"iface": "say -i, --interface", "dev": "say -i, --interface", "device": "say -i, --interface",
	"file": "give the name alone, or say -r or -p", "input": "give the name alone, or say -r or -p",
	"pcap": "say -p, --readpcap", "nmsg": "say -r, --readnmsg",
	"output": "say -w (base:packet), -W (base:ipconn), -o (text) or -J (JSON)",
	"rate":   "say -s ADDR/PORT,RATE", "dest": "say -s, --socket", "destination": "say -s, --socket", "collector": "say -s, --socket",
	"verbose": "say --stats TIME",
}
