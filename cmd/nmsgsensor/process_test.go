package main

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// process is the program at work.
type process struct {
	t      *testing.T
	cmd    *exec.Cmd
	stderr words
	notify *net.UnixConn
	ended  chan error // its end, once; has room for it
}

// words is what a process has said so far.
type words struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (w *words) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.buf.Write(b)
}

func (w *words) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.buf.String()
}

// patience is how long a test waits for what must come.
const patience = time.Minute

// startSensor starts the program and waits until it says that it is ready, in
// the way of sd_notify(3).
func startSensor(t *testing.T, args ...string) *process {
	t.Helper()
	return startCommand(t, exec.Command("nmsgsensor", args...))
}

// startCommand starts a command that starts the program, in a process group of
// its own.
func startCommand(t *testing.T, cmd *exec.Cmd) *process {
	t.Helper()
	path := fmt.Sprintf("@%s/%d", t.Name(), os.Getpid()) // abstract, see unix(7): any user can reach it
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	p := &process{t: t, cmd: cmd, notify: conn, ended: make(chan error, 1)}
	p.cmd.Stderr = &p.stderr
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	p.cmd.Env = append(os.Environ(), confinedEnv(), "GORACE=atexit_sleep_ms=0", "NOTIFY_SOCKET="+path)
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.cmd.Process.Kill() })
	go func() {
		p.ended <- p.cmd.Wait()
		conn.SetReadDeadline(time.Now().Add(time.Second)) // no more will come
	}()
	conn.SetReadDeadline(time.Now().Add(patience))
	p.hears("READY=1")
	return p
}

// hears takes messages of sd_notify(3) up to this one.
func (p *process) hears(want string) {
	p.t.Helper()
	buf := make([]byte, 100)
	for {
		n, err := p.notify.Read(buf)
		if err != nil {
			p.t.Fatalf("%s: %v: %s", want, err, &p.stderr)
		}
		if string(buf[:n]) == want {
			return
		}
	}
}

// stop sends a signal and returns the last line, of counters.
func (p *process) stop(sig os.Signal) string {
	p.t.Helper()
	p.cmd.Process.Signal(sig)
	select {
	case err := <-p.ended:
		if err != nil {
			p.t.Errorf("%v: %s", err, &p.stderr)
		}
	case <-time.After(patience):
		p.cmd.Process.Signal(syscall.SIGQUIT) // it says where it is
		p.t.Fatalf("does not stop: %v: %s", <-p.ended, &p.stderr)
	}
	return countersOf(p.stderr.String())
}

// countersOf is the last line.
func countersOf(text string) string {
	text = strings.TrimSpace(text)
	return text[strings.LastIndex(text, "\n")+1:]
}

// number returns a counter of a line of counters.
func number(t *testing.T, line, key string) int {
	t.Helper()
	m := regexp.MustCompile(`(?:^| )` + regexp.QuoteMeta(key) + `=(\d+)`).FindStringSubmatch(line)
	if m == nil {
		t.Fatalf("no %s in %s", key, line)
	}
	n, _ := strconv.Atoi(m[1])
	return n
}

// sums returns what a line of counters says was read, and the sum of delivered and
// all reasons.
func sums(t *testing.T, line string) (read, sum int) {
	t.Helper()
	for _, m := range regexp.MustCompile(` ([a-z_]+)=(\d+)`).FindAllStringSubmatch(line, -1) {
		if n, _ := strconv.Atoi(m[2]); !slices.Contains([]string{"read", "cut", "unique_evicted"}, m[1]) {
			sum += n
		}
	}
	return number(t, line, "nmsgsensor: read"), sum
}

// needs skips a test where a program is not on PATH.
func needs(t *testing.T, program string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		t.Skip("needs " + program)
	}
}

// makePipe makes a named pipe and opens it, without waiting for the other side.
func makePipe(t *testing.T, flags int) (name string, f *os.File) {
	t.Helper()
	name = filepath.Join(t.TempDir(), "pipe")
	if err := unix.Mkfifo(name, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(name, flags|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return name, f
}

// awaitBytes waits until something is in a pipe. Before anybody has opened it to
// write, a reader is at its end.
func awaitBytes(t *testing.T, reader *os.File) {
	t.Helper()
	reader.SetReadDeadline(time.Now().Add(patience))
	conn, err := reader.SyscallConn()
	if err == nil {
		err = conn.Read(func(fd uintptr) bool {
			n, _ := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
			return n > 0
		})
	}
	if err != nil {
		t.Fatal("nothing was written: ", err)
	}
	reader.SetReadDeadline(time.Time{})
}

// golden reads a file of the project's testdata folder.
func golden(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile("../../testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// awaits asks for counters until one has a value, and returns the line of them.
func (p *process) awaits(key string, n int) string {
	p.t.Helper()
	var line string
	for end := time.Now().Add(patience); time.Now().Before(end); {
		before := strings.Count(p.stderr.String(), "nmsgsensor: read=")
		p.cmd.Process.Signal(syscall.SIGUSR1)
		for strings.Count(p.stderr.String(), "nmsgsensor: read=") == before && time.Now().Before(end) {
			time.Sleep(time.Millisecond)
		}
		text := p.stderr.String()
		line, _, _ = strings.Cut(text[strings.LastIndex(text, "nmsgsensor: read=")+len("nmsgsensor:"):], "\n")
		if strings.Contains(line+" ", " "+key+"="+strconv.Itoa(n)+" ") {
			return line
		}
	}
	p.t.Fatalf("%s is not %d: %s", key, n, &p.stderr)
	return ""
}

// says waits for words on standard error, which must be there that many times.
func (p *process) says(text string, times int) {
	p.t.Helper()
	for end := time.Now().Add(patience); strings.Count(p.stderr.String(), text) < times; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			p.t.Fatalf("not %d times %q: %s", times, text, &p.stderr)
		}
	}
	if n := strings.Count(p.stderr.String(), text); n != times {
		p.t.Errorf("%d times %q: %s", n, text, &p.stderr)
	}
}
