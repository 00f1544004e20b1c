package main

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestREADMECommands runs the commands of the README's shell blocks, but for
// the installation and the tests themselves.
func TestREADMECommands(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, block := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(string(readme), -1) {
		lines = append(lines, strings.Split(strings.TrimSpace(block[1]), "\n")...)
	}
	if len(lines) < 8 {
		t.Fatal(lines)
	}
	// Commands write where they run: a copy of what they need.
	dir := t.TempDir()
	for _, name := range []string{"testdata", "cmd", "capture", "encode", "output", "tuple", "go.mod", "go.sum"} {
		if out, err := exec.Command("cp", "-r", "../../"+name, dir).CombinedOutput(); err != nil {
			t.Fatalf("%s", out)
		}
	}
	for _, line := range lines {
		if i := strings.LastIndex(line, "&& "); strings.HasPrefix(line, "apt-get") {
			line = line[i+3:]
		}
		if strings.HasPrefix(line, "go test") {
			continue
		}
		cmd := exec.Command("bash", "-c", line)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", line, err, out)
		}
	}
}

// TestREADMEShowsText as the command before it prints it.
func TestREADMEShowsText(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	shown := regexp.MustCompile(`(?m)^\./nmsgsensor (-c 1 \S+)\n` + "```" + `\n\n((?:    .*\n)+)`).FindSubmatch(readme)
	if shown == nil {
		t.Fatal("no command with its text")
	}
	args := strings.Fields(string(shown[1]))
	args[2] = "../../" + args[2]
	text := filepath.Join(t.TempDir(), "text")
	if status := run(append([]string{"-o", text, "--seccomp=false"}, args...), io.Discard, io.Discard); status != exitOK {
		t.Fatal(status)
	}
	got, err := os.ReadFile(text)
	if err != nil {
		t.Fatal(err)
	}
	if want := strings.ReplaceAll(string(shown[2]), "    ", ""); string(got) != want {
		t.Error(cmp.Diff(want, string(got)))
	}
}

// TestREADMENamesFiles of this tree, and keys that a configuration may have.
func TestREADMENamesFiles(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	names := regexp.MustCompile("`((?:\\.ci|capture|cmd|encode|output|testdata|tuple)/[^` ]+)`").FindAllStringSubmatch(string(readme), -1)
	if len(names) < 20 {
		t.Fatal(names)
	}
	for _, name := range names {
		if _, err := os.Stat("../../" + name[1]); err != nil {
			t.Error(err)
		}
	}
	_, block, _ := strings.Cut(string(readme), "```toml\n")
	block, _, _ = strings.Cut(block, "```")
	// Any interface will do.
	config := filepath.Join(t.TempDir(), "sensor.toml")
	if err := os.WriteFile(config, []byte(regexp.MustCompile(`eth\d`).ReplaceAllString(block, "lo")), 0o666); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if status := run([]string{"--check", "--config", config}, &out, &out); status != exitOK {
		t.Error(status, &out)
	}
}

// TestREADMEListsDependencies holds its table against go.mod.
func TestREADMEListsDependencies(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("go", "list", "-m", "-f", "{{if not (or .Main .Indirect)}}{{.Path}}{{end}}", "all").Output()
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(readme), "\nDirect dependencies:\n")
	var listed []string
	for _, row := range regexp.MustCompile(`(?m)^\| (\S+\.\S+/\S+) \| [^|]+ \| [^|]+ \|$`).FindAllStringSubmatch(table, -1) {
		listed = append(listed, row[1])
	}
	slices.Sort(listed)
	if diff := cmp.Diff(slices.Sorted(slices.Values(strings.Fields(string(out)))), listed); diff != "" {
		t.Errorf("-go.mod +README:\n%s", diff)
	}
}
