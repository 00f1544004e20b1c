package encode

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"testing"

	"nmsgsensor/tuple"
)

// TestMessagesArePassedOnAsTheyAre: the bytes are those that AppendPacket makes,
// and the limit cuts at the same place.
func TestMessagesArePassedOnAsTheyAre(t *testing.T) {
	labels := Labels{Source: 1, Group: 300}
	for n := range 300 {
		ip := bytes.Repeat([]byte{byte(n)}, n*n/50)
		m := Message{Data: appendPacketMessage(nil, ip), HasCRC: true}
		m.CRC = checksum(m.Data)
		if !m.IsPlainPacket(ip) {
			t.Fatalf("%d bytes: not plain", len(ip))
		}
		var made, passed Container
		for {
			a := made.AppendPacket(someTime, labels, ip, MinContainer)
			b := passed.AppendMessage(TypePacket, someTime, labels, &m, MinContainer)
			if a != b {
				t.Fatalf("%d bytes, %d payloads: fits %v, %v", len(ip), made.Len(), a, b)
			}
			if !a {
				break
			}
		}
		if a, b := made.Seal(nil, false), passed.Seal(nil, false); !bytes.Equal(a, b) {
			t.Fatalf("%d bytes: %x, want %x", len(ip), b, a)
		}
	}
}

// TestMessagesInOtherForms are made anew.
func TestMessagesInOtherForms(t *testing.T) {
	const ip = "E\x00"
	for name, m := range map[string]Message{
		"no CRC":               {Data: []byte("\x08\x01\x12\x02" + ip)},
		"another order":        {Data: []byte("\x12\x02" + ip + "\x08\x01"), HasCRC: true},
		"a type twice":         {Data: []byte("\x08\x01\x08\x01\x12\x02" + ip), HasCRC: true},
		"another packet first": {Data: []byte("\x08\x01\x12\x01F\x12\x02" + ip), HasCRC: true},
		"a longer length":      {Data: []byte("\x08\x01\x12\x82\x00" + ip), HasCRC: true},
		"an unknown field":     {Data: []byte("\x08\x01\x12\x02" + ip + "\x18\x00"), HasCRC: true},
	} {
		got, err := ParsePacket(m.Data)
		if err != nil || string(got) != ip || m.IsPlainPacket(got) {
			t.Errorf("%s: %q, %v, plain %v", name, got, err, m.IsPlainPacket(got))
		}
	}
}

// TestIPConnMessage holds what is written in words against field by field: ports
// and protocols of all lengths, addresses of both kinds.
func TestIPConnMessage(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	addr := func() netip.Addr {
		var v [16]byte
		for i := range v {
			v[i] = byte(r.Uint32())
		}
		if r.IntN(2) == 0 {
			return netip.AddrFrom4([4]byte(v[:]))
		}
		return netip.AddrFrom16(v)
	}
	for port := range 1 << 16 {
		tp := tuple.Tuple{Src: addr(), Dst: addr(), SrcPort: uint16(port), DstPort: uint16(r.Uint32()), Proto: uint8(r.Uint32())}
		want := binary.AppendUvarint([]byte{0x08}, uint64(tp.Proto))
		want = append(append(want, 0x12, byte(len(tp.Src.AsSlice()))), tp.Src.AsSlice()...)
		want = binary.AppendUvarint(append(want, 0x18), uint64(tp.SrcPort))
		want = append(append(want, 0x22, byte(len(tp.Dst.AsSlice()))), tp.Dst.AsSlice()...)
		want = binary.AppendUvarint(append(want, 0x28), uint64(tp.DstPort))
		got := appendIPConnMessage(nil, &tp)
		if !bytes.Equal(got, want) || ipconnMessageSize(&tp) != len(want) {
			t.Fatalf("%+v: %x, want %x", tp, got, want)
		}
	}
}
