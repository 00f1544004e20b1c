package output

import (
	"strings"
	"testing"
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
