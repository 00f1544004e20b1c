package encode

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"
	"time"

	nmsg "github.com/farsightsec/go-nmsg"
	"google.golang.org/protobuf/encoding/protowire"

	"nmsgsensor/tuple/guard"
)

// The memory that a Decoder may take: this, and so much for each byte of a body.
// A payload of 13 bytes takes 80 here, in a list that doubles; so does a packed
// CRC of one byte, in four.
const (
	decoderBase    = 256 << 10
	decoderPerByte = 24
)

// refusals are the containers that go-nmsg takes and a Decoder rightly does not,
// each with what decides.
var refusals = []struct {
	reason  string
	applies func(b []byte, err error) bool
}{
	{"nmsg/container.c: another version or flag", func(_ []byte, err error) bool { return err == errVersion || err == errFlags }},
	{"nmsg/container.c: the length is that of the datagram", func(_ []byte, err error) bool { return err == errLength }},
	{"nmsg/constants.h: NMSG_WBUFSZ_MAX", func(_ []byte, err error) bool { return err == errTooLong }},
	{"nmsg/zbuf.c: the length is that of what inflates", func(b []byte, err error) bool { return err == errInflate && b[4] == flagZlib }},
	{"protobuf.dev, Encoding: groups are deprecated; protobuf-c has none", func(b []byte, err error) bool {
		body, ok := plainBody(b)
		return err == errBody && ok && hasGroup(body, 2)
	}},
}

func refusal(b []byte, err error) string {
	for _, r := range refusals {
		if r.applies(b, err) {
			return r.reason
		}
	}
	return ""
}

// plainBody returns the body of a container that is no fragment, inflated.
func plainBody(b []byte) ([]byte, bool) {
	if b[4]&flagZlib == 0 {
		return b[HeaderSize:], true
	}
	var f inflater
	body, err := f.inflate(b[HeaderSize:])
	return body, err == nil
}

// hasGroup says whether a group is in a message or in what it holds, so deep.
func hasGroup(b []byte, depth int) bool {
	for len(b) > 0 {
		_, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return false
		}
		if typ == protowire.StartGroupType {
			return true
		}
		if typ == protowire.BytesType && depth > 1 {
			if inner, k := protowire.ConsumeBytes(b[n:]); k >= 0 && hasGroup(inner, depth-1) {
				return true
			}
		}
		k := protowire.ConsumeFieldValue(1, typ, b[n:])
		if k < 0 {
			return false
		}
		b = b[n+k:]
	}
	return false
}

// FuzzDecode holds the container reader against go-nmsg and the protobuf
// runtime: both take the same containers, but for refusals, with the same
// payloads and the same opinion of their CRCs. What is taken is written again to
// the same meaning, which go-nmsg reads too.
func FuzzDecode(f *testing.F) {
	for _, name := range []string{"plain", "labelled", "ipconn", "zlib", "ipconn_zlib"} {
		f.Add(read(f, "nmsg/"+name+".nmsg"))
	}
	for _, name := range []string{"packet_1280", "ipconn_unbuffered", "ipconn_buffered_512_zlib", "headerless_zlib_bug"} {
		for _, b := range datagrams(f, name) {
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		size := len(b) // of the body; inflated, what it claims
		if size > HeaderSize+4 && b[4]&flagZlib != 0 {
			size += int(min(binary.BigEndian.Uint32(b[HeaderSize:]), MaxContainer))
		}
		guard.Memory(t, decoderBase+decoderPerByte*size, func() {
			new(Decoder).Decode(b, netip.AddrPort{}, time.Time{}, func(*Payload) error { return nil })
		})
		checkDecode(t, b)
	})
}

