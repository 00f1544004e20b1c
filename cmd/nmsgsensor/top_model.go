package main

import (
	"cmp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	tea "charm.land/bubbletea/v2"

	"nmsgsensor/cmd/nmsgsensor/talkers"
)

// model is what the terminal shows, and how. Its only view of the sensor is look.
type model struct {
	title  string
	totals bool // no rates
	every  time.Duration
	look   func() look

	latest look
	shown  look // an earlier one while it is paused
	ended  bool // the sensor is, and nothing will change any more
	paused bool
	help   bool

	kind    int    // which of the lists
	byBytes bool   // the order
	filter  string // what a key must have
	typing  bool   // keys are for the filter

	width, height int
}

// ended is the last look.
type ended look

// lists are the kinds of keys.
var lists = []struct {
	name, key string
	of        func(*talkers.Counts) []talkers.Count
}{
	{"tuples", "TUPLE", func(c *talkers.Counts) []talkers.Count { return c.Tuples }},
	{"hosts", "HOST", func(c *talkers.Counts) []talkers.Count { return c.Hosts }},
	{"ports", "PORT", func(c *talkers.Counts) []talkers.Count { return c.Ports }},
}

// Init implements tea.Model.
func (m model) Init() tea.Cmd { return func() tea.Msg { return m.look() } }

// Update implements tea.Model. Looks are taken beside it: one waits while the
// sensor is held up by an output, and keys are heeded all the same.
func (m model) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = msg.Width, msg.Height
	case ended:
		m.ended = true
		m.see(look(msg))
	case look:
		if m.ended {
			break
		}
		m.see(msg)
		return m, tea.Tick(m.every, func(time.Time) tea.Msg { return m.look() })
	case tea.KeyPressMsg:
		if m.typing && msg.String() != "ctrl+c" {
			m.typed(msg)
			break
		}
		return m, m.pressed(msg.String())
	}
	return m, nil
}

func (m *model) see(l look) {
	m.latest = l
	if !m.paused {
		m.shown = l
	}
}

// pressed does what a key asks for.
func (m *model) pressed(key string) tea.Cmd {
	switch key {
	case "q", "ctrl+c":
		return tea.Quit
	case "p", "space":
		m.paused = !m.paused
		m.see(m.latest)
	case "s":
		m.byBytes = !m.byBytes
	case "tab", "right":
		m.kind = (m.kind + 1) % len(lists)
	case "shift+tab", "left":
		m.kind = (m.kind + len(lists) - 1) % len(lists)
	case "1", "2", "3":
		m.kind = int(key[0] - '1')
	case "/":
		m.typing, m.filter = true, ""
	case "?", "h":
		m.help = !m.help
	case "esc":
		m.filter, m.help = "", false
	}
	return nil
}

// typed takes a key for the filter.
func (m *model) typed(key tea.KeyPressMsg) {
	switch key.String() {
	case "enter":
		m.typing = false
	case "esc":
		m.typing, m.filter = false, ""
	case "backspace":
		_, n := utf8.DecodeLastRuneInString(m.filter)
		m.filter = m.filter[:len(m.filter)-n]
	default:
		m.filter += key.Text
	}
}

// busiest returns the keys of a list that have the filter in them, the busiest
// first, and no more than n.
func busiest(all []talkers.Count, filter string, byBytes bool, n int) []talkers.Count {
	filter = strings.ToLower(filter)
	kept := make([]talkers.Count, 0, len(all))
	for _, c := range all {
		if strings.Contains(strings.ToLower(c.Key), filter) {
			kept = append(kept, c)
		}
	}
	slices.SortFunc(kept, func(a, b talkers.Count) int {
		order := cmp.Compare(b.Packets, a.Packets)
		if byBytes {
			order = cmp.Compare(b.Bytes, a.Bytes)
		}
		return cmp.Or(order, strings.Compare(a.Key, b.Key))
	})
	return kept[:min(n, len(kept))]
}
