package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// examples run as they are written: a test does.
var examples = []struct{ command, what string }{
	{"nmsgsensor capture.pcap", "tuples of a capture, as text"},
	{"nmsgsensor -q -w packets.nmsg capture.pcap", "frames to base:packet"},
	{"nmsgsensor -q -J - -b 'udp port 53' capture.pcap", "filtered, as JSON"},
	{"nmsgsensor -i eth0 -q -s 10.0.1.52/9430", "an interface to a collector"},
	{"nmsgsensor -i eth0 -w - | nmsgtool -r -", "base:packet to a program"},
}

const intro = `Prints the 5-tuples of TCP and UDP packets, and sends them to NMSG collectors.
An input is NMSG, pcap or pcapng by its content; - is standard input, which is
also read where no input is given and it is no terminal.`

// writeHelp writes what fits a screen of 80 columns; the manual says the rest.
func writeHelp(w io.Writer, cmd *cobra.Command, all []group) {
	fmt.Fprintf(w, "Usage: %s\n       nmsgsensor %s [--help]\n\n%s\n\nExamples:\n", cmd.Use, strings.Join(commandNames(cmd), " | "), intro)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, e := range examples {
		fmt.Fprintf(t, "  %s\t%s\n", e.command, e.what)
	}
	t.Flush()
	width := 0
	for _, g := range all {
		g.flags.VisitAll(func(f *pflag.Flag) {
			names, _ := describe(f)
			width = max(width, len(names))
		})
	}
	fmt.Fprintln(w)
	for _, g := range all {
		fmt.Fprintln(w, g.heading())
		g.flags.VisitAll(func(f *pflag.Flag) {
			names, usage := describe(f)
			fmt.Fprintf(w, "  %-*s %s\n", width, names, usage)
		})
	}
}

func (g *group) heading() string {
	if g.note == "" {
		return g.title + ":"
	}
	return g.title + " (" + g.note + "):"
}

// commandsOf are the commands that are shown.
func commandsOf(cmd *cobra.Command) []*cobra.Command {
	return slices.DeleteFunc(slices.Clone(cmd.Commands()), func(c *cobra.Command) bool { return !c.IsAvailableCommand() })
}

func commandNames(cmd *cobra.Command) (names []string) {
	for _, c := range commandsOf(cmd) {
		names = append(names, c.Name())
	}
	return names
}

// describe returns a flag's names with what stands behind them, and what it is
// for, with its default.
func describe(f *pflag.Flag) (names, usage string) {
	value, usage := pflag.UnquoteUsage(f)
	usage = strings.TrimPrefix(usage, value+" ")
	names = flagNames(f)
	if f.Shorthand == "" {
		names = "    " + names
	}
	if value != "" {
		names += " " + value
	}
	if !slices.Contains([]string{"", "0", "0s", "false"}, f.DefValue) {
		usage += " (" + f.DefValue + ")"
	}
	return names, usage
}
