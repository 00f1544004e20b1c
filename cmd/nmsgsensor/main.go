// Command nmsgsensor extracts the 5-tuples of TCP and UDP packets from network
// interfaces, captures and NMSG streams, prints them and sends them to NMSG
// collectors.
//
// # What a packet costs
//
// By the benchmarks of each package, on two cores of an AMD EPYC that others used
// too, for packets of 374 bytes on average (package capture/imix):
//
//	stage                                      ns   bytes copied
//	read a pcap file, find the IP header       50   374, by the kernel
//	read NMSG, find the messages               90   374, by the kernel
//	check a CRC                                30   0
//	tuple.Parse                           10 - 13   0
//	base:packet into a container, with CRC     69   360
//	the same with the CRC that it came with    40   360
//	base:ipconn into a container, with CRC     44   51
//	base:ipconn to UDP, system calls included  65   51, by the kernel 51 again
//	text, JSON                            36 - 39   107, 140
//
// Files are read by one goroutine and worked on by another, so the slower half
// counts; CRCs are checked by the faster. Each of several outputs writes a batch on a
// goroutine of its own. What one processor has read costs another 30 to 60 ns to look
// at. An interface is read by one goroutine, which does all of it: tuples to a
// collector take 0.26 to 0.29 us with the afpacket engine, where a third is
// sendmmsg(2) and a tenth the Go runtime's going to sleep and waking up; they take
// 0.64 to 0.73 us with libpcap, which is a call of C for each packet.
//
// 10 Gbit/s are 3.1 million of these packets a second, or 14.9 million of the
// shortest: a core has 320 or 67 ns for each. By these figures a sensor sends the
// tuples of the former from one core, if the kernel has others to put packets into
// its ring; the latter needs a filter, or several sensors that get the link's flows in
// parts. 100 Gbit/s, with 32 ns, are for hardware that does not send each packet
// through a core.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// Exit statuses.
const (
	exitOK     = 0
	exitFailed = 1 // or an input was damaged
	exitUsage  = 2
)

func main() {
	if isKicker(os.Args) {
		kick(os.Args[1], os.Args[2])
		return
	}
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// run is the program; text of its own (help, version) goes to stdout, words to
// stderr.
func run(args []string, stdout, stderr io.Writer) int {
	// A closed pipe and a file at its limit (ulimit -f) are errors of the write,
	// so that the other outputs are flushed and the counters are printed. To
	// ignore these signals would have kicker commands ignore them too.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE, syscall.SIGXFSZ)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	go func() {
		// After the first signal the next one kills.
		<-ctx.Done()
		stop()
	}()
	cmd := newCommand(stderr)
	cmd.SetArgs(args)
	cmd.SetOut(stdout)
	cmd.SetErr(stderr)
	err := oneDash(cmd.Flags(), args)
	if err != nil {
		err = usageError{err}
	} else {
		err = cmd.ExecuteContext(ctx)
	}
	var usage usageError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &usage):
		fmt.Fprintf(stderr, "nmsgsensor: %v\n", err)
		return exitUsage
	case !errors.Is(err, errReported):
		fmt.Fprintf(stderr, "nmsgsensor: %v\n", remedied(err))
	}
	return exitFailed
}

// usageError is a mistake on the command line.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// errReported says that what went wrong has been told.
var errReported = errors.New("reported")
