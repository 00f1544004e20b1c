package output

import (
	"bytes"
	"encoding/binary"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	nmsg "github.com/farsightsec/go-nmsg"
	"google.golang.org/protobuf/proto"

	"nmsgsensor/encode"
	"nmsgsensor/tuple"
)

// collector is a socket that keeps all it gets.
type collector struct {
	conn net.PacketConn
	spec Sockspec
}

func listen(t testing.TB) *collector {
	t.Helper()
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	conn.(*net.UDPConn).SetReadBuffer(16 << 20)
	t.Cleanup(func() { conn.Close() })
	port := conn.LocalAddr().(*net.UDPAddr).AddrPort().Port()
	return &collector{conn, Sockspec{Host: "127.0.0.1", First: port, Last: port}}
}

// drain returns the datagrams that have come.
func (c *collector) drain(t testing.TB) (all [][]byte) {
	buf := make([]byte, 1<<16)
	for {
		c.conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		n, _, err := c.conn.ReadFrom(buf)
		if err != nil {
			return all
		}
		all = append(all, bytes.Clone(buf[:n]))
	}
}

// law holds datagrams against what ends nmsgtool (section "What kills a
// collector" of the design).
type law struct {
	mtu  int
	sets map[uint32][]bool // of fragments: which pieces have come
	d    encode.Decoder
	got  uint64 // payloads
}

func (l *law) judge(t *testing.T, b []byte) {
	t.Helper()
	if len(b) < encode.HeaderSize || len(b) > l.mtu || string(b[:4]) != "NMSG" || b[5] != 2 ||
		int(binary.BigEndian.Uint32(b[6:])) != len(b)-encode.HeaderSize {
		t.Fatalf("datagram of %d bytes, mtu %d: %.20x", len(b), l.mtu, b)
	}
	whole := true
	if b[4]&2 != 0 {
		whole = l.piece(t, b[encode.HeaderSize:])
	} else if b[4]&1 == 0 {
		var n nmsg.Nmsg
		if err := proto.Unmarshal(b[encode.HeaderSize:], &n); err != nil || len(n.Payloads) == 0 || n.Sequence == nil || n.SequenceId == nil {
			t.Fatalf("%d payloads, %v", len(n.Payloads), err)
		}
	}
	before := l.got
	err := l.d.Decode(b, netip.AddrPort{}, time.Time{}, func(_ *encode.Payload, ok bool) error {
		if l.got++; !ok {
			t.Error("wrong CRC")
		}
		return nil
	})
	if err != nil || whole != (l.got > before) {
		t.Fatalf("%v, %d payloads", err, l.got-before)
	}
}

// piece takes a fragment and says whether it is the last that was missing.
func (l *law) piece(t *testing.T, body []byte) bool {
	t.Helper()
	var f nmsg.NmsgFragment
	if err := proto.Unmarshal(body, &f); err != nil || len(f.Fragment) == 0 || f.GetCurrent() > f.GetLast() {
		t.Fatalf("fragment %v: %v", &f, err)
	}
	set := l.sets[f.GetId()]
	if set == nil {
		set = make([]bool, f.GetLast()+1)
		if l.sets == nil {
			l.sets = make(map[uint32][]bool)
		}
		l.sets[f.GetId()] = set
	}
	if len(set) != int(f.GetLast())+1 || set[f.GetCurrent()] {
		t.Fatal("one id for two sets")
	}
	set[f.GetCurrent()] = true
	return !slices.Contains(set, false)
}

