// Package guard holds parsers of foreign bytes to their bounds, in tests.
package guard

import (
	"bytes"
	"runtime"
	"slices"
	"testing"
)

// Bytes calls fn with a copy of b that ends at its capacity, and fails the test
// where fn writes to it or to the bytes around it.
func Bytes(t testing.TB, b []byte, fn func([]byte)) {
	t.Helper()
	all := slices.Concat([]byte{0xa5}, b, []byte{0x5a})
	fn(all[1 : 1+len(b) : 1+len(b)])
	if all[0] != 0xa5 || all[len(all)-1] != 0x5a || !bytes.Equal(all[1:1+len(b)], b) {
		t.Fatal("the input was written to")
	}
}

// Memory holds fn to that many bytes of memory. Others may allocate meanwhile, so
// it may try again.
func Memory(t testing.TB, most int, fn func()) {
	t.Helper()
	var used uint64
	for range 3 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		fn()
		runtime.ReadMemStats(&after)
		if used = after.TotalAlloc - before.TotalAlloc; used <= uint64(most) {
			return
		}
	}
	t.Fatalf("%d bytes were allocated, %d are allowed", used, most)
}

// NoAllocation holds fn to no allocation at all.
func NoAllocation(t testing.TB, fn func()) {
	t.Helper()
	for _, runs := range []int{1, 5} { // others may allocate meanwhile
		if testing.AllocsPerRun(runs, fn) == 0 {
			return
		}
	}
	t.Fatal("something was allocated")
}
