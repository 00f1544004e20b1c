package main

import (
	"bufio"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// kicker runs a command with the name of each file that is whole. The commands
// are started by a process of its own, which is there before the first packet: so
// the sensor itself needs to start none, and its filter of system calls (confine)
// neither lets it nor is passed on to the commands.
type kicker struct {
	process *exec.Cmd
	names   *os.File // the writing end of the process's standard input
	command string
	log     *slog.Logger
}

// kickerName is how the program is called, with a command and the form of the log
// as its arguments, to be that process.
const kickerName = "nmsgsensor-kicker"

// kickerTime is how long the end waits for kicker commands, and pipeTime how long
// a name may wait for the process to take it.
const (
	kickerTime = 10 * time.Second
	pipeTime   = time.Second
)

// startKicker starts the process as whoever we are now.
func startKicker(command, logFormat string, log *slog.Logger) (*kicker, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	// libpcap's sockets are open for whatever is executed, and would live as long.
	unix.CloseRange(3, ^uint(0), unix.CLOSE_RANGE_CLOEXEC)
	k := &kicker{names: w, command: command, log: log}
	k.process = &exec.Cmd{Path: "/proc/self/exe", Args: []string{kickerName, command, logFormat}, Stdin: r, Stderr: os.Stderr}
	// A group of its own keeps a terminal's signals from it and from the commands.
	k.process.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := k.process.Start(); err != nil {
		w.Close()
		return nil, fmt.Errorf("start the kicker: %w", err)
	}
	return k, nil
}

// done has the command run. It has the form of output.Rotation.Done.
func (k *kicker) done(name string) {
	k.names.SetWriteDeadline(time.Now().Add(pipeTime))
	if _, err := k.names.WriteString(name + "\x00"); err != nil {
		k.log.Warn("kicker command failed", "command", k.command, "cause", fmt.Errorf("%s: %w", name, err))
	}
}

// wait waits for the commands that still run, but no longer than limit; those
// go on by themselves.
func (k *kicker) wait(limit time.Duration) {
	k.names.Close()
	ended := make(chan struct{}) // closed when the process has; nothing is sent
	go func() {
		k.process.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-time.After(limit):
	}
}

// kick is the process: it runs the command for each name on standard input, and
// ends when no more will come and all commands have ended.
func kick(command, logFormat string) {
	// What stops the sensor comes here too where it is sent to a whole service. The
	// last name is still to come then; that none comes any more is told by the pipe.
	signal.Notify(make(chan os.Signal, 1), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGUSR1)
	log := newLog(os.Stderr, logFormat)
	var commands sync.WaitGroup
	defer commands.Wait()
	for in := bufio.NewReader(os.Stdin); ; {
		name, err := in.ReadString(0)
		if err != nil {
			return
		}
		name = strings.TrimSuffix(name, "\x00")
		commands.Go(func() {
			// The shell gets the name as an argument, so that no character of it
			// means anything.
			cmd := exec.Command("/bin/sh", "-c", command+` "$1"`, "sh", name)
			cmd.Stderr = os.Stderr
			if err := cmd.Run(); err != nil {
				log.Warn("kicker command failed", "command", command, "cause", fmt.Errorf("%s: %w", name, err))
			}
		})
	}
}

// isKicker says whether the program was called to be that process.
func isKicker(args []string) bool {
	return len(args) == 3 && filepath.Base(args[0]) == kickerName
}