// TestEmitterKeepsTheLaw drives it with sizes, flushes, settings, rates and
// destinations that are not there, at random.
func TestEmitterKeepsTheLaw(t *testing.T) {
	for round := range 100 {
		l := law{mtu: []int{MinMTU, 513, DefaultMTU, 8192, MaxMTU}[rand.IntN(5)]}
		c := listen(t)
		specs, mirror := []Sockspec{c.spec}, rand.IntN(3) == 0
		if rand.IntN(3) == 0 {
			specs[0].Rate, specs[0].Freq = 2000+rand.IntN(20_000), rand.IntN(50)
		}
		if mirror {
			dead := listen(t)
			dead.conn.Close()
			specs = append([]Sockspec{dead.spec, {Host: "nowhere.invalid", First: 9, Last: 9}}, specs...)
		}
		u, err := DialUDP(specs, UDPConfig{MTU: l.mtu, Mirror: mirror, Log: slog.New(slog.DiscardHandler), Payloads: Payloads{
			Kind: []Kind{IPConn, Packet}[rand.IntN(2)],
			Zlib: rand.IntN(2) == 0, Single: rand.IntN(3) == 0, Labels: encode.Labels{Group: rand.Uint32N(2)}}})
		if err != nil {
			t.Fatal(err)
		}
		want := uint64(rand.IntN(120))
		random := noise(1 << 16)
		for range want {
			r := Record{Time: time.Unix(rand.Int64N(1<<40)-1<<39, 5), Packet: random[:rand.IntN(1<<rand.IntN(17))], HasTuple: true}
			r.Tuple = tuple.Tuple{Src: netip.MustParseAddr("192.0.2.1"), Dst: netip.MustParseAddr("2001:db8::1"), SrcPort: uint16(rand.Uint32()), Proto: 6}
			u.Write(&r)
			switch rand.IntN(20) {
			case 0:
				u.Flush()
			case 1:
				u.Push()
			}
		}
		if err := u.Close(); err != nil {
			t.Fatal(err)
		}
		for _, b := range c.drain(t) {
			l.judge(t, b)
		}
		all := u.Stats()
		for _, st := range all {
			if st.Payloads+st.Dropped != want {
				t.Errorf("round %d: %d payloads, %+v", round, want, st)
			}
		}
		st := all[len(all)-1]
		if l.got != st.Payloads || st.Errors["over_rate"] == 0 && st.Dropped > 0 {
			t.Errorf("round %d: %d of %d payloads, %+v, lost %d", round, l.got, want, st, l.d.Lost())
		}
		if st.Dropped == 0 && l.d.Lost() != 0 || l.d.Lost() > st.Dropped {
			t.Errorf("round %d: lost %d, %+v", round, l.d.Lost(), st)
		}
		c.conn.Close()
	}
}

func noise(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rand.Uint32())
	}
	return b
}

func TestDatagramsAreFilled(t *testing.T) {
	for _, zlib := range []bool{false, true} {
		c := listen(t)
		u, err := DialUDP([]Sockspec{c.spec}, UDPConfig{Payloads: Payloads{Kind: IPConn, Zlib: zlib}})
		if err != nil {
			t.Fatal(err)
		}
		all := records(t, "nmsg/ipconn.nmsg")
		for i := range 3000 {
			r := all[i%len(all)]
			r.Tuple.SrcPort = uint16(rand.Uint32())
			u.Write(&r)
		}
		u.Close()
		got := c.drain(t)
		for _, b := range got[:len(got)-1] {
			if len(b) < DefaultMTU*9/10 {
				t.Errorf("zlib %v: datagram of %d bytes", zlib, len(b))
			}
		}
	}
}

func TestRefusedDatagramsAreCountedAndTheNextIsTried(t *testing.T) {
	c := listen(t)
	c.conn.Close()
	u, err := DialUDP([]Sockspec{c.spec}, UDPConfig{Payloads: Payloads{Kind: IPConn, Single: true}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	r := records(t, "nmsg/ipconn.nmsg")[0]
	for range 100 {
		u.Write(&r)
		u.Push()
	}
	if n := u.Stats()[0].Errors["refused"]; n < 50 {
		t.Errorf("%d refused", n)
	}
	back, err := net.ListenPacket("udp4", c.conn.LocalAddr().String())
	if err != nil {
		t.Skip("the port was taken meanwhile: ", err)
	}
	defer back.Close()
	u.Write(&r)
	u.Close()
	if got := (&collector{conn: back}).drain(t); len(got) != 1 {
		t.Errorf("%d datagrams after it came back", len(got))
	}
	// What was refused had left.
	if st := u.Stats()[0]; st.Payloads != 101 || st.Dropped != 0 {
		t.Errorf("%+v", st)
	}
}

func TestMirrorAndShare(t *testing.T) {
	for _, mirror := range []bool{false, true} {
		a, b := listen(t), listen(t)
		dead := Sockspec{Host: "nowhere.invalid", First: 9, Last: 9}
		specs := []Sockspec{a.spec, b.spec}
		if mirror {
			specs = append(specs, dead)
		}
		u, err := DialUDP(specs, UDPConfig{Mirror: mirror, Payloads: Payloads{Kind: IPConn, Single: true}, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		r := records(t, "nmsg/ipconn.nmsg")[0]
		for range 100 {
			u.Write(&r)
		}
		u.Close()
		want := 50
		if mirror {
			want = 100
			if st := u.Stats()[2]; st.Dropped != 100 || st.Payloads != 0 || st.Errors["unresolved"] != 100 {
				t.Errorf("%+v", st)
			}
		}
		if x, y := len(a.drain(t)), len(b.drain(t)); x != want || y != want {
			t.Errorf("mirror %v: %d and %d", mirror, x, y)
		}
	}
}
