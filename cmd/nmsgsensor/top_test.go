package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"
	"golang.org/x/sys/unix"

	"nmsgsensor/cmd/nmsgsensor/talkers"
)

// shownModel is a model that has seen a sensor for ten seconds.
func shownModel(width, height int) model {
	m := model{title: "eth0", every: time.Second}
	l := look{elapsed: 10 * time.Second, words: []string{"time=x level=WARN msg=\"a word\"\n"},
		Counts: talkers.Counts{Seconds: 10, Packets: 1000, Bytes: 90_000,
			Tuples: []talkers.Count{
				{Key: "192.0.2.1.53 --> 192.0.2.2.1024 (17)", Packets: 300, Bytes: 30_000},
				{Key: "2001:db8::1.443 --> 2001:db8::2.1025 (6)", Packets: 600, Bytes: 24_000},
				{Key: "192.0.2.3.22 --> 192.0.2.4.1026 (6)", Packets: 100, Bytes: 36_000, Error: 20},
			},
			Hosts: []talkers.Count{{Key: "192.0.2.1", Packets: 300, Bytes: 30_000}},
			Ports: []talkers.Count{{Key: "tcp 443", Packets: 600, Bytes: 24_000}},
		}}
	l.Inputs = []inputView{{Name: "eth0", State: "up", Read: "100", Bytes: "9 k", Dropped: "0", Percent: "0", NoTuple: "2", Reasons: "not ip 2"}}
	for i := range 6 {
		l.Outputs = append(l.Outputs, outputView{Name: fmt.Sprintf("192.0.2.9/%d", i), Message: "ipconn", State: "down", Payloads: "1", Bytes: "2", Dropped: "3", Errors: "refused 4"})
	}
	l.Problems = []string{"no destination takes datagrams"}
	return told(m, tea.WindowSizeMsg{Width: width, Height: height}, l)
}

// told is the model after messages; a string is keys, one a character or in <>.
func told(m model, all ...any) model {
	for _, msg := range all {
		if keys, ok := msg.(string); ok {
			for _, key := range keys {
				press := tea.KeyPressMsg{Code: key, Text: string(key)}
				switch key {
				case '\n':
					press = tea.KeyPressMsg{Code: tea.KeyEnter}
				case '\x1b':
					press = tea.KeyPressMsg{Code: tea.KeyEscape}
				case '\t':
					press = tea.KeyPressMsg{Code: tea.KeyTab}
				case '\b':
					press = tea.KeyPressMsg{Code: tea.KeyBackspace}
				}
				next, _ := m.Update(press)
				m = next.(model)
			}
			continue
		}
		next, _ := m.Update(msg)
		m = next.(model)
	}
	return m
}

// shown is the text of the screen.
func shown(m model) string { return ansi.Strip(m.View().Content) }

