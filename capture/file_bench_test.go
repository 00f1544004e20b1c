package capture

import (
	"context"
	"os"
	"path/filepath"
	"testing"
)

func BenchmarkFile(b *testing.B) {
	const n = 200_000
	for _, c := range []struct {
		name, filter string
		content      []byte
	}{
		{"pcap", "", imixPcap(b, n)},
		{"pcap, filtered", "tcp or udp", imixPcap(b, n)},
		{"NMSG", "", imixStream(b, n, false)},
		{"NMSG, zlib", "", imixStream(b, n, true)},
	} {
		path := filepath.Join(b.TempDir(), "imix")
		if err := os.WriteFile(path, c.content, 0o600); err != nil {
			b.Fatal(err)
		}
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for range b.N {
				src, err := Open(context.Background(), path, AnyFormat, Config{Filter: c.filter, Log: quiet})
				if err != nil {
					b.Fatal(err)
				}
				got := 0
				src.Run(context.Background(), func(batch []Packet) error { got += len(batch); return nil })
				if got != n {
					b.Fatal(got)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n*b.N), "ns/packet")
		})
	}
}
