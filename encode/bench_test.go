package encode

import (
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"nmsgsensor/tuple"
)

func BenchmarkAppend(b *testing.B) {
	ip := make([]byte, 374)
	var c Container
	b.Run("packet", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if c.AppendPacket(someTime, Labels{}, ip, 0); c.Size(nil) > 500_000 {
				c.Reset()
			}
		}
	})
	b.Run("message", func(b *testing.B) {
		m := Message{Data: appendPacketMessage(nil, ip), HasCRC: true}
		b.ReportAllocs()
		for b.Loop() {
			if c.AppendMessage(TypePacket, someTime, Labels{}, &m, 0); c.Size(nil) > 500_000 {
				c.Reset()
			}
		}
	})
	b.Run("ipconn", func(b *testing.B) {
		var tuples [1 << 12]tuple.Tuple // of all lengths, a fifth IPv6
		for i := range tuples {
			r := rand.New(rand.NewPCG(uint64(i), 1))
			src, dst := [16]byte{0x20, 1, 15: byte(i)}, [16]byte{0x20, 2, 15: byte(i)}
			tuples[i] = tuple.Tuple{Src: netip.AddrFrom16(src), Dst: netip.AddrFrom16(dst),
				SrcPort: uint16(r.Uint32() >> r.IntN(10)), DstPort: uint16(r.Uint32() >> r.IntN(10)), Proto: 6}
			if i%5 != 0 {
				tuples[i].Src, tuples[i].Dst = netip.AddrFrom4([4]byte(src[12:])), netip.AddrFrom4([4]byte(dst[12:]))
			}
		}
		i := 0
		b.ReportAllocs()
		for b.Loop() {
			if c.AppendIPConn(someTime, Labels{}, &tuples[i%len(tuples)], 0); c.Size(nil) > 500_000 {
				c.Reset()
			}
			i++
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	var c Container
	for range 1000 {
		c.AppendPacket(someTime, Labels{}, make([]byte, 374), 0)
	}
	sealed := c.Seal(nil, false)
	var d Decoder
	b.ReportAllocs()
	for b.Loop() {
		d.Decode(sealed, netip.AddrPort{}, time.Time{}, func(*Payload) error { return nil })
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/payload")
}
