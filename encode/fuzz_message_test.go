package encode

import (
	"bytes"
	"errors"
	"net/netip"
	"testing"

	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"

	"nmsgsensor/tuple"
	"nmsgsensor/tuple/guard"
)

// messages are base:packet and base:ipconn for the protobuf runtime, as in
// packet.proto and ipconn.proto. go-nmsg has them in a package that needs much
// else.
var messages = func() protoreflect.MessageDescriptors {
	const text = `name: "base.proto" syntax: "proto2"
		enum_type { name: "PacketType" value { name: "IP" number: 1 } }
		message_type { name: "Packet"
			field { name: "payload_type" number: 1 label: LABEL_REQUIRED type: TYPE_ENUM type_name: ".PacketType" }
			field { name: "payload"      number: 2 label: LABEL_REQUIRED type: TYPE_BYTES } }
		message_type { name: "IPConn"
			field { name: "proto"   number: 1 label: LABEL_OPTIONAL type: TYPE_UINT32 }
			field { name: "srcip"   number: 2 label: LABEL_OPTIONAL type: TYPE_BYTES }
			field { name: "srcport" number: 3 label: LABEL_OPTIONAL type: TYPE_UINT32 }
			field { name: "dstip"   number: 4 label: LABEL_OPTIONAL type: TYPE_BYTES }
			field { name: "dstport" number: 5 label: LABEL_OPTIONAL type: TYPE_UINT32 } }`
	var file descriptorpb.FileDescriptorProto
	if err := prototext.Unmarshal([]byte(text), &file); err != nil {
		panic(err)
	}
	d, err := protodesc.NewFile(&file, nil)
	if err != nil {
		panic(err)
	}
	return d.Messages()
}()

// value returns the field of that number.
func value(m *dynamicpb.Message, number protoreflect.FieldNumber) protoreflect.Value {
	return m.Get(m.Descriptor().Fields().ByNumber(number))
}

// FuzzMessages holds the messages against those of the protobuf runtime. What is
// taken encodes again to the same meaning.
func FuzzMessages(f *testing.F) {
	for _, name := range []string{"plain", "ipconn"} {
		all, _, _ := decodeAll(read(f, "nmsg/"+name+".nmsg"))
		for _, p := range all {
			f.Add([]byte(p.Data))
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		const most = 1 << 10 // an error or two; nothing grows
		guard.Memory(t, most, func() { ParsePacket(b); ParseIPConn(b) })
		guard.Bytes(t, b, func(b []byte) {
			checkPacket(t, b)
			checkIPConn(t, b)
		})
	})
}

func checkPacket(t *testing.T, b []byte) {
	want := dynamicpb.NewMessage(messages.ByName("Packet"))
	wantErr := proto.Unmarshal(b, want)
	payload := value(want, 2).Bytes()
	ip, err := ParsePacket(b)
	switch {
	case err == nil && wantErr != nil:
		t.Fatalf("packet taken; the runtime says %v", wantErr)
	case err == nil && !bytes.Equal(ip, payload):
		t.Fatalf("packet %x, want %x", ip, payload)
	case err == nil:
		ours := appendPacketMessage(nil, ip)
		if m := (Message{Data: b, HasCRC: true}); m.IsPlainPacket(ip) != bytes.Equal(b, ours) {
			t.Fatalf("%x plain: %v; ours is %x", b, m.IsPlainPacket(ip), ours)
		}
		again, err := ParsePacket(ours)
		if err != nil || !bytes.Equal(ip, again) {
			t.Fatalf("packet %x became %x, %v", ip, again, err)
		}
	case wantErr == nil && !hasGroup(b, 1) && !hasOtherKind(b):
		t.Fatalf("packet: %v; the runtime takes %x", err, payload)
	}
}

// hasOtherKind says whether a base:packet message names a kind other than IP.
// The runtime keeps the last that it knows; protobuf-c, the last.
func hasOtherKind(b []byte) bool {
	other := false
	err := eachField(b, func(key, v uint64, _ []byte) bool {
		other = other || key == keyPacketType && uint32(v) != packetTypeIP
		return true
	})
	return err == nil && other
}

func checkIPConn(t *testing.T, b []byte) {
	want := dynamicpb.NewMessage(messages.ByName("IPConn"))
	wantErr := proto.Unmarshal(b, want)
	tp, err := ParseIPConn(b)
	src, srcOK := netip.AddrFromSlice(value(want, 2).Bytes())
	dst, dstOK := netip.AddrFromSlice(value(want, 4).Bytes())
	protocol, srcPort, dstPort := value(want, 1).Uint(), value(want, 3).Uint(), value(want, 5).Uint()
	is5Tuple := srcOK && dstOK && srcPort <= 0xffff && dstPort <= 0xffff && protocol <= 0xff
	meant := tuple.Tuple{Src: src, Dst: dst, SrcPort: uint16(srcPort), DstPort: uint16(dstPort), Proto: uint8(protocol)}
	switch {
	case err == nil && wantErr != nil:
		t.Fatalf("ipconn taken; the runtime says %v", wantErr)
	case err == nil && (tp != meant || !is5Tuple):
		t.Fatalf("ipconn %v, want %v", tp, meant)
	case err == nil:
		msg := appendIPConnMessage(nil, &tp)
		again, err := ParseIPConn(msg)
		if err != nil || again != tp || len(msg) != ipconnMessageSize(&tp) {
			t.Fatalf("%v became %v, %v", tp, again, err)
		}
	case errors.Is(err, errProto) && wantErr == nil && !hasGroup(b, 1), errors.Is(err, errNotIPConn) && wantErr == nil && is5Tuple:
		t.Fatalf("ipconn: %v; the runtime takes %v", err, meant)
	}
}
