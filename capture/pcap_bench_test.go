package capture

import (
	"context"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"
)

// imix returns a capture of n Ethernet frames of 64, 576 and 1500 bytes at
// 7:4:1, a fifth of them IPv6, in 100,000 flows.
func imix(n int) []byte {
	le := binary.LittleEndian
	b := le.AppendUint32(nil, magicMicro)
	b = le.AppendUint32(b, 4<<16|2)
	b = append(b, make([]byte, 8)...)
	b = le.AppendUint32(b, maxCapture)
	b = le.AppendUint32(b, uint32(linkEthernet))
	sizes := [12]int{64, 576, 64, 64, 576, 64, 1500, 64, 576, 64, 576, 64}
	for i := range n {
		size := sizes[i%len(sizes)]
		b = le.AppendUint32(b, 1424588307+uint32(i/1000000))
		b = le.AppendUint32(b, uint32(i%1000000))
		b = le.AppendUint32(b, uint32(size))
		b = le.AppendUint32(b, uint32(size))
		frame := make([]byte, size)
		flow := uint32(i) * 2654435761 % 100000
		if i%5 == 0 {
			frame[12], frame[13] = 0x86, 0xdd
			frame[14], frame[20], frame[21] = 0x60, 17, 64
			binary.BigEndian.PutUint16(frame[18:], uint16(size-54))
			binary.BigEndian.PutUint32(frame[22:], 0x20010db8)
			binary.BigEndian.PutUint32(frame[34:], flow)
			binary.BigEndian.PutUint32(frame[38:], 0x20010db8)
			binary.BigEndian.PutUint16(frame[54:], uint16(flow))
		} else {
			frame[12] = 8
			frame[14], frame[22], frame[23] = 0x45, 64, 6
			binary.BigEndian.PutUint16(frame[16:], uint16(size-14))
			binary.BigEndian.PutUint32(frame[26:], 0x0a000000+flow)
			binary.BigEndian.PutUint32(frame[30:], 0xc0000201)
			binary.BigEndian.PutUint16(frame[34:], uint16(flow))
		}
		b = append(b, frame...)
	}
	return b
}

func BenchmarkPcap(b *testing.B) {
	const n = 200000
	path := filepath.Join(b.TempDir(), "imix.pcap")
	if err := os.WriteFile(path, imix(n), 0o600); err != nil {
		b.Fatal(err)
	}
	for _, filter := range []string{"", "tcp or udp"} {
		b.Run("filter="+filter, func(b *testing.B) {
			b.ReportAllocs()
			for range b.N {
				src, err := Open(context.Background(), path, AnyFormat, Config{Filter: filter, Log: quiet})
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
