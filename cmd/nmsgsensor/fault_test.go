package main

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"nmsgsensor/encode"
)

// traced returns the program with these arguments under strace(1), which makes
// system calls fail as inject says: see there. With a path only calls for this
// file do.
func traced(t *testing.T, inject, path string, args ...string) *exec.Cmd {
	t.Helper()
	if out, err := exec.Command("strace", "-o", os.DevNull, "true").CombinedOutput(); err != nil {
		t.Skipf("strace: %v: %s", err, out)
	}
	call, _, _ := strings.Cut(inject, ":")
	front := []string{"-f", "-qq", "-o", os.DevNull, "-e", "trace=" + call, "-e", "inject=" + inject, "-e", "signal=none"}
	if path != "" {
		front = append(front, "-P", path)
	}
	cmd := exec.Command("strace", append(append(front, "nmsgsensor", "-q"), args...)...)
	cmd.Env = append(os.Environ(), confinedEnv(), "GORACE=atexit_sleep_ms=0")
	return cmd
}

// fed is what the tests feed through a pipe: so many payloads, of which so many
// have a tuple.
const fed, fedTuples = 84, 39

func fedPipe(t *testing.T) *bytes.Reader {
	t.Helper()
	return bytes.NewReader(bytes.Repeat(golden(t, "nmsg/plain.nmsg"), 3))
}

// TestFaultsOfDatagrams: what was not sent is dropped and counted by its reason,
// what was counted as sent has come, and no fault ends the sensor. Where each
// second call of a thread fails, which is which is not known beforehand.
func TestFaultsOfDatagrams(t *testing.T) {
	const all, none, some = fedTuples, 0, -1
	for _, c := range []struct {
		inject string
		comes  int
		reason string // for what does not come, or what was tried again; "" for none
	}{
		{"sendmmsg:error=EINTR:when=1+2", all, ""},
		{"sendmmsg:error=EAGAIN", none, "full"},
		{"sendmmsg:error=ENOBUFS", none, "full"},
		{"sendmmsg:error=ENOBUFS:when=1+2", some, "full"},
		{"sendmmsg:error=ENOMEM", none, "full"},
		{"sendmmsg:error=ECONNREFUSED", none, "refused"},
		{"sendmmsg:error=ECONNREFUSED:when=1+2", all, "refused"},
		{"sendmmsg:error=EHOSTUNREACH", none, "unreachable"},
		{"sendmmsg:error=ENETUNREACH", none, "unreachable"},
		{"sendmmsg:error=ENETDOWN", none, "unreachable"},
		{"sendmmsg:error=EMSGSIZE", none, "too_large"},
		{"sendmmsg:error=EPERM", none, "other"},
		{"sendmmsg:error=EIO", none, "other"},
		{"socket:error=EMFILE", none, "other"},
		{"setsockopt:error=ENOBUFS", none, "full"},
		{"connect:error=ENETUNREACH", none, "unreachable"},
	} {
		t.Run(c.inject, func(t *testing.T) {
			conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			port := strconv.Itoa(conn.LocalAddr().(*net.UDPAddr).Port)
			cmd := traced(t, c.inject, "", "--unbuffered", "-s", "127.0.0.1/"+port, "-r", "-")
			cmd.Stdin = fedPipe(t)
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			line := countersOf(string(out))
			counter := func(name string) int { return number(t, line+" ", "out.127.0.0.1/"+port+"."+name) }
			payloads, dropped := counter("payloads"), counter("dropped")
			if payloads+dropped != fedTuples || c.comes != some && payloads != c.comes {
				t.Error(line)
			}
			if c.reason == "" && strings.Contains(line, "/"+port+".refused=") {
				t.Error(line)
			}
			if c.reason != "" && (counter(c.reason) == 0 || c.comes != all && counter(c.reason) != dropped) {
				t.Error(line)
			}
			if come, lost := arrived(conn); come != payloads || lost > dropped || lost == 0 && c.comes == some {
				t.Errorf("%d came and %d are missing by their numbers: %s", come, lost, line)
			}
		})
	}
}

// arrived is what waits in a collector's socket: so many payloads, and so many
// containers that are missing between them.
func arrived(conn net.PacketConn) (payloads, lost int) {
	var d encode.Decoder
	buf := make([]byte, 1<<16)
	for {
		conn.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
		n, from, err := conn.ReadFrom(buf)
		if err != nil {
			return payloads, int(d.Lost())
		}
		d.Decode(buf[:n], from.(*net.UDPAddr).AddrPort(), time.Now(), func(*encode.Payload) error { payloads++; return nil })
	}
}