func TestTopShows(t *testing.T) {
	order := func(names ...string) func(string) bool {
		return func(screen string) bool {
			for _, name := range names {
				_, rest, found := strings.Cut(screen, name)
				if !found {
					return false
				}
				screen = rest
			}
			return true
		}
	}
	not := func(name string) func(string) bool {
		return func(screen string) bool { return !strings.Contains(screen, name) }
	}
	other := shownModel(0, 0).latest
	other.Packets, other.elapsed = 5000, 11*time.Second
	for name, test := range map[string]struct {
		msgs []any
		want func(screen string) bool
	}{
		"rates and losses":         {nil, order("eth0 · 10s", "100 packets/s · 9 k bytes/s · lost: 0")},
		"what is wrong":            {nil, order("no destination takes datagrams")},
		"inputs and why":           {nil, order("INPUT", "eth0", "up", "2 (not ip 2)")},
		"some outputs":             {nil, order("OUTPUT", "192.0.2.9/0", "down", "refused 4", "and 3 more")},
		"the busiest first":        {nil, order("60 2.4 k 60.0% 2001:db8::1.443", "192.0.2.1.53", "<10 3.6 k")},
		"by bytes":                 {[]any{"s"}, order("by bytes", "40.0% 192.0.2.3.22", "192.0.2.1.53", "2001:")},
		"and back":                 {[]any{"ss"}, order("by packets", "2001:", "192.0.2.1.53")},
		"hosts":                    {[]any{"2"}, order("HOST", "192.0.2.1")},
		"ports":                    {[]any{"\t\t"}, order("PORT", "tcp 443")},
		"tuples again":             {[]any{"\t\t\t"}, order("TUPLE")},
		"what the filter has":      {[]any{"/DB8\n"}, order("/DB8", "2001:db8::1.443")},
		"and nothing else":         {[]any{"/DB8\n"}, not("192.0.2.1.53")},
		"a filter being typed":     {[]any{"/q3\b2"}, order("/q2")},
		"all without the filter":   {[]any{"/DB8\n\x1b"}, order("2001:", "192.0.2.1.53")},
		"what came last":           {[]any{other}, order("eth0 · 11s", "500 packets/s")},
		"nothing new in a pause":   {[]any{"p", other}, order("10s", "paused", "100 packets/s")},
		"what came in a pause":     {[]any{"p", other, "p"}, order("11s", "500 packets/s")},
		"the end":                  {[]any{ended(other)}, order("11s", "ended")},
		"nothing after the end":    {[]any{ended(other), shownModel(0, 0).latest}, order("11s", "ended")},
		"words without their time": {nil, order("WARN msg=\"a word\"")},
		"and no time":              {nil, not("time=x")},
		"keys":                     {nil, order("q quit")},
		"help":                     {[]any{"?"}, order("Ctrl-C", "only what has TEXT")},
		"no help":                  {[]any{"??"}, not("only what has TEXT")},
	} {
		m := told(shownModel(80, 26), test.msgs...)
		if !test.want(strings.Join(strings.Fields(shown(m)), " ")) { // columns are not the matter
			t.Errorf("%s:\n%s", name, shown(m))
		}
	}
}

// TestTopFitsAnyTerminal: it has as many lines as there are, none is wider, and
// where there is room for it the list has some lines.
func TestTopFitsAnyTerminal(t *testing.T) {
	for _, keys := range []string{"", "?", "/x"} {
		for _, width := range []int{1, 10, 79, 80, 200} {
			for height := 1; height < 60; height++ {
				screen := shown(told(shownModel(width, height), keys))
				lines := strings.Split(screen, "\n")
				if len(lines) != height {
					t.Fatalf("%d lines on %dx%d", len(lines), width, height)
				}
				for _, line := range lines {
					if n := ansi.StringWidth(line); n > width {
						t.Fatalf("%d columns on %dx%d: %q", n, width, height, line)
					}
				}
				if height >= 16 && width >= 79 && keys == "" && !strings.Contains(screen, "2001:db8::1.443") {
					t.Errorf("no list on %dx%d:\n%s", width, height, screen)
				}
			}
		}
	}
}

// TestTopEnds: the keys that end it do so where they are not for the filter.
func TestTopEnds(t *testing.T) {
	ends := func(m model, msg tea.KeyPressMsg) bool {
		_, cmd := m.Update(msg)
		if cmd == nil {
			return false
		}
		_, quit := cmd().(tea.QuitMsg)
		return quit
	}
	m, q, interrupt := shownModel(80, 24), tea.KeyPressMsg{Code: 'q', Text: "q"}, tea.KeyPressMsg{Code: 'c', Mod: tea.ModCtrl}
	if !ends(m, q) || !ends(m, interrupt) || ends(told(m, "/"), q) || !ends(told(m, "/"), interrupt) {
		t.Error("q or Ctrl-C")
	}
}

// onScreen is top in a terminal.
type onScreen struct {
	t            *testing.T
	cmd          *exec.Cmd
	ours, theirs *os.File
	text         words // all that came to the terminal
}

