package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	testscript.Main(tests{m}, map[string]func(){
		"nmsgsensor": main,
		kickerName:   main,
		confinedName: confined,
	})
}

// tests are those of this process, which must not be confined where it is the
// program. Programs that it starts with startSensor are.
type tests struct{ *testing.M }

// confinedEnv is the variable that confines a program, but for one that writes
// down at its end what of it was covered.
func confinedEnv() string {
	return envName("seccomp") + "=" + strconv.FormatBool(testing.CoverMode() == "")
}

// Run runs them, and finds goroutines that outlive them.
func (t tests) Run() int {
	os.Setenv(envName("seccomp"), "false")
	status := t.M.Run()
	if err := goleak.Find(); err != nil && status == 0 {
		fmt.Fprintln(os.Stderr, err)
		status = 1
	}
	return status
}

// TestScripts runs the archives in testdata/script; DATA is the testdata folder
// of the project.
func TestScripts(t *testing.T) {
	data, err := filepath.Abs("../../testdata")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			e.Setenv("DATA", data)
			e.Vars = append(e.Vars, confinedEnv())
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"mistake": mistake},
		Condition: func(cond string) (bool, error) {
			return os.Getuid() == 0, nil // [root] is the only one
		},
	})
}

// mistake runs a command that must end with a status, and say one line and
// nothing else: "mistake 2 nmsgsensor ...".
func mistake(ts *testscript.TestScript, _ bool, args []string) {
	err := ts.Exec(args[1], args[2:]...)
	var exit *exec.ExitError
	if !errors.As(err, &exit) || strconv.Itoa(exit.ExitCode()) != args[0] {
		ts.Fatalf("%v, want exit status %s", err, args[0])
	}
	said := ts.ReadFile("stderr")
	if ts.ReadFile("stdout") != "" || !strings.HasPrefix(said, "nmsgsensor: ") || strings.Count(said, "\n") != 1 {
		ts.Fatalf("not one line: %s", said)
	}
}

// TestGoldenFilesOfNmsgtool: what -w writes is what nmsgtool writes, for each
// capture but these, of which it takes less or cuts nanoseconds.
func TestGoldenFilesOfNmsgtool(t *testing.T) {
	exceptions := map[string]string{
		"nano.pcap": "nanoseconds", "nano.pcapng": "nanoseconds", "nano_be.pcap": "nanoseconds",
		"raw.pcap":        "frames of neither version",
		"sections.pcapng": "another byte order in the second section",
		"sll.pcap":        "a VLAN tag", "tags.pcap": "more than one VLAN tag, MPLS, PPPoE, SNAP",
	}
	names, _ := filepath.Glob("../../testdata/nmsgtool/*.nmsg")
	if len(names) < 20 {
		t.Fatal(names)
	}
	for _, want := range names {
		name := strings.TrimSuffix(filepath.Base(want), ".nmsg")
		out := filepath.Join(t.TempDir(), "out.nmsg")
		var stderr strings.Builder
		run([]string{"-q", "-w", out, "../../testdata/pcap/" + name}, os.Stdout, &stderr)
		g, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		w, _ := os.ReadFile(want)
		if same, differs := string(g) == string(w), exceptions[name]; same == (differs != "") {
			t.Errorf("%s: same %v, exception %q; %s", name, same, differs, &stderr)
		}
	}
}

// TestImportsPointOneWay holds the packages of the project that each may import.
func TestImportsPointOneWay(t *testing.T) {
	allowed := map[string][]string{
		"tuple":   nil,
		"encode":  {"tuple"},
		"capture": {"encode", "tuple"},
		"output":  {"encode", "tuple"},
	}
	for pkg, may := range allowed {
		out, err := exec.Command("go", "list", "-f", `{{join .Imports "\n"}}`, "nmsgsensor/"+pkg).Output()
		if err != nil {
			t.Fatal(err)
		}
		for _, imported := range strings.Fields(string(out)) {
			short, ours := strings.CutPrefix(imported, "nmsgsensor/")
			if ours && !strings.Contains(" "+strings.Join(may, " ")+" ", " "+short+" ") {
				t.Errorf("%s imports %s", pkg, imported)
			}
			if pkg == "tuple" && strings.Contains(imported, ".") {
				t.Errorf("tuple imports %s", imported)
			}
			if pkg != "capture" && (imported == "C" || strings.HasSuffix(imported, "/pcap")) {
				t.Errorf("%s links libpcap", pkg)
			}
		}
	}
}

// TestCountersAddUp: read is the sum of delivered and all reasons.
func TestCountersAddUp(t *testing.T) {
	captures, _ := filepath.Glob("../../testdata/pcap/*.pcap*")
	streams, _ := filepath.Glob("../../testdata/nmsg/*.nmsg")
	for _, name := range append(captures, streams...) {
		var stderr strings.Builder
		run([]string{"-q", "--unique", "1s", name, name}, os.Stdout, &stderr)
		line := countersOf(stderr.String())
		if !strings.HasPrefix(line, "nmsgsensor: read=") {
			continue // nothing could be read
		}
		if read, sum := sums(t, line); sum != read {
			t.Errorf("%d of %d: %s", sum, read, line)
		}
	}
}
