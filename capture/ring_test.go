package capture

import (
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestCountersOfAnInterface: where nothing is to be read nothing is known, and what
// was counted before does not count again.
func TestCountersOfAnInterface(t *testing.T) {
	var c sysfsCounters
	defer c.close()
	for range 2 {
		f, err := os.CreateTemp(t.TempDir(), "")
		if err != nil {
			t.Fatal(err)
		}
		c.files = append(c.files, f)
	}
	for i, step := range []struct {
		missed, fifo string
		grown        uint64
	}{
		{"5\n", "2\n", 7}, {"5\n", "3\n", 1}, {"", "", 0}, {"9\n", "", 0}, {"9\n", "3\n", 4}, {"1\n", "1\n", 0},
		{"2\n", "1\n", 1}, {"18446744073709551612\n", "1\n", 18446744073709551610},
	} {
		for k, text := range []string{step.missed, step.fifo} {
			c.files[k].Truncate(0)
			c.files[k].WriteAt([]byte(text), 0)
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
