package encode

import (
	"bytes"
	"errors"
	"io"
	"net/netip"
	"slices"
	"testing"
	"time"

	nmsg "github.com/farsightsec/go-nmsg"
	"google.golang.org/protobuf/proto"
)

// FuzzDecode holds the container reader against the protobuf runtime and
// go-nmsg's types.
func FuzzDecode(f *testing.F) {
	for _, name := range []string{"plain", "labelled", "ipconn", "zlib", "ipconn_zlib"} {
		f.Add(read(f, "nmsg/"+name+".nmsg"))
	}
	for _, name := range []string{"packet_1280", "ipconn_unbuffered", "headerless_zlib_bug"} {
		for _, b := range datagrams(f, name) {
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		b = slices.Clip(b)
		var d Decoder
		var got []payload
		bad := 0
		err := d.Decode(b, netip.AddrPort{}, time.Time{}, func(p *Payload, ok bool) error {
			if !ok {
				bad++
			}
			got = append(got, keep(p))
			return nil
		})
		if err != nil {
			if len(got) > 0 {
				t.Fatalf("payloads of a bad container: %v", err)
			}
			return
		}
		body := b[HeaderSize:]
		if b[4]&flagFragment != 0 {
			return // FuzzFragments
		}
		if b[4]&flagZlib != 0 {
			var f inflater
			if body, err = f.inflate(body); err != nil {
				t.Fatal(err)
			}
		}
		var want nmsg.Nmsg
		if err := proto.Unmarshal(body, &want); err != nil {
			// A group is an error here and passed over there; everything else
			// that we take has to be protobuf.
			t.Fatalf("accepted what the protobuf runtime does not: %v", err)
		}
		if len(want.Payloads) != len(got) {
			t.Fatalf("%d payloads, want %d", len(got), len(want.Payloads))
		}
		for i, p := range want.Payloads {
			at := time.Unix(p.GetTimeSec(), int64(p.GetTimeNsec()))
			w := payload{p.GetVid(), p.GetMsgtype(), at.Unix(), at.Nanosecond(),
				Labels{p.GetSource(), p.GetOperator(), p.GetGroup()}, string(p.Payload)}
			if got[i] != w {
				t.Errorf("payload %d: got %v, want %v", i, got[i], w)
			}
		}
	})
}

// FuzzMessages: what is accepted as a message encodes again to the same meaning.
func FuzzMessages(f *testing.F) {
	for _, name := range []string{"plain", "ipconn"} {
		all, _, _ := decodeAll(read(f, "nmsg/"+name+".nmsg"))
		for _, p := range all {
			f.Add([]byte(p.Data))
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		b = slices.Clip(b)
		if ip, err := ParsePacket(b); err == nil {
			again, err := ParsePacket(appendPacketMessage(nil, ip))
			if err != nil || !bytes.Equal(ip, again) {
				t.Errorf("packet %x became %x, %v", ip, again, err)
			}
		}
		if tp, err := ParseIPConn(b); err == nil {
			msg := appendIPConnMessage(nil, &tp)
			again, err := ParseIPConn(msg)
			if err != nil || again != tp || len(msg) != ipconnMessageSize(&tp) {
				t.Errorf("%v became %v, %v", tp, again, err)
			}
		}
	})
}

// FuzzFragments feeds a Decoder with containers that come one behind the other,
// fragments among them, and bounds what it holds.
func FuzzFragments(f *testing.F) {
	for _, name := range []string{"packet_fragmented_1280", "packet_zlib_fragmented_1280"} {
		f.Add(bytes.Join(datagrams(f, name)[:3], nil))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var d Decoder
		r := NewReader(bytes.NewReader(b))
		for i := 0; ; i++ {
			c, err := r.Next()
			if err == io.EOF {
				break
			}
			if err == nil {
				d.Decode(c, netip.AddrPort{}, time.Unix(int64(i), 0), func(*Payload, bool) error { return nil })
			}
			held, cost := 0, 0
			for _, set := range d.fragments.sets {
				held += set.size
				cost += set.cost()
			}
			if cost != d.fragments.bytes || held > len(b) || cost > maxFragmentBytes || len(d.fragments.sets) > maxFragmentSets {
				t.Fatalf("%d bytes held, cost %d, %d counted, %d read", held, cost, d.fragments.bytes, len(b))
			}
		}
	})
}

// FuzzReader: containers and damage together are the whole stream.
func FuzzReader(f *testing.F) {
	f.Add(read(f, "nmsg/mixed.nmsg"))
	f.Add([]byte("NMSG\x00\x02\x00\x00\x00\x01xNMSG\x00\x02\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := NewReader(bytes.NewReader(b))
		var sum int64
		for {
			c, err := r.Next()
			var d *DamageError
			switch {
			case err == nil:
				if !bytes.Equal(c, b[sum:sum+int64(len(c))]) {
					t.Fatal("container is not what stands there")
				}
				sum += int64(len(c))
			case errors.As(err, &d):
				if d.Offset != sum || d.Skipped <= 0 {
					t.Fatalf("%v at %d", d, sum)
				}
				sum += d.Skipped
			case err == io.EOF:
				if sum != int64(len(b)) {
					t.Fatalf("%d of %d bytes", sum, len(b))
				}
				return
			default:
				t.Fatal(err)
			}
		}
	})
}
