package main

import (
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	tea "charm.land/bubbletea/v2"
	"charm.land/lipgloss/v2"

	"nmsgsensor/cmd/nmsgsensor/talkers"
)

// The looks of text. Which colours there are is for bubbletea to find out.
var (
	strong = lipgloss.NewStyle().Bold(true)
	soft   = lipgloss.NewStyle().Faint(true)
	chosen = lipgloss.NewStyle().Reverse(true)
	alarm  = lipgloss.NewStyle().Foreground(lipgloss.Red).Bold(true)
)

// View implements tea.Model.
func (m model) View() tea.View {
	v := tea.NewView(m.screen())
	v.AltScreen = true
	v.WindowTitle = "nmsgsensor top " + m.title
	return v
}

// screen is all lines, no more and no wider than there is room for: first how the
// sensor does, then the list in what is left, at last words and keys.
func (m *model) screen() string {
	above := m.state()
	below := m.foot()
	room := max(m.height-len(above)-len(below), 0)
	lines := append(above, m.list(room)...)
	for len(lines)+len(below) < m.height {
		lines = append(lines, "")
	}
	lines = append(lines, below...)
	lines = lines[:min(len(lines), m.height)]
	fit := lipgloss.NewStyle().Inline(true).MaxWidth(m.width)
	for i, line := range lines {
		lines[i] = fit.Render(line)
	}
	return strings.Join(lines, "\n")
}

// state is how the sensor does.
func (m *model) state() []string {
	l := &m.shown
	title := strong.Render("nmsgsensor top ") + m.title + soft.Render(" · "+l.elapsed.Truncate(time.Second).String())
	if m.ended {
		title += soft.Render(" · ended")
	}
	if m.paused {
		title += " " + chosen.Render(" paused ")
	}
	seconds := max(l.Seconds, 1e-3)
	lines := []string{title, fmt.Sprintf("%s packets/s · %s bytes/s · lost: %s on input, %s on output",
		quantity(l.Packets/seconds), quantity(l.Bytes/seconds), quantity(float64(l.before)), quantity(float64(l.behind)))}
	for _, problem := range l.Problems {
		lines = append(lines, alarm.Render(problem))
	}
	rows := max((m.height-12)/4, 1) // of each table: most of the screen is for the list
	lines = append(lines, table("INPUT\tSTATE\tREAD/S\tBYTES/S\tLOST\tLOST %\tNOT DELIVERED", rows, inputRows(l.Inputs))...)
	if len(l.Outputs) > 0 {
		lines = append(lines, table("OUTPUT\tOF\tSTATE\tPAYLOADS/S\tBYTES/S\tDROPPED\tERRORS", rows, outputRows(l.Outputs))...)
	}
	return append(lines, "")
}

func inputRows(all []inputView) (rows []string) {
	for _, in := range all {
		if in.Reasons != "" {
			in.NoTuple += " (" + in.Reasons + ")"
		}
		rows = append(rows, strings.Join([]string{in.Name, in.State, in.Read, in.Bytes, in.Dropped, in.Percent, in.NoTuple}, "\t"))
	}
	return rows
}

func outputRows(all []outputView) (rows []string) {
	for _, out := range all {
		rows = append(rows, strings.Join([]string{out.Name, out.Message, out.State, out.Payloads, out.Bytes, out.Dropped, out.Errors}, "\t"))
	}
	return rows
}

// table sets rows of cells in columns below their heads, some of the rows at most.
func table(head string, most int, rows []string) []string {
	more := len(rows) - most
	if more > 0 {
		rows = rows[:most]
	}
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, head)
	for _, row := range rows {
		fmt.Fprintln(w, row)
	}
	w.Flush()
	lines := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
	lines[0] = soft.Render(lines[0])
	if more > 0 {
		lines = append(lines, soft.Render(fmt.Sprintf("and %d more", more)))
	}
	return lines
}

// list is that of the busiest, of so many lines.
func (m *model) list(room int) []string {
	var tabs []string
	for i, l := range lists {
		name := fmt.Sprintf(" %d %s ", i+1, l.name)
		if i == m.kind {
			name = chosen.Render(name)
		}
		tabs = append(tabs, name)
	}
	order := "by packets"
	if m.byBytes {
		order = "by bytes"
	}
	line := strings.Join(tabs, " ") + soft.Render("   "+order)
	switch {
	case m.typing:
		line += "   /" + m.filter + chosen.Render(" ")
	case m.filter != "":
		line += "   /" + m.filter
	}
	unit, seconds := "/S", max(m.shown.Seconds, 1e-3)
	if m.totals {
		unit, seconds = "", 1
	}
	kind := &lists[m.kind]
	lines := []string{line, soft.Render(fmt.Sprintf("%10s %10s %7s  %s", "PACKETS"+unit, "BYTES"+unit, "SHARE", kind.key))}
	for _, c := range busiest(kind.of(&m.shown.Counts), m.filter, m.byBytes, max(room-len(lines), 0)) {
		share := c.Packets / max(m.shown.Packets, 1e-3)
		if m.byBytes {
			share = c.Bytes / max(m.shown.Bytes, 1e-3)
		}
		lines = append(lines, fmt.Sprintf("%10s %10s %6.1f%%  %s", atMost(&c)+quantity(c.Packets/seconds), quantity(c.Bytes/seconds), 100*min(share, 1), c.Key))
	}
	return lines[:min(len(lines), room)]
}

// atMost marks a count that may be another's by more than a twentieth.
func atMost(c *talkers.Count) string {
	if c.Error > c.Packets/20 {
		return "<"
	}
	return ""
}

// foot is what was said last, and the keys.
func (m *model) foot() (lines []string) {
	for _, line := range m.shown.words {
		if m.height < 20 {
			break // the list is worth more
		}
		if _, rest, found := strings.Cut(line, " level="); found {
			line = rest // there is no room for the time
		}
		lines = append(lines, soft.Render(strings.TrimSpace(line)))
	}
	if m.help {
		return append(lines, strings.Split(strings.TrimSuffix(topKeys, "\n"), "\n")...)
	}
	return append(lines, soft.Render("q quit · p pause · s sort · Tab next list · / filter · ? help"))
}
