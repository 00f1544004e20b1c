package output

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	nmsg "github.com/farsightsec/go-nmsg"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	"nmsgsensor/encode"
	"nmsgsensor/tuple"
)

// records reads a golden stream. Packets that have a tuple get it.
func records(t testing.TB, name string) (all []Record) {
	t.Helper()
	f, err := os.Open("../testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var d encode.Decoder
	for r := encode.NewReader(f); ; {
		c, err := r.Next()
		if err == io.EOF {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		d.Decode(c, netip.AddrPort{}, time.Time{}, func(p *encode.Payload, _ bool) error {
			rec := Record{Time: p.Time, Labels: p.Labels, Type: uint8(p.Type)}
			if p.Type == encode.TypeIPConn {
				rec.Tuple, err = encode.ParseIPConn(p.Data)
			} else if rec.Packet, err = encode.ParsePacket(bytes.Clone(p.Data)); err == nil {
				rec.Tuple, err = tuple.Parse(rec.Packet)
			}
			rec.HasTuple = err == nil
			all = append(all, rec)
			return nil
		})
	}
}

func writeAll(t testing.TB, s Sink, all []Record) {
	t.Helper()
	for i := range all {
		if err := s.Write(&all[i]); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func sameFile(t *testing.T, got, want string) {
	t.Helper()
	g, err := os.ReadFile(got)
	if err != nil {
		t.Fatal(err)
	}
	w, err := os.ReadFile(want)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(g, w) {
		t.Errorf("%s: %s", want, cmp.Diff(string(w), string(g)))
	}
}

func TestFilesAreThoseOfNmsgtool(t *testing.T) {
	for _, c := range []struct {
		from, want string
		cfg        Payloads
	}{
		{"nmsg/plain.nmsg", "nmsg/plain.nmsg", Payloads{Kind: Packet}},
		{"nmsg/plain.nmsg", "nmsg/unbuffered.nmsg", Payloads{Kind: Packet, Single: true}},
		{"nmsg/plain.nmsg", "nmsg/labelled.nmsg", Payloads{Kind: Packet, Labels: encode.Labels{Source: 0xa1b2c3d4, Operator: 5, Group: 7}}},
		{"nmsg/labelled.nmsg", "nmsg/labelled.nmsg", Payloads{Kind: Packet}},
		{"nmsg/jumbo.nmsg", "nmsg/jumbo.nmsg", Payloads{Kind: Packet}},
		{"nmsg/ipconn_zlib.nmsg", "nmsg/ipconn.nmsg", Payloads{Kind: IPConn}},
	} {
		out := filepath.Join(t.TempDir(), "out.nmsg")
		f := NewFile(out, c.cfg, nil)
		writeAll(t, f, records(t, c.from))
		sameFile(t, out, "../testdata/"+c.want)
		if st := f.Stats()[0]; st.Payloads == 0 || st.Containers == 0 || st.Dropped != 0 {
			t.Errorf("%s: %+v", c.want, st)
		}
	}
}

func TestJSONIsThatOfNmsgtool(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out.json")
	writeAll(t, NewJSON(out, encode.Labels{}, false, nil), records(t, "nmsg/ipconn.nmsg"))
	sameFile(t, out, "../testdata/nmsg/ipconn.json")
}

// TestJSONWithLabels has the line that nmsgtool 1.3.3 printed for this message.
func TestJSONWithLabels(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out.json")
	writeAll(t, NewJSON(out, encode.Labels{Source: 0xab, Operator: 5, Group: 7}, false, nil), records(t, "nmsg/ipconn.nmsg")[:1])
	got, _ := os.ReadFile(out)
	want := `{"time":"2015-02-22 20:54:07.143420934","vname":"base","mname":"ipconn","source":"000000ab","operator":5,"group":7,` +
		`"message":{"proto":6,"srcip":"192.0.2.1","srcport":51512,"dstip":"198.51.100.2","dstport":443}}` + "\n"
	if string(got) != want {
		t.Errorf("got %swant %s", got, want)
	}
}

func TestText(t *testing.T) {
	at := time.Date(2015, 2, 22, 6, 58, 30, 32007000, time.UTC)
	v4 := tuple.Tuple{Src: netip.MustParseAddr("10.0.1.52"), Dst: netip.MustParseAddr("255.255.255.255"), SrcPort: 17500, DstPort: 17500, Proto: 17}
	v6 := tuple.Tuple{Src: netip.MustParseAddr("2001:db8::1"), Dst: netip.MustParseAddr("::192.0.2.1"), SrcPort: 443, DstPort: 51512, Proto: 6}
	out := filepath.Join(t.TempDir(), "out.txt")
	writeAll(t, NewText(out, encode.Labels{}, false, nil), []Record{
		{Time: at, Tuple: v4, HasTuple: true, Type: encode.TypePacket},
		{Time: at.Add(-33 * time.Millisecond), Labels: encode.Labels{Source: 0xab, Operator: 5, Group: 7}, Tuple: v6, HasTuple: true, Type: encode.TypeIPConn},
		{Time: at, Type: encode.TypePacket, Packet: []byte{0x45}},
	})
	got, _ := os.ReadFile(out)
	want := "[2015-02-22 06:58:30.032007000] [1:12 base packet] [] [] [] \n" +
		"10.0.1.52.17500 --> 255.255.255.255.17500 (17)\n" +
		"[2015-02-22 06:58:29.999007000] [1:5 base ipconn] [000000ab] [5] [7] \n" +
		"2001:db8::1.443 --> ::192.0.2.1.51512 (6)\n"
	if string(got) != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestFileIsCreatedByTheFirstPayload(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out.nmsg")
	writeAll(t, NewFile(out, Payloads{Kind: IPConn}, nil), []Record{{Packet: []byte{0x45}}})
	if _, err := os.Stat(out); !errors.Is(err, os.ErrNotExist) {
		t.Error("created without payload", err)
	}
}

func TestFullDiskIsAnErrorThatNamesTheFile(t *testing.T) {
	f := NewFile("/dev/full", Payloads{Kind: IPConn, Single: true}, nil)
	err := f.Write(&records(t, "nmsg/ipconn.nmsg")[0])
	if !errors.Is(err, unix.ENOSPC) || !strings.Contains(err.Error(), "/dev/full") {
		t.Error(err)
	}
	if st := f.Stats()[0]; st.Dropped != 1 || st.Payloads != 0 || st.Errors["write"] != 1 {
		t.Errorf("%+v", st)
	}
}

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
	if st := u.Stats()[0]; st.Payloads+st.Dropped != 101 {
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

func TestRateDropsWithNumbersUsedUp(t *testing.T) {
	c := listen(t)
	c.spec.Rate = 100
	u, err := DialUDP([]Sockspec{c.spec}, UDPConfig{Payloads: Payloads{Kind: IPConn, Single: true}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	r := records(t, "nmsg/ipconn.nmsg")[0]
	const n = 5000
	start := time.Now()
	for range n {
		u.Write(&r)
	}
	if wrote := time.Since(start); wrote > time.Second {
		t.Errorf("the caller waited %v", wrote)
	}
	u.Close()
	st := u.Stats()[0]
	if st.Payloads+st.Dropped != n || st.Dropped < n-maxHeld-200 || st.Errors["over_rate"] != st.Dropped {
		t.Errorf("%+v", st)
	}
	if got := len(c.drain(t)); got != int(st.Payloads) {
		t.Errorf("%d came, %d sent", got, st.Payloads)
	}
}

func TestSockspec(t *testing.T) {
	for in, want := range map[string]string{
		"127.0.0.1/9430":             "127.0.0.1/9430",
		"[::1]/9430..9433,1000,10":   "::1/9430..9433,1000,10",
		"fe80::1%eth0/1":             "fe80::1%eth0/1",
		"collector.example/65535,50": "collector.example/65535,50",
		"127.0.0.1":                  "no port;", "/1": "no address;", "::x/1": "no address and no host name;",
		"h/0": "no port from 1 to 65535;", "h/65536": "no port from 1 to 65535;", "h/": "no port from 1 to 65535;",
		"h/2..1": "no range of ports;", "h/1,0": "no rate;", "h/1,1,1,1": "no rate;", "h/1,x": "no rate;",
	} {
		spec, err := ParseSockspec(in)
		if err == nil && spec.String() != want || err != nil && !strings.Contains(err.Error(), in+": "+want) {
			t.Errorf("%s: %v, %v", in, spec, err)
		}
	}
}

func FuzzSockspec(f *testing.F) {
	f.Add("[::1]/9430..9433,1000,10")
	f.Fuzz(func(t *testing.T, s string) {
		spec, err := ParseSockspec(s)
		if err != nil {
			return
		}
		again, err := ParseSockspec(spec.String())
		if err != nil || again != spec {
			t.Errorf("%q: %+v became %+v, %v", s, spec, again, err)
		}
	})
}

func TestSinksDoNotAllocate(t *testing.T) {
	c := listen(t)
	udp, err := DialUDP([]Sockspec{c.spec}, UDPConfig{Payloads: Payloads{Kind: IPConn}})
	if err != nil {
		t.Fatal(err)
	}
	all := records(t, "nmsg/ipconn.nmsg")
	for name, s := range map[string]Sink{
		"text": NewText("/dev/null", encode.Labels{}, false, nil), "JSON": NewJSON("/dev/null", encode.Labels{}, false, nil),
		"file": NewFile("/dev/null", Payloads{Kind: IPConn}, nil), "UDP": udp,
	} {
		for range 50_000 {
			s.Write(&all[0]) // until buffers have their size
		}
		if n := testing.AllocsPerRun(2000, func() { s.Write(&all[0]) }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
		s.Close()
	}
}

func BenchmarkSinks(b *testing.B) {
	c := listen(b)
	all := records(b, "nmsg/ipconn.nmsg")
	for _, s := range []struct {
		name string
		make func() Sink
	}{
		{"text", func() Sink { return NewText("/dev/null", encode.Labels{}, false, nil) }},
		{"JSON", func() Sink { return NewJSON("/dev/null", encode.Labels{}, false, nil) }},
		{"file", func() Sink { return NewFile("/dev/null", Payloads{Kind: IPConn}, nil) }},
		{"UDP", func() Sink {
			u, _ := DialUDP([]Sockspec{c.spec}, UDPConfig{Payloads: Payloads{Kind: IPConn}})
			return u
		}},
	} {
		b.Run(s.name, func(b *testing.B) {
			sink := s.make()
			b.ReportAllocs()
			for b.Loop() {
				sink.Write(&all[0])
			}
			sink.Close()
		})
	}
}

// TestRotation: the files together are what went in, each has its name and its
// command.
func TestRotation(t *testing.T) {
	dir := t.TempDir()
	kicked := filepath.Join(dir, "kicked")
	r := &Rotation{Command: "echo >>'" + kicked + "'", Count: 10}
	f := NewFile(filepath.Join(dir, "base"), Payloads{Kind: IPConn}, r)
	text := NewText(filepath.Join(dir, "text"), encode.Labels{}, false, r)
	all := records(t, "nmsg/ipconn.nmsg")
	const n = 95
	for i := range n {
		rec := all[0]
		rec.Tuple.SrcPort = uint16(i)
		for _, s := range []Sink{f, text} {
			if err := s.Write(&rec); err != nil {
				t.Fatal(err)
			}
		}
		if i == 42 {
			if err := f.Rotate(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := errors.Join(f.Close(), text.Close()); err != nil {
		t.Fatal(err)
	}
	r.Wait(10 * time.Second)
	names, _ := filepath.Glob(filepath.Join(dir, "base.*"))
	seen := map[uint16]int{}
	for _, name := range names {
		if ok, _ := filepath.Match("base.????????.????.*.?????????.nmsg", filepath.Base(name)); !ok {
			t.Errorf("name %s", name)
		}
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var d encode.Decoder
		for r := encode.NewReader(bytes.NewReader(b)); ; {
			c, err := r.Next()
			if err != nil {
				break
			}
			d.Decode(c, netip.AddrPort{}, time.Time{}, func(p *encode.Payload, _ bool) error {
				tp, _ := encode.ParseIPConn(p.Data)
				seen[tp.SrcPort]++
				return nil
			})
		}
	}
	for i := range uint16(n) {
		if seen[i] != 1 {
			t.Errorf("payload %d is there %d times", i, seen[i])
		}
	}
	if len(names) != 11 { // of ten each, but that one was ended early
		t.Errorf("%d files", len(names))
	}
	texts, _ := filepath.Glob(filepath.Join(dir, "text.*"))
	lines, _ := os.ReadFile(kicked)
	if got := bytes.Count(lines, []byte("\n")); got != len(names)+len(texts) || len(texts) != 10 {
		t.Errorf("%d commands for %d and %d files: %s", got, len(names), len(texts), lines)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".*.part")); len(left) != 0 {
		t.Errorf("left %v", left)
	}
}

func TestNextInterval(t *testing.T) {
	for _, c := range []struct{ now, every, offset, want int64 }{
		{100, 60, 0, 120}, {120, 60, 0, 180}, {119, 60, 0, 120}, {100, 60, 7, 127}, {126, 60, 7, 127}, {127, 60, 7, 187},
	} {
		got := NextInterval(time.Unix(c.now, 5), time.Duration(c.every)*time.Second, time.Duration(c.offset)*time.Second)
		if got.Unix() != c.want || got.Nanosecond() != 0 {
			t.Errorf("%v: %v", c, got)
		}
	}
}

func TestRateHoldsBackWhoeverCanWait(t *testing.T) {
	c := listen(t)
	c.spec.Rate = 20_000
	u, err := DialUDP([]Sockspec{c.spec}, UDPConfig{Payloads: Payloads{Kind: IPConn, Single: true}, Hurry: make(chan struct{})})
	if err != nil {
		t.Fatal(err)
	}
	r := records(t, "nmsg/ipconn.nmsg")[0]
	const n = 5000
	for range n {
		u.Write(&r)
	}
	u.Close()
	if st := u.Stats()[0]; st.Payloads != n || st.Dropped != 0 {
		t.Errorf("%+v", st)
	}
	if got := len(c.drain(t)); got != n {
		t.Errorf("%d came", got)
	}
}
