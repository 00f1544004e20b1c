package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestShortWritesLeaveWholeContainers: a file at its limit takes a part of the
// last one, which is taken off again.
func TestShortWritesLeaveWholeContainers(t *testing.T) {
	for kib := range 4 {
		name := filepath.Join(t.TempDir(), "out.nmsg")
		cmd := exec.Command("bash", "-c", "ulimit -f "+strconv.Itoa(kib)+`; exec nmsgsensor -q --unbuffered -w "$1" -r -`, "bash", name)
		cmd.Stdin = fedPipe(t)
		out, err := cmd.CombinedOutput()
		line := countersOf(string(out)) + " "
		payloads, dropped := number(t, line, "out."+name+".payloads"), number(t, line, "out."+name+".dropped")
		if err != nil || payloads+dropped != fed || dropped == 0 || dropped != number(t, line, "out."+name+".too_large") || payloads != payloadsOf(t, name) {
			t.Errorf("%d KiB: %v: %s", kib, err, out)
		}
	}
}

// TestOutOfDescriptors leaves a sensor none to open the next file with, nor to
// answer, and gives them back.
func TestOutOfDescriptors(t *testing.T) {
	pipe, write := feedPipe(t)
	base := filepath.Join(t.TempDir(), "base")
	sensor := startSensor(t, "-q", "--flush", "10ms", "-k", "", "-w", base, "-r", pipe)
	sensor.awaits("out."+base+".payloads", 28)
	var before unix.Rlimit
	if err := unix.Prlimit(sensor.cmd.Process.Pid, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 3, Max: 1024}, &before); err != nil {
		t.Skip("limits can't be set: ", err)
	}
	sensor.cmd.Process.Signal(syscall.SIGHUP)
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		parts, _ := filepath.Glob(filepath.Join(filepath.Dir(base), ".*.part"))
		if len(parts) == 0 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("%v: %s", parts, &sensor.stderr)
		}
	}
	write()
	sensor.awaits("out."+base+".dropped", 28)
	if err := unix.Prlimit(sensor.cmd.Process.Pid, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 1024, Max: 1024}, nil); err != nil {
		t.Fatal(err)
	}
	fed := 2 * 28
	for end := time.Now().Add(patience); !strings.Contains(sensor.stderr.String(), "file takes payloads again"); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal(&sensor.stderr)
		}
		write()
		fed += 28
	}
	sensor.awaits("read", fed)
	line := sensor.stop(os.Interrupt)
	names, _ := filepath.Glob(base + ".*.nmsg")
	n := 0
	for _, name := range names {
		n += payloadsOf(t, name)
	}
	if payloads := number(t, line, "out."+base+".payloads"); n != payloads || payloads+number(t, line, "out."+base+".dropped") != fed {
		t.Errorf("%d payloads in %d files: %s", n, len(names), line)
	}
}

// TestBlockedReader: a pipe that nobody reads for a while holds a sensor up. What
// the kernel drops meanwhile is counted, and nothing else is lost.
func TestBlockedReader(t *testing.T) {
	enterNamespace(t)
	pipe, reader := makePipe(t, os.O_RDONLY)
	sensor := startSensor(t, "-q", "-i", "vb", "-B", "64", "--flush", "1ms", "-o", pipe)
	send, frame := sender(t, "va"), framesOf(t, "ether4.pcap")[0]
	const n = 5000
	for range n {
		send(frame)
	}
	awaitBytes(t, reader)
	text := make(chan []byte, 1) // all of it, once; has room for it
	go func() {
		var all bytes.Buffer
		all.ReadFrom(reader)
		text <- all.Bytes()
	}()
	line := sensor.stop(os.Interrupt)
	read, dropped := number(t, line, "nmsgsensor: read"), number(t, line, "in.vb.kernel_dropped")
	lines := bytes.Count(<-text, []byte(" --> "))
	if read+dropped != n || lines != read || lines != number(t, line, "out."+pipe+".payloads") || dropped == 0 {
		t.Errorf("%d lines: %s", lines, line)
	}
}
