package capture

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestCountersOfAnInterfaceThatIsRenamed: while its files are not there nothing is
// known, and what was counted before does not count again.
func TestCountersOfAnInterfaceThatIsRenamed(t *testing.T) {
	dir := t.TempDir()
	missed, fifo := filepath.Join(dir, "missed"), filepath.Join(dir, "fifo")
	c := sysfsCounters{files: [2]string{missed, fifo}}
	for i, step := range []struct {
		missed, fifo string // "" for no file
		grown        uint64
	}{
		{"5\n", "2\n", 7}, {"5\n", "3\n", 1}, {"", "", 0}, {"9\n", "", 0}, {"9\n", "3\n", 4}, {"1\n", "1\n", 0}, {"2\n", "1\n", 1},
	} {
		for name, text := range map[string]string{missed: step.missed, fifo: step.fifo} {
			if os.Remove(name); text != "" {
				os.WriteFile(name, []byte(text), 0o600)
			}
		}
		if got := c.grown(); got != step.grown {
			t.Errorf("step %d: grown by %d, want %d", i, got, step.grown)
		}
	}
}

// TestFilterThatTheKernelCannotTake: its length would be cut to 16 bits.
func TestFilterThatTheKernelCannotTake(t *testing.T) {
	r := ring{fd: -1}
	err := r.attach(make([]unix.SockFilter, 1<<16+1))
	if err == nil || !strings.Contains(err.Error(), "65537 instructions") {
		t.Error(err)
	}
}