// TestFaultsOfFiles: the file holds what was counted as written, whole, the rest
// is dropped and counted by its reason, and what is wrong at the end is told.
func TestFaultsOfFiles(t *testing.T) {
	for _, c := range []struct {
		inject string
		status int
		kept   int
		reason string
		words  string
	}{
		{"write:error=EINTR:when=1+2", 0, fed, "", ""},
		{"write:error=ENOSPC", 0, 0, "no_space", "no space left on device"},
		{"write:error=EDQUOT", 0, 0, "no_space", "disk quota exceeded"},
		{"write:error=EIO", 0, 0, "other", "input/output error"},
		{"write:error=EFBIG", 0, 0, "too_large", "file too large"},
		{"openat:error=ENOSPC", 0, 0, "no_space", "no space left on device"},
		{"openat:error=EMFILE", 1, 0, "other", "too many open files"},
		{"openat:error=EACCES", 1, 0, "other", "permission denied"},
		{"fstat:error=EIO", 0, fed, "", ""},
	} {
		name := filepath.Join(t.TempDir(), "out.nmsg")
		cmd := traced(t, c.inject, name, "--unbuffered", "-w", name, "-r", "-")
		cmd.Stdin = fedPipe(t)
		out, _ := cmd.CombinedOutput()
		line := countersOf(string(out)) + " "
		if status := cmd.ProcessState.ExitCode(); status != c.status || !strings.Contains(string(out), c.words) {
			t.Errorf("status %d: %s", status, out)
		}
		if c.status != 0 {
			continue // before anything was read
		}
		payloads, dropped := number(t, line, "out."+name+".payloads"), number(t, line, "out."+name+".dropped")
		if payloads != c.kept || payloads+dropped != fed {
			t.Error(line)
		}
		if c.reason != "" && number(t, line, "out."+name+"."+c.reason) != dropped {
			t.Error(line)
		}
		if n := payloadsOf(t, name); n != payloads {
			t.Errorf("%d payloads in the file: %s", n, line)
		}
	}
}

// payloadsOf is how many there are in a file, all of which must be whole.
func payloadsOf(t *testing.T, name string) int {
	t.Helper()
	if st, err := os.Stat(name); err != nil || st.Size() == 0 {
		return 0
	}
	out, err := exec.Command("nmsgsensor", "-q", "-r", name).CombinedOutput()
	if err != nil {
		t.Errorf("%v: %s", err, out)
	}
	return number(t, countersOf(string(out)), "nmsgsensor: read")
}

// TestFaultsOfReads: what passes is tried again; what does not is told, and ends
// that input alone.
func TestFaultsOfReads(t *testing.T) {
	bad, err := filepath.Abs("../../testdata/nmsg/plain.nmsg")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		inject string
		status int
		read   int
		words  string
	}{
		{"read:error=EINTR:when=1+2", 0, 56, ""},
		{"read:error=EAGAIN:when=1+2", 0, 56, ""},
		{"read:error=EIO", 1, 28, "input/output error"},
		{"openat:error=EMFILE", 1, 28, "too many open files"},
		{"openat:error=EACCES", 1, 28, "permission denied"},
	} {
		other := filepath.Join(t.TempDir(), "good.nmsg")
		b, err := os.ReadFile(bad)
		if err == nil {
			err = os.WriteFile(other, b, 0o666)
		}
		if err != nil {
			t.Fatal(err)
		}
		cmd := traced(t, c.inject, bad, "-r", bad, "-r", other)
		out, _ := cmd.CombinedOutput()
		if status := cmd.ProcessState.ExitCode(); status != c.status || !strings.Contains(string(out), c.words) {
			t.Errorf("%s: status %d: %s", c.inject, status, out)
		}
		if n := number(t, countersOf(string(out)), "nmsgsensor: read"); n != c.read {
			t.Errorf("%s: read %d: %s", c.inject, n, out)
		}
	}
}

// TestFaultsOfListening: the socket is read on, and every datagram comes.
func TestFaultsOfListening(t *testing.T) {
	for _, inject := range []string{"recvmsg:error=ENOMEM:when=1+2", "recvmsg:error=ENOBUFS:when=1+2", "recvmsg:error=ECONNREFUSED:when=1+2", "recvmsg:error=EINTR:when=1+2"} {
		probe, err := net.ListenPacket("udp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		port := strconv.Itoa(probe.LocalAddr().(*net.UDPAddr).Port)
		probe.Close()
		sensor := startCommand(t, traced(t, inject, "", "-l", "127.0.0.1/"+port, "-c", strconv.Itoa(fed)))
		if out, err := exec.Command("nmsgsensor", "-q", "--unbuffered", "--packet-socket", "127.0.0.1/"+port, "-r", "../../testdata/nmsg/plain.nmsg",
			"-r", "../../testdata/nmsg/plain.nmsg", "-r", "../../testdata/nmsg/plain.nmsg").CombinedOutput(); err != nil {
			t.Fatalf("%s", out)
		}
		if err := <-sensor.ended; err != nil || number(t, countersOf(sensor.stderr.String()), "nmsgsensor: read") != fed {
			t.Errorf("%s: %v: %s", inject, err, &sensor.stderr)
		}
		sensor.notify.Close()
	}
}

// TestFaultsOfCapturing: whatever fails now and then, every frame is read, or
// counted as dropped.
func TestFaultsOfCapturing(t *testing.T) {
	for _, inject := range []string{"poll:error=EINTR:when=1+2", "poll:error=ENOMEM:when=3+3"} {
		t.Run(inject, func(t *testing.T) {
			enterNamespace(t)
			const n = 500
			sensor := startCommand(t, traced(t, inject, "", "-i", "vb", "-o", "/dev/null", "-c", strconv.Itoa(n)))
			send, frame := sender(t, "va"), framesOf(t, "ether4.pcap")[0]
			for range n {
				send(frame)
			}
			if err := <-sensor.ended; err != nil || number(t, countersOf(sensor.stderr.String()), "nmsgsensor: read") != n {
				t.Errorf("%v: %s", err, &sensor.stderr)
			}
		})
	}
}