// checkDecode is FuzzDecode for one container.
func checkDecode(t *testing.T, b []byte) {
	t.Helper()
	got, ok, err := decodeOne(t, b)
	if len(b) >= HeaderSize && b[4]&flagFragment != 0 {
		return // FuzzFragments
	}
	want, wantOK, wantErr := decodeByPeer(b)
	switch {
	case err != nil && len(got) > 0:
		t.Fatalf("payloads of a bad container: %v", err)
	case err != nil && wantErr == nil && refusal(b, err) == "":
		t.Fatalf("%v; go-nmsg takes %d payloads", err, len(want))
	case err == nil && wantErr != nil:
		t.Fatalf("taken; go-nmsg says %v", wantErr)
	case err != nil:
		return
	case !slices.Equal(got, want) || !slices.Equal(ok, wantOK):
		t.Fatalf("got %v %v, want %v %v", got, ok, want, wantOK)
	}
	writeAgain(t, got)
}

// decodeOne decodes a container with a Decoder of its own.
func decodeOne(t testing.TB, b []byte) (got []payload, ok []bool, err error) {
	guard.Bytes(t, b, func(b []byte) {
		var d Decoder
		err = d.Decode(b, netip.AddrPort{}, time.Time{}, func(p *Payload) error {
			got, ok = append(got, keep(p)), append(ok, p.Sound())
			return nil
		})
	})
	return got, ok, err
}

// decodeByPeer is decodeOne by go-nmsg. It is not given what claims to inflate to
// more than a container may: it would allocate that.
func decodeByPeer(b []byte) (got []payload, ok []bool, err error) {
	if len(b) < HeaderSize {
		return nil, nil, errMagic
	}
	if b[4]&flagZlib != 0 && (len(b) < HeaderSize+4 || binary.BigEndian.Uint32(b[HeaderSize:]) > MaxContainer) {
		return nil, nil, errTooLong
	}
	var c nmsg.Container
	if err := c.FromBytes(b); err != nil {
		return nil, nil, err
	}
	for i, p := range c.Nmsg.Payloads {
		at := time.Unix(p.GetTimeSec(), int64(p.GetTimeNsec()))
		got = append(got, payload{p.GetVid(), p.GetMsgtype(), at.Unix(), at.Nanosecond(),
			Labels{p.GetSource(), p.GetOperator(), p.GetGroup()}, string(p.Payload)})
		ok = append(ok, i >= len(c.Nmsg.PayloadCrcs) || c.Nmsg.PayloadCrcs[i] == peerCRC(p.Payload))
	}
	return got, ok, nil
}

// peerCRC is the CRC that go-nmsg would write.
func peerCRC(b []byte) uint32 {
	c := nmsg.NewContainer()
	c.AddPayload(&nmsg.NmsgPayload{Payload: b})
	return c.Nmsg.PayloadCrcs[0]
}

// writeAgain encodes those payloads that we write, and decodes them.
func writeAgain(t *testing.T, all []payload) {
	var c Container
	var want []payload
	for _, p := range all {
		at := time.Unix(p.Sec, int64(p.Nsec))
		if p.Vendor != VendorBase {
			continue
		}
		if ip, err := ParsePacket([]byte(p.Data)); err == nil && p.Type == TypePacket {
			c.AppendPacket(at, p.Labels, ip, 0)
			p.Data = string(appendPacketMessage(nil, ip))
			want = append(want, p)
		}
		if tp, err := ParseIPConn([]byte(p.Data)); err == nil && p.Type == TypeIPConn {
			c.AppendIPConn(at, p.Labels, &tp, 0)
			p.Data = string(appendIPConnMessage(nil, &tp))
			want = append(want, p)
		}
	}
	if len(want) == 0 {
		return
	}
	for _, zlib := range []bool{false, true} {
		sealed := c.Seal(&Sequence{ID: 1 << 63, Next: 7}, zlib)
		got, ok, err := decodeOne(t, sealed)
		if err != nil || slices.Contains(ok, false) || !slices.Equal(got, want) {
			t.Fatalf("%v became %v, %v", want, got, err)
		}
		if got, ok, err = decodeByPeer(sealed); err != nil || slices.Contains(ok, false) || !slices.Equal(got, want) {
			t.Fatalf("%v became %v for go-nmsg, %v", want, got, err)
		}
	}
}
