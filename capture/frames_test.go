package capture

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"nmsgsensor/tuple"
)

// frames has, for every capture that can be read, what each of its frames is;
// the comments in testdata/make_pcaps.py say why.
var frames = map[string][]string{
	"badlen.pcapng": {
		"tcp 192.0.2.1 51512 > 198.51.100.2 443",
	},
	"bigendian.pcap": {
		"tcp 192.0.2.1 51512 > 198.51.100.2 443",
		"udp 2001:db8::1 5353 > 2001:db8::2 5353",
		"udp 192.0.2.1 17500 > 198.51.100.2 53",
	},
	"bigsnap.pcap": {
		"tcp 192.0.2.1 51512 > 198.51.100.2 443",
		"udp 2001:db8::1 5353 > 2001:db8::2 5353",
		"udp 192.0.2.1 17500 > 198.51.100.2 53",
	},
	"caplen_gt_len.pcap": {
		"tcp 192.0.2.1 51512 > 198.51.100.2 443, cut",
		"udp 2001:db8::1 5353 > 2001:db8::2 5353",
	},
	"cut.pcapng": {
		"tcp 192.0.2.1 51512 > 198.51.100.2 443",
		"udp 2001:db8::1 5353 > 2001:db8::2 5353",
	},
	"cut_header.pcap": {
		"tcp 192.0.2.1 51512 > 198.51.100.2 443",
		"udp 2001:db8::1 5353 > 2001:db8::2 5353",
		"udp 192.0.2.1 17500 > 198.51.100.2 53",
	},
	"cut_record.pcap": {
		"tcp 192.0.2.1 51512 > 198.51.100.2 443",
		"udp 2001:db8::1 5353 > 2001:db8::2 5353",
	},
	"empty.pcap": {},
	"ether4.pcap": {
		"tcp 192.0.2.1 51512 > 198.51.100.2 443",
		"udp 192.0.2.1 17500 > 198.51.100.2 53",
		"tcp 192.0.2.1 1 > 198.51.100.2 2",
		"udp 192.0.2.1 68 > 198.51.100.2 67",
		"tcp 192.0.2.1 1000 > 198.51.100.2 2000",
		"other protocol",
		"other protocol",
		"other protocol",
		"other protocol",
		"other protocol",
		"other protocol",
		"other protocol",
		"other protocol",
		"not_ip",
		"not_ip",
		"malformed",
		"malformed",
		"malformed",
		"udp 192.0.2.1 9 > 198.51.100.2 10",
		"tcp 192.0.2.1 11 > 198.51.100.2 12",
		"not IP",
		"malformed",
		"udp 192.0.2.1 53 > 198.51.100.2 54",
		"truncated",
		"truncated",
		"link_cut",
		"udp 0.0.0.0 0 > 255.255.255.255 0",
		"tcp 2001:db8::1 40000 > 2001:db8::2 22",
		"udp 2001:db8::1 5353 > 2001:db8::2 5353",
		"tcp 192.0.2.1 51512 > 198.51.100.2 443",
		"tcp 2001:db8::1 40000 > 2001:db8::2 22",
	},
	"ext6.pcap": {
		"tcp 2001:db8::1 6000 > 2001:db8::2 6001",
		"tcp 2001:db8::1 6000 > 2001:db8::2 6001",
		"tcp 2001:db8::1 6000 > 2001:db8::2 6001",
		"udp 2001:db8::1 6002 > 2001:db8::2 6003",
		"tcp 2001:db8::1 6000 > 2001:db8::2 6001",
		"other protocol",
		"udp 2001:db8::1 4000 > 2001:db8::2 4001",
		"later fragment",
		"later fragment",
		"tcp 2001:db8::1 6000 > 2001:db8::2 6001",
		"udp 2001:db8::1 6004 > 2001:db8::2 6005",
		"other protocol",
		"other protocol",
		"tcp 2001:db8::1 6000 > 2001:db8::2 6001",
		"udp 2001:db8::1 6006 > 2001:db8::2 6007",
		"udp 2001:db8::1 6008 > 2001:db8::2 6009",
		"tcp 2001:db8::1 6000 > 2001:db8::2 6001",
		"malformed",
		"truncated",
		"malformed",
		"udp 2001:db8::1 6010 > 2001:db8::2 6011",
		"malformed",
		"udp 2001:db8::1 6012 > 2001:db8::2 6013",
		"udp 2001:db8::1 6014 > 2001:db8::2 6015",
		"other protocol",
		"other protocol",
		"truncated",
	},
	"frag4.pcap": {
		"udp 192.0.2.1 4000 > 198.51.100.2 4001",
		"later fragment",
		"later fragment",
		"udp 192.0.2.1 4002 > 198.51.100.2 4003",
		"tcp 192.0.2.1 4004 > 198.51.100.2 4005",
		"tcp 192.0.2.1 4006 > 198.51.100.2 4007",
		"tcp 192.0.2.1 4008 > 198.51.100.2 4009",
		"later fragment",
	},
	"garbage.pcap": {},
	"hdlc.pcap": {
		"tcp 192.0.2.1 51512 > 198.51.100.2 443",
		"udp 2001:db8::1 5353 > 2001:db8::2 5353",
		"not_ip",
	},
	"incompressible.pcap": {
		"udp 192.0.2.1 7200 > 198.51.100.2 7300",
		"udp 192.0.2.1 7201 > 198.51.100.2 7300",
		"udp 192.0.2.1 7202 > 198.51.100.2 7300",
	},
	"ipv4.pcap": {
		"tcp 192.0.2.1 51512 > 198.51.100.2 443",
		"udp 192.0.2.1 17500 > 198.51.100.2 53",
	},
	"ipv6.pcap": {
		"tcp 2001:db8::1 40000 > 2001:db8::2 22",
		"udp 2001:db8::1 5353 > 2001:db8::2 5353",
	},
	"jumbo.pcap": {
		"udp 192.0.2.1 7100 > 198.51.100.2 7101",
		"tcp 192.0.2.1 7102 > 198.51.100.2 7103",
	},
	"loop.pcap": {
		"tcp 192.0.2.1 51512 > 198.51.100.2 443",
		"udp 2001:db8::1 5353 > 2001:db8::2 5353",
		"udp 2001:db8::1 5353 > 2001:db8::2 5353",
	},
	"mixed_links.pcapng": {
		"tcp 192.0.2.1 51512 > 198.51.100.2 443",
		"udp 2001:db8::1 5353 > 2001:db8::2 5353",
		"tcp 192.0.2.1 51512 > 198.51.100.2 443",
		"other_link",
		"tcp 192.0.2.1 51512 > 198.51.100.2 443",
	},
	"nano.pcap": {
		"tcp 192.0.2.1 51512 > 198.51.100.2 443",
		"udp 2001:db8::1 5353 > 2001:db8::2 5353",
		"udp 192.0.2.1 17500 > 198.51.100.2 53",
	},
	"nano.pcapng": {
		"tcp 192.0.2.1 51512 > 198.51.100.2 443",
		"udp 2001:db8::1 5353 > 2001:db8::2 5353",
		"udp 192.0.2.1 17500 > 198.51.100.2 53",
	},
	"nano_be.pcap": {
		"tcp 192.0.2.1 51512 > 198.51.100.2 443",
		"udp 2001:db8::1 5353 > 2001:db8::2 5353",
		"udp 192.0.2.1 17500 > 198.51.100.2 53",
	},
	"no_iface.pcapng": {},
	"null.pcap": {
		"tcp 192.0.2.1 51512 > 198.51.100.2 443",
		"udp 2001:db8::1 5353 > 2001:db8::2 5353",
		"udp 2001:db8::1 5353 > 2001:db8::2 5353",
		"udp 2001:db8::1 5353 > 2001:db8::2 5353",
		"udp 2001:db8::1 5353 > 2001:db8::2 5353",
		"not_ip",
		"link_cut",
	},
	"null_be.pcap": {
		"tcp 192.0.2.1 51512 > 198.51.100.2 443",
		"udp 2001:db8::1 5353 > 2001:db8::2 5353",
	},
	"one_iface.pcapng": {
		"tcp 192.0.2.1 51512 > 198.51.100.2 443",
		"udp 2001:db8::1 5353 > 2001:db8::2 5353",
		"udp 192.0.2.1 17500 > 198.51.100.2 53",
	},
	"pow2_offset.pcapng": {
		"tcp 192.0.2.1 51512 > 198.51.100.2 443",
		"udp 2001:db8::1 5353 > 2001:db8::2 5353",
		"udp 192.0.2.1 17500 > 198.51.100.2 53",
	},
	"ppp.pcap": {
		"tcp 192.0.2.1 51512 > 198.51.100.2 443",
		"udp 2001:db8::1 5353 > 2001:db8::2 5353",
		"udp 192.0.2.1 17500 > 198.51.100.2 53",
		"udp 192.0.2.1 17500 > 198.51.100.2 53",
		"not_ip",
	},
	"raw.pcap": {
		"tcp 192.0.2.1 51512 > 198.51.100.2 443",
		"udp 2001:db8::1 5353 > 2001:db8::2 5353",
		"not_ip",
		"link_cut",
		"udp 192.0.2.1 17500 > 198.51.100.2 53",
	},
	"raw12.pcap": {
		"tcp 192.0.2.1 51512 > 198.51.100.2 443",
		"udp 2001:db8::1 5353 > 2001:db8::2 5353",
	},
	"sections.pcapng": {
		"tcp 192.0.2.1 51512 > 198.51.100.2 443",
		"udp 192.0.2.1 17500 > 198.51.100.2 53",
		"udp 192.0.2.1 17500 > 198.51.100.2 53",
	},
	"simple.pcapng": {
		"tcp 192.0.2.1 51512 > 198.51.100.2 443",
		"udp 2001:db8::1 5353 > 2001:db8::2 5353",
	},
	"sll.pcap": {
		"tcp 192.0.2.1 51512 > 198.51.100.2 443",
		"udp 2001:db8::1 5353 > 2001:db8::2 5353",
		"not_ip",
		"udp 192.0.2.1 17500 > 198.51.100.2 53",
		"link_cut",
	},
	"sll2.pcap": {
		"tcp 192.0.2.1 51512 > 198.51.100.2 443",
		"udp 2001:db8::1 5353 > 2001:db8::2 5353",
		"not_ip",
		"link_cut",
	},
	"snapped.pcap": {
		"tcp 192.0.2.1 7000 > 198.51.100.2 443, cut",
		"tcp 192.0.2.1 7001 > 198.51.100.2 443, cut",
		"tcp 192.0.2.1 7002 > 198.51.100.2 443, cut",
		"truncated, cut",
		"tcp 192.0.2.1 51512 > 198.51.100.2 443",
		"udp 2001:db8::1 5353 > 2001:db8::2 5353",
		"udp 192.0.2.1 17500 > 198.51.100.2 53",
	},
	"tags.pcap": {
		"tcp 192.0.2.1 51512 > 198.51.100.2 443",
		"udp 2001:db8::1 5353 > 2001:db8::2 5353",
		"udp 192.0.2.1 17500 > 198.51.100.2 53",
		"udp 192.0.2.1 17500 > 198.51.100.2 53",
		"udp 192.0.2.1 17500 > 198.51.100.2 53",
		"tcp 2001:db8::1 40000 > 2001:db8::2 22",
		"not_ip",
		"link_cut",
		"tcp 192.0.2.1 51512 > 198.51.100.2 443",
		"tcp 2001:db8::1 40000 > 2001:db8::2 22",
		"udp 192.0.2.1 17500 > 198.51.100.2 53",
		"link_cut",
		"tcp 192.0.2.1 51512 > 198.51.100.2 443",
		"udp 192.0.2.1 17500 > 198.51.100.2 53",
		"udp 2001:db8::1 5353 > 2001:db8::2 5353",
		"not_ip",
		"tcp 192.0.2.1 51512 > 198.51.100.2 443",
		"not_ip",
		"udp 192.0.2.1 17500 > 198.51.100.2 53",
		"not_ip",
	},
}

