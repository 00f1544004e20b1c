package output

import (
	"bytes"
	"io"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"nmsgsensor/encode"
	"nmsgsensor/tuple"
)

// eachPayload reads an NMSG file, which must be whole. What fn is given is borrowed.
func eachPayload(t testing.TB, name string, fn func(*encode.Payload)) {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var d encode.Decoder
	for r := encode.NewReader(f); ; {
		c, err := r.Next()
		if err == io.EOF {
			return
		}
		if err == nil {
			err = d.Decode(c, netip.AddrPort{}, time.Time{}, func(p *encode.Payload) error { fn(p); return nil })
		}
		if err != nil {
			t.Fatal(name, err)
		}
	}
}

// records reads a golden stream. Packets that have a tuple get it.
func records(t testing.TB, name string) (all []Record) {
	t.Helper()
	eachPayload(t, "../testdata/"+name, func(p *encode.Payload) {
		var err error
		rec := Record{Time: p.Time, Labels: p.Labels, Type: uint8(p.Type)}
		if p.Type == encode.TypeIPConn {
			rec.Tuple, err = encode.ParseIPConn(p.Data)
		} else if rec.Packet, err = encode.ParsePacket(bytes.Clone(p.Data)); err == nil {
			rec.Tuple, err = tuple.Parse(rec.Packet)
		}
		rec.HasTuple = err == nil
		all = append(all, rec)
	})
	return all
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

func TestSinksDoNotAllocate(t *testing.T) {
	c := listen(t)
	udp := sinkTo(t, UDPConfig{Payloads: Payloads{Kind: IPConn}}, c.spec)
	all := records(t, "nmsg/ipconn.nmsg")
	for name, s := range map[string]Sink{
		"text": NewText("/dev/null", Payloads{}, false, FileConfig{}), "JSON": NewJSON("/dev/null", Payloads{}, false, FileConfig{}),
		"file": NewFile("/dev/null", Payloads{Kind: IPConn}, FileConfig{}), "UDP": udp,
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
		{"text", func() Sink { return NewText("/dev/null", Payloads{}, false, FileConfig{}) }},
		{"JSON", func() Sink { return NewJSON("/dev/null", Payloads{}, false, FileConfig{}) }},
		{"file", func() Sink { return NewFile("/dev/null", Payloads{Kind: IPConn}, FileConfig{}) }},
		{"UDP", func() Sink { return sinkTo(b, UDPConfig{Payloads: Payloads{Kind: IPConn}}, c.spec) }},
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
