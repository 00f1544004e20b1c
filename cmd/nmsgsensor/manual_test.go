package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"nmsgsensor/capture"
	"nmsgsensor/output"
	"nmsgsensor/tuple"
)

// manual is what nmsgsensor man prints.
func manual(t *testing.T) string {
	t.Helper()
	var out bytes.Buffer
	if status := run([]string{"man"}, &out, &out); status != exitOK {
		t.Fatal(status, &out)
	}
	return out.String()
}

func TestManualHasEveryFlagCommandAndExample(t *testing.T) {
	text := manual(t)
	has := func(line string) {
		if !strings.Contains(text, "\n"+line+"\n") {
			t.Errorf("no line %q", line)
		}
	}
	cmd := newCommand(new(bytes.Buffer))
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if f.Hidden {
			if habit := "\n.Fl " + f.Shorthand; !strings.Contains(text, habit) {
				t.Errorf("no %q", habit)
			}
			return
		}
		has(".It " + flagTag(f))
		_, usage := describe(f)
		has(roff(usage))
	})
	for _, c := range commandsOf(cmd) {
		has(".Cm " + c.Name())
		has(roff(c.Short))
	}
	for _, e := range examples {
		has(".Dl " + roff(e.command))
	}
}

// TestManualHasEveryCounter takes the names from a report in which all is there.
func TestManualHasEveryCounter(t *testing.T) {
	in := inputReport{label: "X", kind: liveInput, tally: tally{read: 1, delivered: 1, own: 1, folded: 1, cut: 1, evicted: 1}}
	for i := range in.skipped {
		in.skipped[i] = uint64(min(i, 1))
	}
	for i := range tuple.NumReasons {
		in.noTuple[i] = uint64(min(i, 1))
	}
	stats := reflect.ValueOf(&in.Stats).Elem()
	for i := range stats.NumField() {
		if f := stats.Field(i); f.Kind() == reflect.Uint64 {
			f.SetUint(1)
		}
	}
	r := &report{inputs: []inputReport{in}}
	udp, err := output.DialUDP([]output.Sockspec{{Host: "127.0.0.1", First: 9, Last: 9}}, output.UDPConfig{})
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	for _, st := range append(udp.Stats(), output.NewFile("none", output.Payloads{}, output.FileConfig{}).Stats()...) {
		for reason := range st.Errors {
			st.Errors[reason] = 1
		}
		st.Containers = 1
		r.outputs = append(r.outputs, outputReport{label: "X", Stats: st})
	}
	counted := strings.Join(regexp.MustCompile(`(?m)^\.It Sy (.*)$`).FindAllString(manual(t), -1), " ") + " "
	n := 0
	for _, c := range r.counters() {
		n++
		if !strings.Contains(counted, " "+c.key+" ") {
			t.Errorf("%s is not in the manual", c.key)
		}
	}
	if n < int(capture.NumReasons)+20 {
		t.Errorf("%d counters", n)
	}
}

// TestManualIsWellFormed: mandoc(1) warns of nothing, and no line is wider than a
// terminal of 80 columns.
func TestManualIsWellFormed(t *testing.T) {
	needs(t, "mandoc")
	page := filepath.Join(t.TempDir(), "nmsgsensor.1")
	if err := os.WriteFile(page, []byte(manual(t)), 0o666); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mandoc", "-T", "lint", "-W", "warning", page).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("%v\n%s", err, out)
	}
	out, err := exec.Command("mandoc", "-T", "ascii", "-O", "width=80", page).Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(regexp.MustCompile(".\b").ReplaceAllString(string(out), "")) {
		if len(line) > 81 {
			t.Errorf("%d columns: %s", len(line)-1, line)
		}
	}
}
