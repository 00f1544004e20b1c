package main

import (
	"bytes"
	"os/exec"
	"strings"
	"testing"
)

// TestCompletion asks as a shell does: the last line is what it is to do with
// the others, :4 for nothing but these, :0 to add the names of files.
func TestCompletion(t *testing.T) {
	for _, c := range []struct {
		args      []string
		has       string // a line; "" for none
		hasNot    string
		directive string
	}{
		{[]string{"-i", ""}, "lo\tup", "--", ":4"},
		{[]string{"--interface", "l"}, "lo\tup", "man", ":4"},
		{[]string{"-U", ""}, "nobody\t", "root", ":4"},
		{[]string{"--user=no"}, "nobody\t", "root", ":4"},
		{[]string{"--stamp", ""}, "now", "", ":4"},
		{[]string{"--log-format", "j"}, "json", "man", ":4"},
		{[]string{"-r", ""}, "", "man", ":0"},
		{[]string{"-w", "out"}, "", "man", ":0"},
		{[]string{"--config", ""}, "", "man", ":0"},
		{[]string{"-k", ""}, "", "man", ":0"},
		{[]string{"-c", ""}, "", "man", ":4"},
		{[]string{"-s", ""}, "", "man", ":4"},
		{[]string{"-b", ""}, "", "man", ":4"},
		{[]string{"capture"}, "", "man", ":0"},
		{[]string{"ma"}, "man\t", "interfaces", ":0"},
		{[]string{"--read"}, "--readpcap\t", "--vendor", ":4"},
		{[]string{"--ve"}, "--version\t", "--vendor", ":4"},
	} {
		var out, said bytes.Buffer
		if status := run(append([]string{"__complete"}, c.args...), &out, &said); status != exitOK {
			t.Errorf("%v: %d, %s", c.args, status, &said)
		}
		text := "\n" + out.String()
		if !strings.Contains(text, "\n"+c.has) || c.hasNot != "" && strings.Contains(text, "\n"+c.hasNot) ||
			!strings.HasSuffix(text, "\n"+c.directive+"\n") {
			t.Errorf("%v: %s", c.args, text)
		}
	}
}

// TestCompletionScriptsAreOfTheirShells has each shell that is here read its own.
func TestCompletionScriptsAreOfTheirShells(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish"} {
		t.Run(shell, func(t *testing.T) {
			var script bytes.Buffer
			if status := run([]string{"completion", shell}, &script, &script); status != exitOK || !strings.Contains(script.String(), "__complete") {
				t.Fatal(status, &script)
			}
			needs(t, shell)
			cmd := exec.Command(shell, "-n", "/dev/stdin")
			cmd.Stdin = &script
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}