// describe says what a packet is: its tuple, or the reason for which it has
// none; and whether it is cut.
func describe(p *Packet) string {
	s := p.Skip.String()
	if p.Skip == 0 {
		var err error
		tp := p.Tuple
		if tp == nil {
			tp = new(tuple.Tuple)
			*tp, err = tuple.Parse(p.IP)
		}
		switch {
		case err == nil:
			name := map[uint8]string{6: "tcp", 17: "udp"}[tp.Proto]
			s = fmt.Sprintf("%s %v %d > %v %d", name, tp.Src, tp.SrcPort, tp.Dst, tp.DstPort)
		case errors.Is(err, tuple.OtherProtocol):
			s = "other protocol"
		case errors.Is(err, tuple.Malformed):
			s = "malformed"
		case errors.Is(err, tuple.Truncated):
			s = "truncated"
		default:
			s = err.Error()
		}
	}
	if p.Cut {
		s += ", cut"
	}
	return s
}

// readAll opens a file and describes everything in it.
func readAll(t testing.TB, name string, cfg Config) ([]string, Stats, error) {
	t.Helper()
	cfg.Log = slog.New(slog.DiscardHandler)
	src, err := Open(context.Background(), name, AnyFormat, cfg)
	if err != nil {
		return nil, Stats{}, err
	}
	all := []string{}
	err = src.Run(context.Background(), func(batch []Packet) error {
		for i := range batch {
			all = append(all, describe(&batch[i]))
		}
		return nil
	})
	return all, src.Stats(), err
}

