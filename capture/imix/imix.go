// Package imix makes the traffic that benchmarks read: a simple mix of packet
// sizes as the Internet has it, of many flows, the same bytes each time.
package imix

import (
	"bufio"
	"encoding/binary"
	"io"
)

// sizes are those of Ethernet frames without their check sequence: 64, 576 and
// 1500 bytes at 7:4:1 (RFC 6985, Appendix A of which has the simple mix).
var sizes = [12]int{64, 576, 64, 64, 576, 64, 1500, 64, 576, 64, 576, 64}

const (
	flows   = 100_000
	perSec  = 1_000_000 // packets
	v6Every = 5         // one packet in so many is IPv6
)

// WritePcap writes a capture of n packets of Ethernet: IPv4 with TCP, and a fifth
// IPv6 with UDP, in 100,000 flows, a microsecond apart.
func WritePcap(w io.Writer, n int) error {
	le := binary.LittleEndian
	head := le.AppendUint32(nil, 0xa1b2c3d4) // pcap-savefile(5)
	head = le.AppendUint16(le.AppendUint16(head, 2), 4)
	head = append(head, make([]byte, 8)...)
	head = le.AppendUint32(le.AppendUint32(head, 262144), 1)
	out := bufio.NewWriterSize(w, 1<<20)
	out.Write(head)
	record := make([]byte, 16+1500)
	for i := range n {
		size := sizes[i%len(sizes)]
		le.PutUint32(record, 1424588307+uint32(i/perSec))
		le.PutUint32(record[4:], uint32(i%perSec))
		le.PutUint32(record[8:], uint32(size))
		le.PutUint32(record[12:], uint32(size))
		clear(record[16:])
		frame(record[16:16+size], uint32(i)*2654435761%flows, i%v6Every == 0)
		if _, err := out.Write(record[:16+size]); err != nil {
			return err
		}
	}
	return out.Flush()
}

// frame fills in the headers of b, which is zero, and a payload that does not
// compress to nothing.
func frame(b []byte, flow uint32, isV6 bool) {
	be := binary.BigEndian
	copy(b, "\x02\x00\x00\x00\x00\x01\x02\x00\x00\x00\x00\x02")
	if isV6 {
		be.PutUint16(b[12:], 0x86dd)
		b[14], b[20], b[21] = 0x60, 17, 64
		be.PutUint16(b[18:], uint16(len(b)-14-40))
		be.PutUint32(b[22:], 0x20010db8)
		be.PutUint32(b[34:], flow)
		be.PutUint32(b[38:], 0x20010db8)
		b[53] = 1
		be.PutUint16(b[54:], uint16(1024+flow%50000))
		be.PutUint16(b[56:], 443)
		be.PutUint16(b[58:], uint16(len(b)-14-40))
	} else {
		be.PutUint16(b[12:], 0x0800)
		b[14], b[22], b[23] = 0x45, 64, 6
		be.PutUint16(b[16:], uint16(len(b)-14))
		be.PutUint32(b[26:], 0x0a000000+flow)
		be.PutUint32(b[30:], 0xc0000201)
		be.PutUint16(b[34:], uint16(1024+flow%50000))
		be.PutUint16(b[36:], 443)
		b[46] = 0x50
	}
	for i, v := 62, flow; i < len(b); i++ {
		v = v*1664525 + 1013904223
		b[i] = byte(v >> 24)
	}
}
