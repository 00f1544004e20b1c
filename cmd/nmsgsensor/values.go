package main

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"nmsgsensor/capture"
	"nmsgsensor/output"
)

// inputKind says how an input was asked for.
type inputKind uint8

const (
	anyInput inputKind = iota
	nmsgInput
	captureInput
	liveInput
	listenInput
)

// isFile says whether the name of the input is that of a file.
func (k inputKind) isFile() bool { return k != liveInput && k != listenInput }

// input is a file, an interface or a socket to read.
type input struct {
	kind        inputKind
	name        string // a host for a socket
	port        uint16 // of a socket
	snaplen     int    // of an interface; 0 if none was given
	promiscuous bool   // of an interface
}

// waits says whether the input waits for packets: it is no regular file.
func (in *input) waits() bool { return !in.kind.isFile() || !capture.IsRegular(in.name) }

// maxSnaplen is that of libpcap and of tcpdump.
const maxSnaplen = 262144

// inputFlag adds to the inputs, in the order of the command line.
type inputFlag struct {
	list *[]input
	kind inputKind
}

func (f inputFlag) String() string { return "" }
func (f inputFlag) isList()        {}
func (f inputFlag) Type() string {
	switch f.kind {
	case liveInput:
		return "interface"
	case listenInput:
		return "socket"
	}
	return "file"
}
func (f inputFlag) Set(s string) error {
	in := input{kind: f.kind, name: s}
	if f.kind == listenInput {
		return f.listen(s)
	}
	if f.kind == liveInput {
		name, snaplen, found := strings.Cut(s, ",")
		if found {
			n, err := strconv.Atoi(snaplen)
			if err != nil {
				return fmt.Errorf("snaplen %q: must be a number; another interface takes another -i", snaplen)
			}
			if n < 1 || n > maxSnaplen {
				return fmt.Errorf("snaplen %q: must be from 1 to %d bytes", snaplen, maxSnaplen)
			}
			in.snaplen = n
		}
		in.name, in.promiscuous = strings.CutSuffix(name, "+")
	}
	*f.list = append(*f.list, in)
	return checkName(in.name)
}

// listen adds each port of a Sockspec.
func (f inputFlag) listen(s string) error {
	spec, err := output.ParseSockspec(s)
	if err != nil {
		return err
	}
	if spec.Rate != 0 {
		return errors.New("what is received has no rate")
	}
	for port := int(spec.First); port <= int(spec.Last); port++ {
		*f.list = append(*f.list, input{kind: listenInput, name: spec.Host, port: uint16(port)})
	}
	return nil
}

// socketsFlag adds to a list of destinations.
type socketsFlag struct{ list *[]output.Sockspec }

func (f socketsFlag) String() string { return "" }
func (f socketsFlag) Type() string   { return "socket" }
func (f socketsFlag) isList()        {}
func (f socketsFlag) Set(s string) error {
	spec, err := output.ParseSockspec(s)
	if err == nil {
		*f.list = append(*f.list, spec)
	}
	return err
}

// countFlag is a number of packets.
type countFlag struct{ value *uint64 }

func (f countFlag) String() string { return "" }
func (f countFlag) Type() string   { return "count" }
func (f countFlag) Set(s string) error {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil || n == 0 {
		return errors.New("must be a number from 1; without it there is no limit")
	}
	*f.value = n
	return nil
}

// nameFlag is the name of a file.
type nameFlag struct{ name *string }

func (f nameFlag) String() string { return "" }
func (f nameFlag) Type() string   { return "file" }
func (f nameFlag) Set(s string) error {
	*f.name = s
	return checkName(s)
}

// checkName finds names that are none: a flag that came where one should be.
func checkName(s string) error {
	switch {
	case s == "":
		return errors.New("the name is empty")
	case len(s) > 1 && s[0] == '-':
		return errors.New("is a flag, and no name stands before it; a file of that name is ./" + s)
	}
	return nil
}

// labelFlag is a 32-bit label in this base, 0 for one that a prefix tells.
type labelFlag struct {
	value *uint32
	base  int
}

func (f labelFlag) String() string { return "" }
func (f labelFlag) Type() string   { return "label" }
func (f labelFlag) Set(s string) error {
	n, err := strconv.ParseUint(s, f.base, 32)
	if err != nil || n == 0 {
		return errors.New("must be a number from 1 to 4294967295")
	}
	*f.value = uint32(n)
	return nil
}

// stampFlag chooses the time of an ipconn.
type stampFlag struct{ now *bool }

func (f stampFlag) String() string { return "packet" }
func (f stampFlag) Type() string   { return "stamp" }
func (f stampFlag) Set(s string) error {
	if s != "packet" && s != "now" {
		return errors.New("must be packet or now")
	}
	*f.now = s == "now"
	return nil
}

// engineFlag chooses what reads interfaces.
type engineFlag struct{ engine *capture.Engine }

func (f engineFlag) String() string { return "libpcap" }
func (f engineFlag) Type() string   { return "engine" }
func (f engineFlag) Set(s string) error {
	switch s {
	case "libpcap":
		*f.engine = capture.Libpcap
	case "afpacket":
		*f.engine = capture.AFPacket
	default:
		return errors.New("must be libpcap or afpacket")
	}
	return nil
}

// kickerFlag is a command; an empty one only has files renamed.
type kickerFlag struct{ command **string }

func (f kickerFlag) String() string { return "" }
func (f kickerFlag) Type() string   { return "command" }
func (f kickerFlag) Set(s string) error {
	*f.command = &s
	return nil
}

// secondsFlag is a time in whole seconds, as nmsgtool has it.
type secondsFlag struct{ value *time.Duration }

func (f secondsFlag) String() string { return "" }
func (f secondsFlag) Type() string   { return "seconds" }
func (f secondsFlag) Set(s string) error {
	n, err := strconv.ParseUint(s, 10, 31)
	if err != nil || n == 0 {
		return errors.New("must be a whole number of seconds, such as 60")
	}
	*f.value = time.Duration(n) * time.Second
	return nil
}

// userFlag is the user to become.
type userFlag struct{ user **account }

func (f userFlag) String() string { return "" }
func (f userFlag) Type() string   { return "user" }
func (f userFlag) Set(s string) (err error) {
	*f.user, err = lookupAccount(s)
	return err
}

// logFlag is the form of the log.
type logFlag struct{ format *string }

func (f logFlag) String() string { return *f.format }
func (f logFlag) Type() string   { return "format" }
func (f logFlag) Set(s string) error {
	if s != "text" && s != "json" {
		return errors.New("must be text or json")
	}
	*f.format = s
	return nil
}

// addressFlag is where to listen with TCP. A port alone listens everywhere.
type addressFlag struct{ address *string }

func (f addressFlag) String() string { return "" }
func (f addressFlag) Type() string   { return "address" }
func (f addressFlag) Set(s string) error {
	_, port, err := net.SplitHostPort(s)
	if err == nil {
		_, err = net.LookupPort("tcp", port)
	}
	if err != nil {
		return errors.New("must be ADDR:PORT, such as 127.0.0.1:9431")
	}
	*f.address = s
	return nil
}
