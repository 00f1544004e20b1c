package output

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"
)

// TestAppendAddr holds addresses against package netip: each byte of IPv4 at each
// place, and IPv6 with runs of zeros of all lengths at all places.
func TestAppendAddr(t *testing.T) {
	check := func(a netip.Addr, want string) {
		t.Helper()
		if got := string(appendAddr([]byte("<"), &a)); got != "<"+want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	for i := range 4 {
		for v := range 256 {
			b := [4]byte{192, 0, 2, 10}
			b[i] = byte(v)
			check(netip.AddrFrom4(b), netip.AddrFrom4(b).String())
		}
	}
	r := rand.New(rand.NewPCG(1, 2))
	for mask := range 1 << 8 {
		for range 50 {
			var b [16]byte
			for i := range 8 {
				if mask>>i&1 != 0 {
					v := r.Uint32() >> (16 + 4*r.IntN(4)) // of one to four digits
					b[2*i], b[2*i+1] = byte(v>>8), byte(v)
				}
			}
			if isIPv4Compatible(&b) {
				check(netip.AddrFrom16(b), fmt.Sprintf("::%d.%d.%d.%d", b[12], b[13], b[14], b[15]))
			} else {
				check(netip.AddrFrom16(b), netip.AddrFrom16(b).String())
			}
		}
	}
	for _, s := range []string{"::", "::1", "::ffff:192.0.2.1", "::192.0.2.1", "1::"} {
		check(netip.MustParseAddr(s), s)
	}
}

func TestAppendPort(t *testing.T) {
	for v := range 1 << 16 {
		if got := string(appendPort([]byte("."), uint16(v))); got != fmt.Sprintf(".%d", v) {
			t.Fatalf("%d: %s", v, got)
		}
	}
}

func TestClock(t *testing.T) {
	var c clock
	for _, at := range []time.Time{
		time.Unix(0, 0), time.Unix(0, 1), time.Unix(0, 999_999_999), time.Unix(1, 20_003_000), time.Unix(-1, 5), time.Unix(1<<33, 100_200_300),
	} {
		if got, want := string(c.append([]byte("["), at)), at.UTC().Format("[2006-01-02 15:04:05.000000000"); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}
