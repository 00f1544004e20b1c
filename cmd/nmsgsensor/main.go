// Command nmsgsensor extracts the 5-tuples of TCP and UDP packets from network
// interfaces, captures and NMSG streams, prints them and sends them to NMSG
// collectors.
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
