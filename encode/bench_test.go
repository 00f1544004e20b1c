package encode

import (
	"net/netip"
	"testing"
	"time"
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
		b.ReportAllocs()
		for b.Loop() {
			if c.AppendIPConn(someTime, Labels{}, &someTuple, 0); c.Size(nil) > 500_000 {
				c.Reset()
			}
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