func TestEveryFrameOfTheGoldenCaptures(t *testing.T) {
	files, err := filepath.Glob("../testdata/pcap/*")
	if err != nil || len(files) == 0 {
		t.Fatal("no captures", err)
	}
	for _, name := range files {
		t.Run(filepath.Base(name), func(t *testing.T) {
			got, _, err := readAll(t, name, Config{})
			if err != nil {
				got = nil // told apart in TestOpenErrors
			}
			if diff := cmp.Diff(frames[filepath.Base(name)], got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// TestDamageIsToldOnceAndTheRestIsRead holds the damaged files against the
// number of places.
func TestDamageIsToldOnceAndTheRestIsRead(t *testing.T) {
	for name, want := range map[string]uint64{
		"badlen.pcapng": 1, "cut.pcapng": 1, "cut_header.pcap": 1, "cut_record.pcap": 1,
		"garbage.pcap": 1, "no_iface.pcapng": 1, "ether4.pcap": 0, "sections.pcapng": 0,
	} {
		_, st, err := readAll(t, "../testdata/pcap/"+name, Config{})
		if err != nil || st.Damaged != want {
			t.Errorf("%s: damaged %d, want %d (%v)", name, st.Damaged, want, err)
		}
	}
}

func TestFilterIsAppliedToCaptures(t *testing.T) {
	for _, c := range []struct {
		file, filter string
		want         []string
	}{
		{"sll2.pcap", "udp", []string{"filtered", frames["sll2.pcap"][1], "filtered", "filtered"}},
		{"raw.pcap", "tcp port 443", []string{frames["raw.pcap"][0], "filtered", "filtered", "filtered", "filtered"}},
		// The length on the wire counts, not the captured one.
		{"snapped.pcap", "greater 900", append(append([]string{}, frames["snapped.pcap"][:3]...), "filtered", "filtered", "filtered", "filtered")},
		{"mixed_links.pcapng", "udp", []string{"filtered", frames["mixed_links.pcapng"][1], "filtered", "other_link", "filtered"}},
	} {
		got, _, err := readAll(t, "../testdata/pcap/"+c.file, Config{Filter: c.filter})
		if diff := cmp.Diff(c.want, got); diff != "" || err != nil {
			t.Errorf("%s, %s: %v -want +got:\n%s", c.file, c.filter, err, diff)
		}
	}
}
