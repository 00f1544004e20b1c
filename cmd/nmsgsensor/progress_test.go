package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// openTerminal returns both sides of a pseudo terminal of so many columns.
func openTerminal(t *testing.T, columns uint16) (ours, theirs *os.File) {
	t.Helper()
	ours, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip("no pseudo terminal: ", err)
	}
	t.Cleanup(func() { ours.Close() })
	fd := int(ours.Fd())
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		err = unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: columns})
	}
	if err == nil {
		theirs, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		t.Skip("no pseudo terminal: ", err)
	}
	t.Cleanup(func() { theirs.Close() })
	return ours, theirs
}

// screen is what a terminal shows of what was written to it: it knows the
// control characters that we use.
func screen(t *testing.T, text string, columns int) string {
	t.Helper()
	rows, row, column := [][]byte{nil}, 0, 0
	for i := 0; i < len(text); i++ {
		switch {
		case text[i] == '\r':
			column = 0
		case text[i] == '\n':
			row++
		case strings.HasPrefix(text[i:], "\x1b[J"):
			rows = rows[:row+1]
			rows[row] = rows[row][:min(column, len(rows[row]))]
			i += 2
		case text[i] < ' ':
			t.Fatalf("control character in %q", text[i:])
		default:
			if column == columns {
				row, column = row+1, 0
			}
			for len(rows) <= row {
				rows = append(rows, nil)
			}
			if column < len(rows[row]) {
				rows[row][column] = text[i]
			} else {
				rows[row] = append(rows[row], text[i])
			}
			column++
		}
		for len(rows) <= row {
			rows = append(rows, nil)
		}
	}
	return string(bytes.Join(rows, []byte("\n")))
}

// manyPackets makes a capture of some megabytes.
func manyPackets(t *testing.T) string {
	t.Helper()
	capture := golden(t, "pcap/ether4.pcap")
	const header = 24
	name := filepath.Join(t.TempDir(), "many.pcap")
	many := append(capture[:header:header], bytes.Repeat(capture[header:], 2000)...)
	if err := os.WriteFile(name, many, 0o666); err != nil {
		t.Fatal(err)
	}
	return name
}

// TestProgressComesAndGoesWithoutTrace reads a file into a pipe that takes
// nothing until a line is there.
func TestProgressComesAndGoesWithoutTrace(t *testing.T) {
	const columns = 1000 // more than a line of counters, which would hide what it covers
	ours, theirs := openTerminal(t, columns)
	pipe, reader := makePipe(t, os.O_RDONLY)
	cmd := exec.Command("nmsgsensor", "-q", "-w", pipe, "--stats", "700ms", manyPackets(t))
	cmd.Env = append(os.Environ(), "TERM=xterm", "GORACE=atexit_sleep_ms=0")
	cmd.Stderr = theirs
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 2}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()
	theirs.Close()
	var said words
	heard := make(chan error, 1) // the end of what the terminal got; has room for it
	go func() {
		_, err := io.Copy(&said, ours)
		heard <- err // EIO once nobody has the terminal open
	}()
	// A line of counters at 700 ms, and progress again behind it.
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		_, behind, found := strings.Cut(said.String(), "nmsgsensor: read=")
		if found && strings.Contains(behind, "packets  ") && strings.Contains(behind, " / ") {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("no progress: %q", said.String())
		}
	}
	if last := lastLine(screen(t, said.String(), columns)); !strings.Contains(last, " packets  ") && last != "" {
		t.Errorf("last line %q", last)
	}
	go io.Copy(io.Discard, reader)
	if err := cmd.Wait(); err != nil {
		t.Error(err, said.String())
	}
	<-heard
	if left := screen(t, said.String(), columns); strings.ContainsAny(left, "[]%") ||
		!strings.HasPrefix(left, "nmsgsensor: read=") || lastLine(left) != "" {
		t.Errorf("left on the screen:\n%s", left)
	}
}

func lastLine(text string) string { return text[strings.LastIndexByte(text, '\n')+1:] }

func TestProgressIsShownWhereItDisturbsNothing(t *testing.T) {
	t.Setenv("TERM", "xterm")
	_, theirs := openTerminal(t, 80)
	file := []input{{name: "../../testdata/pcap/ether4.pcap"}}
	nothing := ""
	null, err := os.OpenFile("/dev/null", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	_, pipe, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer pipe.Close()
	defer func(stdout *os.File) { os.Stdout = stdout }(os.Stdout)
	for _, c := range []struct {
		name   string
		stderr io.Writer
		stdout *os.File
		opt    options
		want   bool
	}{
		{"files to files", theirs, theirs, options{inputs: file, quiet: true, write: "out"}, true},
		{"text to a file", theirs, null, options{inputs: file}, true},
		{"text to a pager", theirs, pipe, options{inputs: file}, false},
		{"text to standard output", theirs, theirs, options{inputs: file}, false},
		{"no terminal", new(bytes.Buffer), null, options{inputs: file, quiet: true}, false},
		{"a file for standard error", null, null, options{inputs: file, quiet: true}, false},
		{"text to the terminal", theirs, null, options{inputs: file, text: theirs.Name()}, false},
		{"an input without end", theirs, null, options{inputs: []input{{name: "lo", kind: liveInput}}, quiet: true}, false},
		{"a kicker that may say something", theirs, null, options{inputs: file, quiet: true, write: "out", kicker: &nothing}, false},
	} {
		os.Stdout = c.stdout
		if got := newProgress(c.stderr, &c.opt) != nil; got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
	t.Setenv("TERM", "dumb")
	if newProgress(theirs, &options{inputs: file, quiet: true}) != nil {
		t.Error("a terminal that can't erase")
	}
}

// TestProgressIsErasedFromANarrowerTerminal: 100 columns are three rows of 40.
func TestProgressIsErasedFromANarrowerTerminal(t *testing.T) {
	ours, theirs := openTerminal(t, 40)
	p := &progress{term: theirs, shown: 100}
	p.erase()
	got := make([]byte, 16)
	n, err := ours.Read(got)
	if want := "\r\x1b[2A\x1b[J"; err != nil || string(got[:n]) != want {
		t.Errorf("%q, %v, want %q", got[:n], err, want)
	}
}
