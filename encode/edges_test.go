package encode

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"nmsgsensor/tuple"
	"nmsgsensor/tuple/guard"
)

// changed calls fn with b cut at each place, and with each byte of it changed in
// each way that may matter to a reader of varints, keys and lengths.
func changed(b []byte, fn func([]byte)) {
	for i := range b {
		fn(b[:i:i])
		for _, v := range []byte{0, 1, b[i] - 1, b[i] + 1, b[i] ^ 0x80, b[i] ^ 7, 0x7f, 0x80, 0xff} {
			c := slices.Clone(b)
			c[i] = v
			fn(c)
		}
	}
}

// TestEachByteChanged: what is then read is what the protobuf runtime reads.
func TestEachByteChanged(t *testing.T) {
	const usual = "\x08\x01\x10\x05\x18\x87\x01\x25\x01\x02\x03\x04\x2a\x03xyz"
	const labels = "\x38\x01\x40\x02\x48\x81\x01"
	const secondsLikeTheirKey = "\x08\x01\x10\x05\x18\x18\x25\x01\x02\x03\x04\x2a\x03xyz"
	const vendorAndTypeLikeTheirs = "\x08\x08\x10\x10\x18\x07\x25\x01\x02\x03\x04\x2a\x03xyz"
	lengthLikeItsKey := "\x08\x01\x10\x05\x18\x07\x25\x01\x02\x03\x04\x2a\x2a" + strings.Repeat("x", 42)
	for _, payload := range []string{usual, usual + labels, secondsLikeTheirKey, vendorAndTypeLikeTheirs, lengthLikeItsKey, "\x08\x01\x10\x0c\x18\x07\x25\x01\x02\x03\x04\x2a\x00"} {
		changed([]byte(payload), func(b []byte) {
			body := string(appendUvarint([]byte{keyPayload}, uint64(len(b)))) + string(b)
			checkDecode(t, sealedBody(0, body+"\x10\x85\x01\x18\x01\x20\x02"))
			checkDecode(t, sealedBody(0, body))
		})
	}
	packet := appendPacketMessage(nil, []byte("\x45ip packet"))
	for _, b := range [][]byte{packet, append(packet, packet...), append(packet, 0x78, 1), appendPacketMessage(nil, nil), appendPacketMessage(nil, make([]byte, keyPacketData)), appendPacketMessage(nil, make([]byte, 200))} {
		changed(b, func(b []byte) { guard.Bytes(t, b, func(b []byte) { checkPacket(t, b) }) })
	}
	changed(appendIPConnMessage(nil, &someTuple), func(b []byte) { guard.Bytes(t, b, func(b []byte) { checkIPConn(t, b) }) })
}

func TestVarintsAtEveryLength(t *testing.T) {
	for shift := range 64 {
		for _, v := range []uint64{1<<shift - 1, 1 << shift, 1<<shift + 1} {
			want := binary.AppendUvarint(nil, v)
			if got := appendUvarint(nil, v); !bytes.Equal(got, want) || uvarintLen(v) != len(want) {
				t.Errorf("%#x: %x, %d bytes, want %x", v, got, uvarintLen(v), want)
			}
			if got, n := uvarint(append(want, 0xff)); got != v || n != len(want) {
				t.Errorf("%#x: read as %#x of %d bytes", v, got, n)
			}
		}
	}
	for _, b := range []string{"", "\x80", strings.Repeat("\xff", 9), strings.Repeat("\xff", 9) + "\x02"} {
		if v, n := uvarint([]byte(b)); n != 0 {
			t.Errorf("%x: read as %#x of %d bytes", b, v, n)
		}
	}
}

