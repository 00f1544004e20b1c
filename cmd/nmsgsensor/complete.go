package main

import (
	"bufio"
	"net"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// complete says what a shell offers behind each flag (nmsgsensor completion).
// Arguments, and flags of files and of a command, take the names of files. The
// shell picks what begins with the word that stands there.
func complete(cmd *cobra.Command, all []group) {
	cmd.ValidArgsFunction = func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return nil, cobra.ShellCompDirectiveDefault // files, which a command with others below it does not take
	}
	for _, g := range all {
		g.flags.VisitAll(func(f *pflag.Flag) {
			offer := cobra.NoFileCompletions
			switch value, _ := pflag.UnquoteUsage(f); {
			case f.Value.Type() == "file" || f.Value.Type() == "command" || f.NoOptDefVal != "":
				return
			case f.Value.Type() == "interface":
				offer = interfaceCompletions
			case f.Value.Type() == "user":
				offer = userCompletions
			case f.Value.Type() == "engine":
				offer = cobra.FixedCompletions([]string{"libpcap", "afpacket"}, cobra.ShellCompDirectiveNoFileComp)
			case strings.Contains(value, "|"):
				offer = cobra.FixedCompletions(strings.Split(value, "|"), cobra.ShellCompDirectiveNoFileComp)
			}
			if err := cmd.RegisterFlagCompletionFunc(f.Name, offer); err != nil {
				panic(err) // the flag is not the command's
			}
		})
	}
}

// interfaceCompletions are interfaces, with their addresses.
func interfaceCompletions(*cobra.Command, []string, string) (names []string, _ cobra.ShellCompDirective) {
	names = append(names, cobra.CompletionWithDesc("any", "all of them"))
	all, _ := net.Interfaces()
	for _, i := range all {
		what := []string{"down"}
		if i.Flags&net.FlagUp != 0 {
			what[0] = "up"
		}
		addresses, _ := i.Addrs()
		for _, a := range addresses {
			what = append(what, a.String())
		}
		names = append(names, cobra.CompletionWithDesc(i.Name, strings.Join(what, " ")))
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// userCompletions are those users of passwd(5) that are not root.
func userCompletions(*cobra.Command, []string, string) (names []string, _ cobra.ShellCompDirective) {
	f, err := os.Open("/etc/passwd")
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		field := strings.Split(lines.Text(), ":")
		if len(field) == 7 && field[2] != "0" {
			names = append(names, cobra.CompletionWithDesc(field[0], field[4]))
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
