package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// feedPipe makes a named pipe and fills in what the sensor reads first.
func feedPipe(t *testing.T) (name string, feed func()) {
	t.Helper()
	name, in := makePipe(t, os.O_RDWR) // which never ends
	containers := golden(t, "nmsg/plain.nmsg")
	feed = func() {
		if _, err := in.Write(containers); err != nil {
			t.Fatal(err)
		}
	}
	feed()
	return name, feed
}

// TestHangupRotates: SIGHUP ends the files that are there, with all that has come,
// and no file that is not.
func TestHangupRotates(t *testing.T) {
	pipe, feed := feedPipe(t)
	base := filepath.Join(t.TempDir(), "base")
	sensor := startSensor(t, "-q", "--flush", "1h", "-k", "echo kicked >&2; true", "-w", base, "-J", base+".lines", "-r", pipe)
	const payloads, rounds = 28, 5
	names := func() []string {
		all, _ := filepath.Glob(base + "*")
		return all
	}
	for round := 1; round <= rounds; round++ {
		if round > 1 {
			feed()
		}
		sensor.awaits("read", round*payloads)
		sensor.cmd.Process.Signal(syscall.SIGHUP)
		for end := time.Now().Add(patience); len(names()) < 2*round; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("round %d: %v", round, names())
			}
		}
	}
	sensor.cmd.Process.Signal(syscall.SIGHUP)
	sensor.stop(os.Interrupt)
	sensor.says("kicked", 2*rounds)
	if all := names(); len(all) != 2*rounds {
		t.Errorf("%v", all)
	}
	for _, name := range names() {
		if strings.HasSuffix(name, ".json") {
			continue
		}
		if n := payloadsOf(t, name); n != payloads {
			t.Errorf("%s: %d payloads", name, n)
		}
	}
}

// TestHangupEndsWhereNothingRotates, also where nothing comes.
func TestHangupEndsWhereNothingRotates(t *testing.T) {
	pipe, _ := feedPipe(t)
	sensor := startSensor(t, "-q", "-r", pipe)
	sensor.awaits("read", 28)
	sensor.stop(syscall.SIGHUP)
}
