package main

import (
	_ "embed"
	"io"
	"strings"
	"text/template"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// manualText is the manual in mdoc(7), with the flags, commands and examples of
// the help to be filled in. Generators of manuals (cobra/doc with go-md2man,
// mango) would make the list of flags, which is a few lines here, and none of the
// rest.
//
//go:embed manual.mdoc
var manualText string

var manualTemplate = template.Must(template.New("manual").Funcs(template.FuncMap{"roff": roff}).Parse(manualText))

// newManualCommand prints the manual of the command that it is added to.
func newManualCommand(all []group) *cobra.Command {
	return &cobra.Command{
		Use:   "man",
		Short: "Print the manual, for man -l - or a file nmsgsensor.1",
		Args:  noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return writeManual(cmd.OutOrStdout(), commandsOf(cmd.Root()), all)
		},
	}
}

func writeManual(w io.Writer, commands []*cobra.Command, all []group) error {
	type flag struct{ Tag, Text string }
	type flagGroup struct {
		Title string
		Flags []flag
	}
	type example struct{ What, Command string }
	var m struct {
		Commands []*cobra.Command
		Keys     string // of top
		Groups   []flagGroup
		Examples []example
	}
	m.Commands = commands
	_, m.Keys, _ = strings.Cut(topKeys, "\n")
	for _, g := range all {
		shown := flagGroup{Title: roff(g.title)}
		g.flags.VisitAll(func(f *pflag.Flag) {
			_, usage := describe(f)
			shown.Flags = append(shown.Flags, flag{flagTag(f), roff(usage)})
		})
		m.Groups = append(m.Groups, shown)
	}
	for _, e := range examples {
		m.Examples = append(m.Examples, example{roff(e.what), roff(e.command)})
	}
	return manualTemplate.Execute(w, m)
}

// flagTag is a flag with the macros of mdoc(7).
func flagTag(f *pflag.Flag) string {
	tag := "Fl -" + f.Name
	if f.Shorthand != "" {
		tag = "Fl " + f.Shorthand + " , " + tag
	}
	if value, _ := pflag.UnquoteUsage(f); value != "" {
		tag += " Ar " + roff(value)
	}
	return tag
}

// roff has a line mean itself (roff(7)).
func roff(line string) string {
	line = strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`).Replace(line)
	if strings.HasPrefix(line, ".") {
		line = `\&` + line
	}
	return line
}
