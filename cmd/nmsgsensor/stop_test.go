package main

import (
	"bytes"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// TestStopAtAnyMoment ends a sensor that has inputs and outputs of every kind
// under load, from its first millisecond on: it ends well, its counters add up,
// and its files are whole.
func TestStopAtAnyMoment(t *testing.T) {
	enterNamespace(t)
	load(t)
	const rounds, latest = 25, 400 * time.Millisecond
	for round := range rounds {
		dir := t.TempDir()
		in := func(name string) string { return filepath.Join(dir, name) }
		args := []string{"-q", "-i", "vb", "-l", "127.0.0.1/9440", "-r", "-", "--mirror", "--flush", "20ms", "--metrics", "127.0.0.1:9431",
			"-s", "127.0.0.1/9441", "-s", "localhost/9442", "-s", "127.0.0.1/9443,500", "--packet-socket", "127.0.0.1/9441",
			"-w", in("packet"), "-W", in("ipconn"), "-J", in("json"), "-o", in("text")}
		if round%2 == 1 {
			args = append(args, "-k", "true", "-c", "1000", "-z")
		}
		for range 20 {
			args = append(args, "../../testdata/pcap/ether4.pcap", "../../testdata/nmsg/plain.nmsg", "../../testdata/pcap/sections.pcapng")
		}
		cmd := exec.Command("nmsgsensor", args...)
		cmd.Env = append(os.Environ(), confinedEnv(), "GORACE=atexit_sleep_ms=0")
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		stdin, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1) // its end, once; has room for it
		go func() { ended <- cmd.Wait() }()
		moment := time.After(rand.N(latest))
		containers := fedPipe(t)
		for waiting := true; waiting; {
			select {
			case <-moment:
				waiting = false
			default:
				containers.Seek(0, 0)
				containers.WriteTo(stdin)
			}
		}
		cmd.Process.Signal(syscall.SIGTERM)
		err = <-ended
		if stderr.Len() == 0 && cmd.ProcessState.Sys().(syscall.WaitStatus).Signaled() {
			if left, _ := os.ReadDir(dir); len(left) > 0 {
				t.Errorf("killed by the signal with %v", left)
			}
			continue // before it had a handler, and before anything was done
		}
		if err != nil {
			t.Fatalf("round %d: %v: %s", round, err, &stderr)
		}
		addsUp(t, in, countersOf(stderr.String())+" ")
	}
}

// load sends frames and datagrams until the test ends.
func load(t *testing.T) {
	t.Helper()
	conn, err := net.Dial("udp4", "127.0.0.1:9440")
	if err != nil {
		t.Fatal(err)
	}
	collector, err := net.ListenPacket("udp4", "127.0.0.1:9441") // the others are not there
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(); collector.Close() })
	container := golden(t, "nmsg/ipconn.nmsg")
	send, frames := sender(t, "va"), framesOf(t, "ether4.pcap")
	pace := time.NewTicker(time.Millisecond)
	var sending sync.WaitGroup
	over := make(chan struct{}) // closed at the end; nothing is sent
	t.Cleanup(func() {
		close(over)
		sending.Wait()
	})
	sending.Go(func() {
		defer pace.Stop()
		for i := 0; ; i++ {
			select {
			case <-over:
				return
			case <-pace.C:
			}
			for range 10 {
				send(frames[i%len(frames)])
			}
			conn.Write(container) // refused while no sensor is there
		}
	})
}

// addsUp holds the counters against each other and against the files.
func addsUp(t *testing.T, in func(string) string, line string) {
	t.Helper()
	delivered := number(t, line, "delivered")
	if read, sum := sums(t, line); read != sum {
		t.Errorf("%d of %d: %s", sum, read, line)
	}
	for _, name := range []string{in("ipconn"), in("json"), in("text"), "127.0.0.1/9441", "localhost/9442", "127.0.0.1/9443"} {
		if given := number(t, line, "out."+name+".payloads") + number(t, line, "out."+name+".dropped"); given != delivered {
			t.Errorf("%s was given %d of %d: %s", name, given, delivered, line)
		}
	}
	for _, name := range []string{in("packet"), in("ipconn"), in("json"), in("text")} {
		names, _ := filepath.Glob(name + "*")
		n := 0
		for _, file := range names {
			n += wholeIn(t, file)
		}
		if n != number(t, line, "out."+name+".payloads") {
			t.Errorf("%d payloads in %v: %s", n, names, line)
		}
	}
	if parts, _ := filepath.Glob(in(".*.part")); len(parts) > 0 {
		t.Errorf("left %v", parts)
	}
}

// wholeIn is the number of payloads in a file, which must end with a whole one.
func wholeIn(t *testing.T, file string) int {
	t.Helper()
	b, err := os.ReadFile(file)
	switch base := filepath.Base(file); {
	case err != nil:
		t.Error(err)
	case strings.HasPrefix(base, "json") && bytes.HasSuffix(b, []byte("}}\n")):
		return bytes.Count(b, []byte("\n"))
	case strings.HasPrefix(base, "text") && bytes.HasSuffix(b, []byte(")\n")):
		return bytes.Count(b, []byte(" --> "))
	case strings.HasPrefix(base, "json"), strings.HasPrefix(base, "text"):
		t.Errorf("%s ends with %q", file, b[max(0, len(b)-40):])
	default:
		return payloadsOf(t, file)
	}
	return 0
}
