package capture_test

import (
	"context"
	"fmt"

	"nmsgsensor/capture"
	"nmsgsensor/tuple"
)

// Counts the tuples of a capture that a filter lets through.
func ExampleOpen() {
	ctx := context.Background()
	source, err := capture.Open(ctx, "../testdata/pcap/ether4.pcap", capture.AnyFormat, capture.Config{Filter: "udp"})
	if err != nil {
		fmt.Println(err)
		return
	}
	packets := make(map[tuple.Tuple]int)
	skipped := make(map[capture.Reason]int)
	err = source.Run(ctx, func(batch []capture.Packet) error {
		for i := range batch {
			p := &batch[i] // borrowed until we return
			if p.Skip != 0 {
				skipped[p.Skip]++
			} else if t, err := tuple.Parse(p.IP); err == nil {
				packets[t]++
			}
		}
		return nil
	})
	if err != nil {
		fmt.Println(err)
	}
	for t, n := range packets {
		if t.DstPort == 53 {
			fmt.Println(t.Src, t.Dst, n)
		}
	}
	fmt.Println(len(packets), "tuples,", skipped[capture.Filtered], "filtered,", source.Stats().Bytes, "bytes")
	// Output:
	// 192.0.2.1 198.51.100.2 1
	// 6 tuples, 21 filtered, 2151 bytes
}
