package output

import (
	"net/netip"
	"testing"
	"time"

	"nmsgsensor/encode"
)

// TestZlibGoesInFragmentsOnlyWhereItMust: no payload that fits a datagram by
// itself does, whatever comes before and behind it, and nothing inflates to more
// than a collector takes.
func TestZlibGoesInFragmentsOnlyWhereItMust(t *testing.T) {
	zeros, random := make([]byte, 60_000), noise(60_000)
	for name, packet := range map[string]func(i int) []byte{
		"nothing to compress":  func(i int) []byte { return random[:40+i%100] },
		"Internet mix":         func(i int) []byte { return random[i%50 : i%50+[]int{40, 400, 430}[i%3]] },
		"much to compress":     func(i int) []byte { return zeros[:i%450] },
		"one after the other":  func(i int) []byte { return [][]byte{zeros[:400], random[:400]}[i/100%2] },
		"nothing but zeros":    func(i int) []byte { return zeros[:20_000+i] },
		"just below the limit": func(i int) []byte { return random[:400+i%25] },
	} {
		for _, mtu := range []int{MinMTU, DefaultMTU, 8192, MaxMTU} {
			c := listen(t)
			u := sinkTo(t, UDPConfig{MTU: mtu, Payloads: Payloads{Kind: Packet, Zlib: true}}, c.spec)
			const n = 1000
			for i := range n {
				u.Write(&Record{Time: time.Unix(1e9, 5), Packet: packet(i)})
				if i%137 == 0 {
					u.Flush()
				}
			}
			u.Close()
			var d encode.Decoder
			got := 0
			for _, b := range c.drain(t) {
				if len(b) > mtu || b[4]&2 != 0 {
					t.Fatalf("%s, mtu %d: %d bytes, flags %d", name, mtu, len(b), b[4])
				}
				if err := d.Decode(b, netip.AddrPort{}, time.Time{}, func(*encode.Payload) error { got++; return nil }); err != nil {
					t.Fatalf("%s, mtu %d: %v", name, mtu, err)
				}
			}
			if got != n || d.Lost() != 0 {
				t.Errorf("%s, mtu %d: %d of %d, lost %d", name, mtu, got, n, d.Lost())
			}
			c.conn.Close()
		}
	}
}