func startTop(t *testing.T, args ...string) *onScreen {
	t.Helper()
	s := &onScreen{t: t, cmd: exec.Command("nmsgsensor", append([]string{"top"}, args...)...)}
	s.ours, s.theirs = openTerminal(t, 80)
	s.cmd.Stdin, s.cmd.Stdout, s.cmd.Stderr = s.theirs, s.theirs, s.theirs
	s.cmd.Env = append(os.Environ(), "TERM=xterm-256color", "GORACE=atexit_sleep_ms=0")
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.cmd.Process.Kill() })
	go func() { // ends when the terminal is closed
		buf := make([]byte, 4096)
		for {
			n, err := s.ours.Read(buf)
			if err != nil {
				return
			}
			s.text.Write(buf[:n])
		}
	}()
	return s
}

// shows waits for a text.
func (s *onScreen) shows(want string) {
	s.t.Helper()
	for end := time.Now().Add(patience); !strings.Contains(s.text.String(), want); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			s.t.Fatalf("no %q in %q", want, s.text.String())
		}
	}
}

// TestTopInATerminal finds a tuple on the screen, and the terminal as it was when
// a key or a signal has ended it; what was to be told comes after that.
func TestTopInATerminal(t *testing.T) {
	for name, end := range map[string]func(*onScreen){
		"q":       func(s *onScreen) { s.ours.WriteString("q") },
		"Ctrl-C":  func(s *onScreen) { s.ours.WriteString("\x03") },
		"SIGTERM": func(s *onScreen) { s.cmd.Process.Signal(syscall.SIGTERM) },
	} {
		s := startTop(t, "--seccomp", "../../testdata/pcap/ether4.pcap", "nowhere.pcap")
		s.shows("2001:db8::1.40000 --> 2001:db8::2.22 (6)")
		end(s)
		err := s.cmd.Wait()
		if s.cmd.ProcessState.ExitCode() != exitFailed { // there is one file too many
			t.Errorf("%s: %v", name, err)
		}
		s.shows("nmsgsensor: read=31 ")
		_, after, left := strings.Cut(s.text.String(), "\x1b[?1049l") // the alternate screen
		if !left || !strings.Contains(after, "delivered=13") {
			t.Errorf("%s: %q", name, s.text.String())
		}
		if lines, err := unix.IoctlGetTermios(int(s.theirs.Fd()), unix.TCGETS); err != nil || lines.Lflag&(unix.ICANON|unix.ECHO) != unix.ICANON|unix.ECHO {
			t.Errorf("%s: the terminal takes no lines any more: %v", name, err)
		}
	}
}

// TestTopLive shows what passes an interface, and that a collector refuses it.
func TestTopLive(t *testing.T) {
	enterNamespace(t)
	s := startTop(t, "-i", "vb", "-s", "127.0.0.1/9430", "--stats", "100ms", "--flush", "20ms")
	s.shows("NOT DELIVERED")
	send, frame := sender(t, "va"), framesOf(t, "ether4.pcap")[0]
	for end := time.Now().Add(patience); !strings.Contains(s.text.String(), "no destination takes datagrams") && time.Now().Before(end); time.Sleep(time.Millisecond) {
		send(frame)
	}
	s.shows("no destination takes datagrams")
	s.shows("192.0.2.1.51512 --> 198.51.100.2.443 (6)")
	s.ours.WriteString("q")
	if err := s.cmd.Wait(); err != nil {
		t.Error(err)
	}
	s.shows("in.vb.kernel_dropped=0")
}

// TestLogIsHeldWhileTheScreenIsTaken, and no more than there is use for.
func TestLogIsHeldWhileTheScreenIsTaken(t *testing.T) {
	var out bytes.Buffer
	w := &heldLog{w: &out}
	fmt.Fprintln(w, "before")
	w.hold()
	for i := range linesHeld + 1 {
		fmt.Fprintln(w, i)
	}
	if got := w.last(); out.String() != "before\n" || len(got) != 2 || got[1] != "100\n" {
		t.Errorf("%q, %q", out.String(), got)
	}
	w.release()
	fmt.Fprintln(w, "after")
	if got := out.String(); !strings.HasPrefix(got, "before\n1\n2\n") || !strings.HasSuffix(got, "100\nafter\n") || len(w.last()) != 0 {
		t.Errorf("%q", got)
	}
}
