package main

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
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
