package main

import (
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"nmsgsensor/capture"
)

// newInterfacesCommand lists what can be captured: name, state, link type and
// addresses, or why it can't.
func newInterfacesCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "interfaces",
		Short: "List the interfaces that can be captured",
		Args:  noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			for _, i := range capture.Interfaces() {
				state, link := "down", i.Link
				if i.Up {
					state = "up"
				}
				if link == "" {
					link = "-"
				}
				note := strings.Join(i.Addresses, " ")
				if i.Err != nil && i.Up {
					note = strings.TrimSpace(note + " (" + i.Err.Error() + ")")
				}
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", i.Name, state, link, note)
			}
			return w.Flush()
		},
	}
}
