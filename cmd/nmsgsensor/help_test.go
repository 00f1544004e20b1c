package main

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/spf13/pflag"
)

// helpText is what --help prints.
func helpText(t *testing.T) string {
	t.Helper()
	var out bytes.Buffer
	if status := run([]string{"--help"}, &out, &out); status != exitOK {
		t.Fatal(status, &out)
	}
	return out.String()
}

// TestNoInputIsAnsweredWithTheHelp, where nothing but a terminal could be read.
func TestNoInputIsAnsweredWithTheHelp(t *testing.T) {
	_, terminal := openTerminal(t, 80)
	defer func(stdin *os.File) { os.Stdin = stdin }(os.Stdin)
	os.Stdin = terminal
	var out, said bytes.Buffer
	status := run([]string{"-q", "-s", "127.0.0.1/9430"}, &out, &said)
	if status != exitUsage || out.String() != helpText(t) || !strings.HasPrefix(said.String(), "nmsgsensor: no input: give files, -i IF") {
		t.Errorf("status %d, %s, %s", status, &out, &said)
	}
}

// TestEveryFlagIsInAGroup: a flag that is not added by one of the functions in
// flags.go would be in neither the help nor the manual.
func TestEveryFlagIsInAGroup(t *testing.T) {
	grouped := make(map[string]bool)
	for _, g := range groups(new(options)) {
		g.flags.VisitAll(func(f *pflag.Flag) { grouped[f.Name] = true })
	}
	habits := []string{"vendor", "msgtype", "endline", "debug"}
	newCommand(new(bytes.Buffer)).Flags().VisitAll(func(f *pflag.Flag) {
		if f.Hidden != slices.Contains(habits, f.Name) || !f.Hidden && !grouped[f.Name] {
			t.Errorf("--%s is in no group of flags.go", f.Name)
		}
	})
}

func TestHelpFitsAScreen(t *testing.T) {
	text := helpText(t)
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if len(lines) > 64 {
		t.Errorf("%d lines", len(lines))
	}
	for _, line := range lines {
		if len(line) > 80 {
			t.Errorf("%d columns: %s", len(line), line)
		}
	}
	for _, g := range groups(new(options)) {
		g.flags.VisitAll(func(f *pflag.Flag) {
			if names, usage := describe(f); !strings.Contains(text, names) || len(usage) < 8 {
				t.Errorf("--%s is not explained", f.Name)
			}
		})
	}
}

// TestExamplesRunAsWritten runs those of the help in a directory with a
// capture.pcap, and in a network namespace with an eth0 and a route.
func TestExamplesRunAsWritten(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "capture.pcap"), golden(t, "pcap/ether4.pcap"), 0o666); err != nil {
		t.Fatal(err)
	}
	text := helpText(t)
	for _, e := range examples {
		t.Run(e.command, func(t *testing.T) {
			if !strings.Contains(text, "  "+e.command+"  ") {
				t.Error("not in the help")
			}
			if strings.Contains(e.command, "nmsgtool") {
				needs(t, "nmsgtool")
			}
			if strings.Contains(e.command, "eth0") {
				enterNamespace(t)
				for _, args := range []string{"link set va down", "link set va name eth0", "link set eth0 up", "route add default dev eth0"} {
					if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
						t.Skipf("ip %s: %s", args, out)
					}
				}
			}
			runExample(t, dir, e.command)
		})
	}
}

// runExample runs a command in a shell, and stops it once it is ready if it
// reads an interface.
func runExample(t *testing.T, dir, command string) {
	t.Helper()
	if strings.Contains(command, "-i ") {
		p := startCommand(t, exec.Command("sh", "-c", "cd "+dir+" && "+command+"; true"))
		// The shell is the leader of the group that a terminal would interrupt.
		syscall.Kill(-p.cmd.Process.Pid, syscall.SIGINT)
		<-p.ended
		if s := p.stderr.String(); !strings.Contains(s, "nmsgsensor: read=") || strings.Contains(s, "level=") {
			t.Error(s)
		}
		return
	}
	cmd := exec.Command("sh", "-c", command)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("nmsgsensor: read=31 ")) {
		t.Errorf("%v: %s", err, out)
	}
}

// TestPortInUseIsAnswered: another sensor's metrics and another's socket.
func TestPortInUseIsAnswered(t *testing.T) {
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	for _, args := range [][]string{
		{"-q", "--metrics", tcp.Addr().String(), "../../testdata/pcap/ether4.pcap"},
		{"-q", "-l", strings.Replace(udp.LocalAddr().String(), ":", "/", 1)},
	} {
		var out bytes.Buffer
		status := run(args, &out, &out)
		const want = "address already in use; another process is there (ss -lnp): end it, or choose another port\n"
		if text := out.String(); status != exitFailed || strings.Count(text, "\n") != 1 || !strings.HasSuffix(text, want) {
			t.Errorf("%v: status %d, %s", args, status, text)
		}
	}
}