// TestBytesOfAPayload: each label is there if it is not 0.
func TestBytesOfAPayload(t *testing.T) {
	at := time.Unix(7, 0x04030201)
	const begin, end = "\x08\x01\x10\x0c\x18\x07\x25\x01\x02\x03\x04\x2a\x06\x08\x01\x12\x02", "ip"
	for _, c := range []struct {
		labels Labels
		want   string
	}{
		{Labels{}, ""},
		{Labels{Source: 1}, "\x38\x01"},
		{Labels{Operator: 1}, "\x40\x01"},
		{Labels{Group: 1}, "\x48\x01"},
		{Labels{1 << 31, 128, 127}, "\x38\x80\x80\x80\x80\x08\x40\x80\x01\x48\x7f"},
	} {
		var container Container
		container.AppendPacket(at, c.labels, []byte(end), 0)
		payload := begin + end + c.want
		crc := string(appendUvarint([]byte{keyCRC}, uint64(checksum([]byte("\x08\x01\x12\x02ip")))))
		// A message of 6 bytes: the length above stands for it.
		want := sealedBody(0, "\x0a"+string(rune(len(payload)))+payload+crc)
		if got := container.Seal(nil, false); !bytes.Equal(got, want) {
			t.Errorf("%v:\n%q\n%q", c.labels, got, want)
		}
	}
	var none tuple.Tuple
	if got := string(appendIPConnMessage(nil, &none)); got != "\x08\x00\x12\x00\x18\x00\x22\x00\x28\x00" || ipconnMessageSize(&none) != len(got) {
		t.Errorf("%q, %d", got, ipconnMessageSize(&none))
	}
}

// TestLimitIsNmsgtools: the sum that it compares is what was written, 6 for each
// payload that is there, the next payload, and 32.
func TestLimitIsNmsgtools(t *testing.T) {
	for n := 1; n < 5; n++ {
		for _, l := range []Labels{{}, {Operator: 300}} {
			var full Container
			for range n {
				full.AppendPacket(time.Unix(7, 0), l, make([]byte, 10), 0)
			}
			payload := 6 + 5 + 1 + 1 + 2 + 1 + 1 + 10 + labelsSize(l)
			sum := HeaderSize + n*(2+payload) + n*6 + payload + 32
			for _, c := range []struct {
				limit int
				fits  bool
			}{{0, true}, {1, false}, {sum, false}, {sum + 1, true}} {
				packet := full
				packet.buf, packet.crcs = slices.Clone(full.buf), slices.Clone(full.crcs)
				before := packet.Size(nil)
				if got := packet.AppendPacket(time.Unix(7, 0), l, make([]byte, 10), c.limit); got != c.fits || packet.Size(nil) > before != c.fits || packet.Len() > n != c.fits {
					t.Errorf("%d and one more to a limit of %d: %v, %d bytes of %d", n, c.limit, got, packet.Size(nil), before)
				}
			}
		}
	}
	var c Container
	if !c.AppendPacket(someTime, Labels{}, make([]byte, 5000), MinContainer) || c.AppendIPConn(someTime, Labels{}, &someTuple, MinContainer) || c.Len() != 1 {
		t.Errorf("the first alone is to fit: %d payloads", c.Len())
	}
}

// TestPartsAreContainersOfTheirOwn: sealed to a mark and dropped to it, the bytes
// are those of a container that never had the others.
func TestPartsAreContainersOfTheirOwn(t *testing.T) {
	fill := func(from, to int) *Container {
		var c Container
		for i := from; i < to; i++ {
			c.AppendPacket(someTime, Labels{Source: uint32(i)}, bytes.Repeat([]byte{byte(i)}, 90*i), 0)
		}
		return &c
	}
	const n = 5
	seq := &Sequence{ID: 1 << 40, Next: 300}
	for k := 1; k <= n; k++ {
		for _, zlib := range []bool{false, true} {
			for _, seq := range []*Sequence{nil, seq} {
				all := fill(0, n)
				mark := fill(0, k).Mark()
				for range 2 { // it keeps its buffers
					if got, want := all.SealTo(mark, seq, zlib), fill(0, k).Seal(seq, zlib); !bytes.Equal(got, want) {
						t.Errorf("to %d, zlib %v: %d bytes, want %d", k, zlib, len(got), len(want))
					}
				}
				if got, want := all.Seal(seq, zlib), fill(0, n).Seal(seq, zlib); !bytes.Equal(got, want) {
					t.Errorf("all after %d, zlib %v: %d bytes, want %d", k, zlib, len(got), len(want))
				}
				all.Drop(mark)
				if all.Len() != n-k || k < n && !bytes.Equal(all.Seal(seq, zlib), fill(k, n).Seal(seq, zlib)) {
					t.Errorf("from %d, zlib %v: %d payloads, other bytes", k, zlib, all.Len())
				}
				all.AppendPacket(someTime, Labels{}, []byte("one more"), 0)
				want := fill(k, n)
				want.AppendPacket(someTime, Labels{}, []byte("one more"), 0)
				if !bytes.Equal(all.Seal(seq, zlib), want.Seal(seq, zlib)) {
					t.Errorf("from %d and one more, zlib %v: other bytes", k, zlib)
				}
			}
		}
	}
}

