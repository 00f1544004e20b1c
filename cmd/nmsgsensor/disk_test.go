package main

import (
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestFullDiskLive fills the disk that a sensor writes to and frees it again.
func TestFullDiskLive(t *testing.T) {
	runtime.LockOSThread() // never unlocked: the thread is of no use to others
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		t.Skip("no mount namespace to be had: ", err)
	}
	dir := t.TempDir()
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		t.Skip("no disk to be had: ", err)
	}
	if err := unix.Mount("", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Skip("no disk to be had: ", err)
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	pipe, write := feedPipe(t)
	out := filepath.Join(dir, "out.nmsg")
	sensor := startSensor(t, "-q", "--flush", "20ms", "-r", pipe, "-w", out)
	feed := func(until string) {
		for end := time.Now().Add(patience); !strings.Contains(sensor.stderr.String(), until); time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("no %q: %s", until, &sensor.stderr)
			}
			write()
		}
	}
	feed("file does not take payloads")
	if err := unix.Mount("", dir, "", unix.MS_REMOUNT, "size=64m"); err != nil {
		t.Fatal(err)
	}
	feed("file takes payloads again")
	line := sensor.stop(os.Interrupt)
	sensor.says("file does not take payloads", 1)
	sensor.says("file takes payloads again", 1)
	if !strings.Contains(line, "no_space=") || strings.Contains(line, "dropped=0") {
		t.Error(line)
	}
	if n := payloadsOf(t, out); n != number(t, line, "out."+out+".payloads") {
		t.Errorf("%d payloads in the file: %s", n, line)
	}
}

// TestKilledFileIsWhole: at whatever moment the program is killed, the file is
// containers one behind the other, of which only the last may be cut.
func TestKilledFileIsWhole(t *testing.T) {
	args := []string{"-q", "-w", ""}
	for range 400 {
		args = append(args, "../../testdata/pcap/jumbo.pcap")
	}
	for round := range 10 {
		out := filepath.Join(t.TempDir(), "out.nmsg")
		args[2] = out
		cmd := exec.Command("nmsgsensor", args...)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		for end := time.Now().Add(patience); time.Now().Before(end); {
			if st, err := os.Stat(out); err == nil && st.Size() > int64(round)<<20 {
				break
			}
		}
		cmd.Process.Kill()
		cmd.Wait()
		b, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		whole := 0
		for len(b) >= 10 && len(b) >= 10+int(binary.BigEndian.Uint32(b[6:])) {
			if string(b[:4]) != "NMSG" {
				t.Fatalf("round %d: %.20x behind %d containers", round, b, whole)
			}
			b = b[10+binary.BigEndian.Uint32(b[6:]):]
			whole++
		}
		if whole < round || len(b) > 1<<20 || len(b) > 4 && string(b[:4]) != "NMSG" {
			t.Errorf("round %d: %d containers and %d bytes", round, whole, len(b))
		}
	}
}
