package output

import (
	"net"
	"regexp"
	"strings"
	"testing"

	"nmsgsensor/tuple/guard"
)

func TestSockspec(t *testing.T) {
	for in, want := range map[string]string{
		"127.0.0.1/9430":             "127.0.0.1/9430",
		"[::1]/9430..9433,1000,10":   "::1/9430..9433,1000,10",
		"fe80::1%eth0/1":             "fe80::1%eth0/1",
		"collector.example/65535,50": "collector.example/65535,50",
		"127.0.0.1":                  "no port;", "/1": "no address;", "::x/1": "no address and no host name;",
		"127.0.0.256/1": "no address and no host name;", "01.2.3.4/1": "no address and no host name;",
		"h/0": "no port from 1 to 65535;", "h/65536": "no port from 1 to 65535;", "h/": "no port from 1 to 65535;",
		"h/2..1": "no range of ports,", "h/1,0": "RATE and FREQ are", "h/1,1,1,1": "RATE and FREQ are", "h/1,x": "RATE and FREQ are",
		"h:9430": "a slash stands before the port, h/9430;", "[::1]:9430": "a slash stands before the port, ::1/9430;",
	} {
		spec, err := ParseSockspec(in)
		if err == nil && spec.String() != want || err != nil && !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v, %v", in, spec, err)
		}
	}
}

// grammar is the form of a Sockspec, but for the bounds of its numbers.
var grammar = regexp.MustCompile(`^(?s)(\[.+\]|[^/,]+)/([0-9]+)(\.\.([0-9]+))?(,[+-]?[0-9]+){0,2}$`)

// FuzzSockspec holds the parser against a grammar. What is taken is written again
// to the same meaning.
func FuzzSockspec(f *testing.F) {
	for _, s := range []string{"[::1]/9430..9433,1000,10", "127.0.0.1/9430", "fe80::1%eth0/1", "collector.example/65535,50", "h/2..1", "h/1,1,1,1", "[]/1", "a b/1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		const base, perByte = 8 << 10, 64 // an error holds s, a list of fields its commas
		guard.Memory(t, base+perByte*len(s), func() { ParseSockspec(s) })
		spec, err := ParseSockspec(s)
		if err != nil {
			// Four numbers out of their bounds, or a host that is none.
			m := grammar.FindStringSubmatch(s)
			if m != nil && net.ParseIP(m[1]) != nil && len(m[2]) < 5 && m[2][0] > '0' && m[3] == "" && m[5] == "" {
				t.Fatalf("%q: %v", s, err)
			}
			return
		}
		if !grammar.MatchString(s) || spec.First == 0 || spec.Last < spec.First || spec.Rate < 0 || spec.Freq < 0 || spec.Freq > 0 && spec.Rate == 0 {
			t.Fatalf("%q is taken as %+v", s, spec)
		}
		again, err := ParseSockspec(spec.String())
		if err != nil || again != spec {
			t.Errorf("%q: %+v became %+v, %v", s, spec, again, err)
		}
	})
}
