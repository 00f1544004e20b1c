package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
)

// ip runs ip(8).
func ip(t *testing.T, args string) {
	t.Helper()
	if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v: %s", args, err, out)
	}
}

// get asks the sensor's HTTP server, on port 9431.
func get(t *testing.T, path string) (status int, body string) {
	t.Helper()
	conn, err := net.Dial("tcp", "127.0.0.1:9431") // on this thread, in the test's namespace
	if err != nil {
		t.Fatal(err)
	}
	dial := func(context.Context, string, string) (net.Conn, error) { return conn, nil }
	client := http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}
	resp, err := client.Get("http://127.0.0.1:9431" + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// TestInterfaceComesBack deletes the interface that is captured, makes it again,
// and finds every packet that was sent while it was there, also those that wait
// in the ring when it goes.
func TestInterfaceComesBack(t *testing.T) { eachEngine(t, testInterfaceComesBack) }

func testInterfaceComesBack(t *testing.T) {
	sensor := startSensor(t, "-q", "-i", "vb", "-i", "lo", "-o", "/dev/null", "--metrics", "127.0.0.1:9431")
	frame := framesOf(t, "ether4.pcap")[0]
	const rounds, each = 3, 50
	for round := 1; round <= rounds; round++ {
		send := sender(t, "va")
		for range each {
			send(frame)
		}
		ip(t, "link del va")
		sensor.says(`interface is away; waiting for it" interface=vb cause="`, round)
		sensor.awaits("in.vb.bytes", round*each*len(frame))
		if status, body := get(t, "/healthz"); status != http.StatusServiceUnavailable || body != "interface vb is away\n" {
			t.Errorf("%d %s", status, body)
		}
		ip(t, "link add va type veth peer name vb")
		ip(t, "link set va up")
		ip(t, "link set vb up")
		sensor.says("interface is back", round)
		sensor.awaits("in.vb.returns", round)
	}
	if status, body := get(t, "/healthz"); status != http.StatusOK {
		t.Errorf("%d %s", status, body)
	}
	sensor.stop(os.Interrupt)
}

// TestInterfaceGoesDown: libpcap reads on as if nothing had happened.
func TestInterfaceGoesDown(t *testing.T) { eachEngine(t, testInterfaceGoesDown) }

func testInterfaceGoesDown(t *testing.T) {
	ip(t, "link set vb down")
	sensor := startSensor(t, "-q", "-i", "vb", "-o", "/dev/null")
	sensor.says("interface is away", 1)
	ip(t, "link set vb up")
	sensor.says("interface is back", 1)
	ip(t, "link set vb down")
	sensor.says("interface is away", 2)
	ip(t, "link set vb up")
	sensor.says("interface is back", 2)
	frame := framesOf(t, "ether4.pcap")[0]
	sender(t, "va")(frame)
	sensor.awaits("delivered", 1)
	sensor.stop(syscall.SIGTERM)
}

// TestOverloadIsCounted holds the sensor up while more packets come than its
// ring has room for: none is unaccounted for.
func TestOverloadIsCounted(t *testing.T) { eachEngine(t, testOverloadIsCounted) }

func testOverloadIsCounted(t *testing.T) {
	sensor := startSensor(t, "-q", "-i", "vb", "-B", "64", "-w", "/dev/null", "-s", "127.0.0.1/9430", "--metrics", "127.0.0.1:9431", "--stats", "100ms")
	send, frame := sender(t, "va"), framesOf(t, "ether4.pcap")[0]
	const n = 3000
	sensor.cmd.Process.Signal(syscall.SIGSTOP)
	for range n {
		send(frame)
	}
	sensor.cmd.Process.Signal(syscall.SIGCONT)
	sensor.says("packets lost in the kernel's ring", 1)
	_, metrics := get(t, "/metrics")
	if all, err := promlint.New(strings.NewReader(metrics)).Lint(); len(all) > 0 || err != nil {
		t.Error(all, err)
	}
	line := sensor.stop(os.Interrupt)
	read, dropped := number(t, line, "read"), number(t, line, "in.vb.kernel_dropped")
	if read+dropped != n || dropped == 0 {
		t.Errorf("%d sent: %s", n, line)
	}
	for _, want := range []string{
		fmt.Sprintf(`nmsgsensor_input_kernel_dropped_total{input="vb"} %d`, dropped),
		fmt.Sprintf(`nmsgsensor_input_read_total{input="vb"} %d`, read),
	} {
		if !strings.Contains(metrics, want+"\n") {
			t.Errorf("no %s in %s", want, metrics)
		}
	}
}

// TestOwnTrafficIsNotCaptured captures the interface that datagrams leave by,
// one for each packet.
func TestOwnTrafficIsNotCaptured(t *testing.T) {
	for _, c := range []struct {
		name    string
		address string
		flags   []string
	}{
		{"over IPv4", "127.0.0.1", nil},
		{"with a filter of the user", "127.0.0.1", []string{"-b", "udp or icmp"}},
		{"over IPv6", "::1", nil},
		{"in fragments", "127.0.0.1", []string{"-m", "8192", "--packet-socket", "127.0.0.1/9440"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			enterNamespace(t)
			ip(t, "link set lo mtu 1500")
			collector, err := net.ListenPacket("udp", net.JoinHostPort(c.address, "9430"))
			if err != nil {
				t.Fatal(err)
			}
			defer collector.Close()
			second, err := net.ListenPacket("udp", "127.0.0.1:9440")
			if err != nil {
				t.Fatal(err)
			}
			defer second.Close()
			args := append([]string{"-q", "-i", "lo", "-s", c.address + "/9430", "--unbuffered"}, c.flags...)
			sensor := startSensor(t, args...)
			traffic, err := net.Dial("udp", collector.LocalAddr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer traffic.Close()
			const n = 500
			for range n {
				traffic.Write(make([]byte, 1400))
			}
			line := sensor.awaits("delivered", n)
			if number(t, line, "read") != n {
				t.Error(line)
			}
			last := sensor.stop(os.Interrupt)
			if number(t, last, "read") != n || number(t, last, "out."+c.address+"/9430.payloads") != n {
				t.Error(last)
			}
		})
	}
}

// TestCaptureOwn: with the flag it sees what it sends, and stops at the count.
func TestCaptureOwn(t *testing.T) { eachEngine(t, testCaptureOwn) }

func testCaptureOwn(t *testing.T) {
	collector, err := net.ListenPacket("udp4", "127.0.0.1:9430")
	if err != nil {
		t.Fatal(err)
	}
	defer collector.Close()
	sensor := startSensor(t, "-q", "-i", "lo", "-s", "127.0.0.1/9430", "--unbuffered", "--capture-own", "-c", "5")
	traffic, err := net.Dial("udp4", "127.0.0.1:9430")
	if err != nil {
		t.Fatal(err)
	}
	defer traffic.Close()
	traffic.Write([]byte("one"))
	if err := <-sensor.ended; err != nil || !strings.Contains(sensor.stderr.String(), " delivered=5 ") {
		t.Errorf("%v: %s", err, &sensor.stderr)
	}
}

// TestPrivilegesAreGivenUp looks at every thread of a sensor that has become
// nobody, and has it rotate files and answer afterwards.
func TestPrivilegesAreGivenUp(t *testing.T) { eachEngine(t, testPrivilegesAreGivenUp) }

func testPrivilegesAreGivenUp(t *testing.T) {
	dir, err := os.MkdirTemp("", "nmsgsensor") // the test's own is root's alone
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	kicked := filepath.Join(dir, "kicked")
	sensor := startSensor(t, "-q", "-i", "vb", "-U", "nobody", "-w", filepath.Join(dir, "out"),
		"-k", "echo >> "+kicked, "--flush", "20ms", "--metrics", "127.0.0.1:9431")
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", sensor.cmd.Process.Pid))
	if err != nil || len(tasks) < 2 {
		t.Fatal(tasks, err)
	}
	id := regexp.MustCompile(`(?m)^([UG]id|Groups):\s*(.*)$`)
	for _, task := range tasks {
		b, err := os.ReadFile(task)
		if err != nil {
			t.Fatal(err)
		}
		status := string(b)
		for _, field := range []string{"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"} {
			if !strings.Contains(status, field+":\t0000000000000000\n") {
				t.Errorf("%s: %s", task, status)
			}
		}
		if !strings.Contains(status, "NoNewPrivs:\t1\n") {
			t.Errorf("%s: %s", task, status)
		}
		for _, m := range id.FindAllStringSubmatch(status, -1) {
			for _, n := range strings.Fields(m[2]) {
				if n == "0" {
					t.Errorf("%s: %s", task, m[0])
				}
			}
		}
	}
	send, frame := sender(t, "va"), framesOf(t, "ether4.pcap")[0]
	for range 10 {
		send(frame)
	}
	sensor.awaits("delivered", 10)
	sensor.cmd.Process.Signal(syscall.SIGHUP)
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		if b, _ := os.ReadFile(kicked); len(b) > 0 {
			break
		} else if time.Now().After(end) {
			t.Fatal(&sensor.stderr)
		}
	}
	if status, body := get(t, "/metrics"); status != http.StatusOK || !strings.Contains(body, `nmsgsensor_input_read_total{input="vb"} 10`+"\n") {
		t.Errorf("%d %s", status, body)
	}
	sensor.stop(os.Interrupt)
}

// TestInterfaceComesBackWithoutRoot: it needs the capability that is kept.
func TestInterfaceComesBackWithoutRoot(t *testing.T) {
	eachEngine(t, testInterfaceComesBackWithoutRoot)
}

func testInterfaceComesBackWithoutRoot(t *testing.T) {
	sensor := startSensor(t, "-q", "-i", "vb", "-U", "nobody", "--keep-net-raw", "-o", "/dev/null")
	ip(t, "link del va")
	sensor.says("interface is away", 1)
	ip(t, "link add va type veth peer name vb")
	ip(t, "link set vb up")
	sensor.says("interface is back", 1)
	sensor.stop(os.Interrupt)
}

// TestWatchdogIsFed, twice in the time that systemd gives.
func TestWatchdogIsFed(t *testing.T) {
	enterNamespace(t)
	t.Setenv("WATCHDOG_USEC", "200000")
	sensor := startSensor(t, "-q", "-i", "vb", "-o", "/dev/null")
	sensor.hears("WATCHDOG=1")
	sensor.hears("WATCHDOG=1")
	sensor.stop(os.Interrupt)
	sensor.hears("STOPPING=1")
}

// TestUnit has systemd look at the unit file.
func TestUnit(t *testing.T) {
	needs(t, "systemd-analyze")
	unit, err := os.ReadFile("nmsgsensor.service")
	if err != nil {
		t.Fatal(err)
	}
	program, err := exec.LookPath("nmsgsensor")
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "nmsgsensor.service")
	// The program is not installed where the unit has it.
	if err := os.WriteFile(name, bytes.ReplaceAll(unit, []byte("/usr/bin/nmsgsensor"), []byte(program)), 0o666); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("systemd-analyze", "verify", name).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("%v: %s", err, out)
	}
	out, err := exec.Command("systemd-analyze", "security", "--offline=true", "--threshold=20", name).CombinedOutput()
	if err != nil {
		t.Errorf("%v: %s", err, out) // an exposure above 2.0
	}
}