func TestNobodySealsNothing(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a container without payloads was sealed")
		}
	}()
	var c Container
	if c.Size(nil) != HeaderSize {
		t.Errorf("%d bytes", c.Size(nil))
	}
	c.AppendPacket(someTime, Labels{}, []byte("gone"), 0)
	c.Reset()
	c.Seal(&Sequence{ID: 1 << 63, Next: 1 << 31}, false) // which would be long enough for a header
}

// TestErrorEndsTheContainer: that of fn comes back as it is, and fn no more.
func TestErrorEndsTheContainer(t *testing.T) {
	var d Decoder
	calls, enough := 0, errors.New("enough")
	if err := d.Decode(read(t, "nmsg/ipconn.nmsg"), netip.AddrPort{}, time.Time{}, func(*Payload) error {
		calls++
		return enough
	}); err != enough || calls != 1 {
		t.Errorf("%v after %d", err, calls)
	}
}

// TestLossByTheNumbersInContainers: those of a sender are both there, and tell
// it apart by its number and its address.
func TestLossByTheNumbersInContainers(t *testing.T) {
	a, b := netip.MustParseAddrPort("127.0.0.1:1"), netip.MustParseAddrPort("127.0.0.1:2")
	var d Decoder
	for _, c := range []struct {
		body string
		from netip.AddrPort
		lost uint64
	}{
		{"\x18\x05\x20\x01", a, 0},
		{"\x18\x08\x20\x01", a, 2},
		{"\x18\x0a\x20\x02", a, 2}, // another sender
		{"\x18\x0a\x20\x01", b, 2}, // and another
		{"\x18\x0f", a, 2},
		{"\x20\x01", a, 2},
		{"\x18\x09\x20\x01", a, 2},
		{"\x20\x01\x18\x0b", a, 3},
		{"\x18\x0c\x20\x02", a, 4},
		{"\x18\x0c\x20\x01\x18", a, 4}, // not sound
		{"\x18\x0d\x20\x01", a, 5},
	} {
		d.Decode(sealedBody(0, c.body), c.from, time.Time{}, nil)
		if d.Lost() != c.lost {
			t.Errorf("after %q: %d lost, want %d", c.body, d.Lost(), c.lost)
		}
	}
	if d.Containers != 10 {
		t.Errorf("%d containers", d.Containers)
	}
}

// TestSendersAreForgottenAtTheirTime, and not before.
func TestSendersAreForgottenAtTheirTime(t *testing.T) {
	at := time.Unix(1000, 0)
	full := func(now time.Time) *sequences {
		var s sequences
		for id := range uint64(maxSenders) {
			s.update(Sequence{ID: id}, netip.AddrPort{}, now)
		}
		return &s
	}
	one := func(s *sequences, now time.Time) int {
		s.update(Sequence{ID: 1 << 60}, netip.AddrPort{}, now)
		delete(s.by, sender{id: 1 << 60})
		return len(s.by)
	}
	if n := one(full(at), at.Add(maxSilence)); n != maxSenders-1 {
		t.Errorf("silent for as long as may be: %d are left", n)
	}
	if n := one(full(at), at.Add(maxSilence+1)); n != 0 {
		t.Errorf("silent for longer: %d are left", n)
	}
	few := sequences{}
	few.update(Sequence{ID: 1}, netip.AddrPort{}, at)
	few.update(Sequence{ID: 2}, netip.AddrPort{}, at.Add(9*maxSilence)) // there is room
	few.update(Sequence{ID: 1, Next: 5}, netip.AddrPort{}, at.Add(9*maxSilence))
	if few.lost != 4 {
		t.Errorf("silent, but not in the way: %d lost", few.lost)
	}
	s := full(at)
	for i, c := range []struct {
		now  time.Duration
		left int
	}{
		{maxSilence - 1, maxSenders - 1}, {maxSilence/10 + maxSilence - 1, maxSenders - 1}, {maxSilence/10 + maxSilence, 0},
	} {
		s.by[sender{id: 1<<61 + uint64(i)}] = &senderState{seen: at} // full again
		if n := one(s, at.Add(c.now)); n != c.left {
			t.Errorf("after %v: %d are left, want %d", c.now, n, c.left)
		}
	}
}

