package output

import (
	"bytes"
	"encoding/binary"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
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

// lawful holds a datagram against what ends nmsgtool.
func lawful(t *testing.T, b []byte, mtu int, lasts map[uint32]uint32) {
	t.Helper()
	if len(b) < encode.HeaderSize || len(b) > mtu || string(b[:4]) != "NMSG" || b[5] != 2 ||
		int(binary.BigEndian.Uint32(b[6:])) != len(b)-encode.HeaderSize {
		t.Fatalf("datagram of %d bytes, mtu %d: %.20x", len(b), mtu, b)
	}
	if b[4]&2 != 0 {
		var f nmsg.NmsgFragment
		if err := proto.Unmarshal(b[encode.HeaderSize:], &f); err != nil || len(f.Fragment) == 0 || f.GetCurrent() > f.GetLast() {
			t.Fatalf("fragment %v: %v", &f, err)
		}
		if last, ok := lasts[f.GetId()]; ok && last != f.GetLast() {
			t.Fatal("one id with two values of last")
		}
		lasts[f.GetId()] = f.GetLast()
		return
	}
	if b[4]&1 == 0 {
		var n nmsg.Nmsg
		if err := proto.Unmarshal(b[encode.HeaderSize:], &n); err != nil || len(n.Payloads) == 0 {
			t.Fatalf("%d payloads, %v", len(n.Payloads), err)
		}
	}
}

// TestEmitterKeepsTheLaw drives it with sizes, flushes and settings at random.
func TestEmitterKeepsTheLaw(t *testing.T) {
	for round := range 60 {
		mtu := []int{MinMTU, 513, DefaultMTU, 8192, MaxMTU}[rand.IntN(5)]
		kind := []Kind{IPConn, Packet}[rand.IntN(2)]
		c := listen(t)
		u, err := DialUDP([]Sockspec{c.spec}, UDPConfig{MTU: mtu, Payloads: Payloads{
			Kind: kind, Zlib: rand.IntN(2) == 0, Single: rand.IntN(3) == 0, Labels: encode.Labels{Group: rand.Uint32N(2)}}})
		if err != nil {
			t.Fatal(err)
		}
		want := uint64(rand.IntN(120))
		for range want {
			r := Record{Time: time.Unix(rand.Int64N(1<<40)-1<<39, 5), Packet: noise(rand.IntN(1 << rand.IntN(16))), HasTuple: true}
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
		var d encode.Decoder
		got := uint64(0)
		lasts := map[uint32]uint32{}
		for _, b := range c.drain(t) {
			lawful(t, b, mtu, lasts)
			if err := d.Decode(b, netip.AddrPort{}, time.Time{}, func(_ *encode.Payload, ok bool) error {
				if got++; !ok {
					t.Error("wrong CRC")
				}
				return nil
			}); err != nil {
				t.Fatal(err)
			}
		}
		if st := u.Stats()[0]; got != want || st.Payloads != want || st.Dropped != 0 || d.Lost() != 0 {
			t.Errorf("round %d: %d of %d payloads, %+v, lost %d", round, got, want, st, d.Lost())
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

// TestDeadAndFullCollectorsCostTheOthersNothing: of three that get the same, one
// is not there, one reads nothing, and the third gets everything.
func TestDeadAndFullCollectorsCostTheOthersNothing(t *testing.T) {
	dead, full, good := listen(t), listen(t), listen(t)
	dead.conn.Close()
	full.conn.(*net.UDPConn).SetReadBuffer(1)
	u, err := DialUDP([]Sockspec{dead.spec, full.spec, good.spec}, UDPConfig{Mirror: true,
		Payloads: Payloads{Kind: IPConn}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	r := records(t, "nmsg/ipconn.nmsg")[0]
	const n = 20_000
	for range n {
		u.Write(&r)
	}
	u.Close()
	var d encode.Decoder
	got := 0
	for _, b := range good.drain(t) {
		d.Decode(b, netip.AddrPort{}, time.Time{}, func(*encode.Payload, bool) error { got++; return nil })
	}
	if got != n || d.Lost() != 0 {
		t.Errorf("%d of %d, lost %d", got, n, d.Lost())
	}
	for _, st := range u.Stats() {
		if st.Payloads+st.Dropped != n {
			t.Errorf("%+v", st)
		}
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
