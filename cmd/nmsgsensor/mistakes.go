package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"nmsgsensor/capture"
	"nmsgsensor/output"
)

// flagMistake puts an error of pflag in words that say what to do.
func flagMistake(flags *pflag.FlagSet, err error) error {
	var unknown *pflag.NotExistError
	var missing *pflag.ValueRequiredError
	var invalid *pflag.InvalidValueError
	switch {
	case errors.As(err, &unknown):
		return unknownFlag(flags, unknown.GetSpecifiedName())
	case errors.As(err, &missing):
		value, _ := pflag.UnquoteUsage(missing.GetFlag())
		return fmt.Errorf("%s: %s is missing behind it", flagNames(missing.GetFlag()), value)
	case errors.As(err, &invalid):
		f := invalid.GetFlag()
		return fmt.Errorf("%s %q: %w", flagNames(f), invalid.GetValue(), valueMistake(f, invalid.Unwrap()))
	}
	return err
}

// flagNames are a flag's short and long name.
func flagNames(f *pflag.Flag) string {
	if f.Shorthand == "" {
		return "--" + f.Name
	}
	return "-" + f.Shorthand + ", --" + f.Name
}

// valueMistake has our own words for the values that pflag parses itself.
func valueMistake(f *pflag.Flag, err error) error {
	switch f.Value.Type() {
	case "duration":
		return errors.New("must be a time with its unit, such as 500ms, 10s or 1m")
	case "int":
		return errors.New("must be a whole number")
	case "float64":
		return errors.New("must be a number")
	case "bool":
		return errors.New("must be true or false")
	}
	return err
}

func unknownFlag(flags *pflag.FlagSet, name string) error {
	flag := "--" + name
	if len(name) == 1 {
		flag = "-" + name
	}
	for _, e := range elsewhere {
		if slices.Contains(strings.Fields(e.names), name) {
			return fmt.Errorf("unknown flag %s: %s", flag, e.remedy)
		}
	}
	if near := nearest(name, flagsOf(flags)); len(near) > 0 {
		return fmt.Errorf("unknown flag %s: did you mean --%s?", flag, strings.Join(near, " or --"))
	}
	return fmt.Errorf("unknown flag %s: nmsgsensor --help lists them", flag)
}

// flagsOf are the long names of the flags that are shown.
func flagsOf(flags *pflag.FlagSet) (names []string) {
	flags.VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			names = append(names, f.Name)
		}
	})
	return names
}

// nearest are the names that a word may have meant: cobra's own rule for
// commands, two letters apart or the beginning of one.
func nearest(word string, names []string) []string {
	const apart = 2
	c := cobra.Command{SuggestionsMinimumDistance: min(apart, len(word)/2)}
	for _, name := range names {
		c.AddCommand(&cobra.Command{Use: name, Run: func(*cobra.Command, []string) {}})
	}
	return c.SuggestionsFor(word)
}

// oneDash finds a long name behind one dash: it would be taken for a row of
// short ones, -write for a -w that writes to "rite".
func oneDash(flags *pflag.FlagSet, args []string) error {
	for _, arg := range args {
		if arg == "--" {
			break
		}
		name, _, _ := strings.Cut(strings.TrimPrefix(arg, "-"), "=")
		if len(name) > 1 && len(arg) > len(name) && slices.Contains(flagsOf(flags), name) {
			return fmt.Errorf("%s: a long name takes two dashes: -%s", arg, arg)
		}
	}
	return nil
}

// noArguments is for commands that take none.
func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usageError{fmt.Errorf("%s %s: this command takes no arguments", cmd.CommandPath(), args[0])}
	}
	return nil
}

// misplaced finds arguments that are no files, and seem to be something else.
func misplaced(cmd *cobra.Command, args []string) error {
	filter := cmd.Flags().Changed("bpf")
	for _, arg := range args {
		if _, err := os.Lstat(arg); err == nil || arg == "-" {
			continue
		}
		if remedy := whatElse(cmd, arg, filter); remedy != "" {
			return fmt.Errorf("%s: no such file; %s", arg, remedy)
		}
	}
	return nil
}

// whatElse says what an argument may be, "" for nothing that is known.
func whatElse(cmd *cobra.Command, arg string, filter bool) string {
	if _, err := net.InterfaceByName(strings.TrimSuffix(arg, "+")); err == nil {
		return "to capture from the interface: -i " + arg
	}
	spec, err := output.ParseSockspec(arg)
	if addr, err := netip.ParseAddrPort(arg); err == nil {
		spec.Host, spec.First = addr.Addr().String(), addr.Port()
	}
	if _, bad := netip.ParseAddr(spec.Host); bad == nil && (err == nil || spec.First > 0) {
		spec.Last = max(spec.First, spec.Last)
		return fmt.Sprintf("to send to it: -s %v; to receive there: -l %[1]v", spec)
	}
	if near := nearest(arg, commandNames(cmd)); len(near) > 0 {
		return "did you mean the command: nmsgsensor " + strings.Join(near, " or ")
	}
	if filter && !strings.ContainsAny(arg, "./") {
		return "a filter of several words takes quotes: -b 'udp port 53'"
	}
	return ""
}

// remedied adds what helps against an error, where that can be known.
func remedied(err error) error {
	var path *fs.PathError
	remedy := ""
	switch {
	case errors.Is(err, capture.ErrEmpty):
		remedy = "what writes it has written nothing yet"
	case errors.Is(err, capture.ErrFormat):
		remedy = "nor one of these in gzip, zstd, xz or bzip2: file(1) tells what it is"
	case errors.Is(err, capture.ErrFilter):
		remedy = "see pcap-filter(7)"
	case errors.Is(err, capture.ErrNotNMSG):
		remedy = "-r reads NMSG alone: say -p, or nothing"
	case errors.Is(err, capture.ErrNotCapture):
		remedy = "-p reads captures alone: say -r, or nothing"
	case errors.Is(err, unix.EADDRINUSE):
		remedy = "another process is there (ss -lnp): end it, or choose another port"
	case errors.Is(err, unix.EADDRNOTAVAIL):
		remedy = "give an address of this host (ip address)"
	case errors.As(err, &path) && path.Op == "open" && errors.Is(err, unix.EISDIR):
		remedy = "give files, such as " + path.Path + "/*"
	case errors.As(err, &path) && path.Op == "open" && errors.Is(err, fs.ErrPermission):
		remedy = "look at its owner and mode (ls -l), or use another user"
	}
	if remedy == "" {
		return err
	}
	return fmt.Errorf("%w; %s", err, remedy)
}