func TestMessagesThatAreRefused(t *testing.T) {
	for _, b := range []string{"", "\x08\x01", "\x12\x01x", "\x08\x02\x12\x01x", "\x08\x01\x12\x02x", "\x08\x01\x12\x01x\x08"} {
		if ip, err := ParsePacket([]byte(b)); err == nil || ip != nil {
			t.Errorf("packet %q: %q", b, ip)
		}
	}
	const src, dst = "\x12\x04\x01\x02\x03\x04", "\x22\x04\x05\x06\x07\x08"
	for _, b := range []string{
		"", src, dst, src + "\x22\x05\x05\x06\x07\x08\x09", src + dst + "\x08\x80\x02", src + dst + "\x18\x80\x80\x04", src + dst + "\x28\x80\x80\x04", src + dst + "\x28",
	} {
		if tp, err := ParseIPConn([]byte(b)); err == nil || tp != (tuple.Tuple{}) {
			t.Errorf("ipconn %q: %v", b, tp)
		}
	}
	tp, err := ParseIPConn([]byte(src + dst + "\x08\xff\x01\x18\xff\xff\x03\x28\xff\xff\x03"))
	if err != nil || tp != (tuple.Tuple{Src: netip.AddrFrom4([4]byte{1, 2, 3, 4}), Dst: netip.AddrFrom4([4]byte{5, 6, 7, 8}), SrcPort: 65535, DstPort: 65535, Proto: 255}) {
		t.Errorf("the largest numbers: %v, %v", tp, err)
	}
}

// lent keeps what a Reader or Decoder lends: nothing of it may change.
type lent struct {
	swaps int
	next  func([]byte) []byte
	bytes [][]byte
	were  [][]byte
}

func (l *lent) swap(b []byte) []byte {
	l.swaps++
	return l.next(b)
}

func (l *lent) keep(b []byte) {
	l.bytes, l.were = append(l.bytes, b), append(l.were, slices.Clone(b))
}

// TestLentBytesStay as they are, whatever swap gives instead.
func TestLentBytesStay(t *testing.T) {
	zlib := read(t, "nmsg/zlib.nmsg")
	stream := bytes.Repeat(zlib, 3*firstBuffer/len(zlib))
	for name, next := range map[string]func([]byte) []byte{
		"nothing": func([]byte) []byte { return nil },
		"little":  func([]byte) []byte { return make([]byte, 20) },
		"more":    func(b []byte) []byte { return make([]byte, len(b)+1) },
	} {
		containers, bodies := lent{next: next}, lent{next: next}
		var d Decoder
		r := NewReader(bytes.NewReader(stream))
		r.Lend(containers.swap)
		d.Lend(bodies.swap)
		for {
			c, err := r.Next()
			if err == io.EOF {
				break
			} else if err != nil {
				t.Fatal(err)
			}
			containers.keep(c)
			d.Decode(c, netip.AddrPort{}, time.Time{}, func(p *Payload) error {
				bodies.keep(p.Data)
				return nil
			})
		}
		for _, l := range []lent{containers, bodies} {
			if l.swaps == 0 || !slices.EqualFunc(l.bytes, l.were, bytes.Equal) {
				t.Errorf("%s: %d swaps, of %d lent some changed", name, l.swaps, len(l.bytes))
			}
		}
		if n := len(stream) / len(zlib); len(containers.bytes) != n || len(bodies.bytes) != 28*n {
			t.Errorf("%s: %d containers, %d payloads", name, len(containers.bytes), len(bodies.bytes))
		}
	}
}
