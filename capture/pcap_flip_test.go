package capture

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestOneBitCostsOnePacket flips one bit of each byte behind the file header in
// turn. In a capture of some length no more than one packet is lost by that, and
// no more than one tuple is there that was not: that of the packet hit. In
// pcapng, a description or its link type goes for all packets of its interface.
func TestOneBitCostsOnePacket(t *testing.T) {
	const some = 6 // fewer records are no chain to trust
	for name, b := range golden(t) {
		want, _, err := readBytes(b)
		if err != nil || filepath.Ext(name) == ".nmsg" {
			continue
		}
		for _, n := range places(len(b), 4000) {
			if n < pcapHeaderLen {
				continue
			}
			flip := byte(1) << (n % 8)
			b[n] ^= flip
			got, _, _ := readBytes(b)
			b[n] ^= flip
			foreign, left := 0, slices.Clone(want)
			for _, s := range got {
				if i := slices.Index(left, s); i >= 0 {
					left = slices.Delete(left, i, i+1)
				} else if s = strings.TrimSuffix(s, ", cut"); strings.Contains(s, " > ") && !slices.Contains(want, s) {
					foreign++
				}
			}
			if foreign > 1 || len(want) >= some && len(left) > 1 {
				t.Errorf("%s byte %d ^ %#x: %d foreign tuples, %d packets lost: %v", name, n, flip, foreign, len(left), got)
			}
		}
	}
}
