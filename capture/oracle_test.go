package capture

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcap"
	"github.com/google/gopacket/pcapgo"
)

// captures returns the captures of testdata and those that gopacket's own tests
// read, which lie in the module cache.
func captures(t testing.TB) []string {
	all, _ := filepath.Glob("../testdata/pcap/*.pcap*")
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/google/gopacket").Output()
	if err != nil {
		t.Logf("gopacket's captures are not tried: %v", err)
		return all
	}
	dir := strings.TrimSpace(string(out))
	for _, pattern := range []string{"pcap/*.pcap", "pcapgo/tests/?e/*.pcapng"} {
		names, _ := filepath.Glob(filepath.Join(dir, pattern))
		all = append(all, names...)
	}
	return all
}

// oracle is another reader of captures.
type oracle interface {
	ReadPacketData() ([]byte, gopacket.CaptureInfo, error)
	LinkType() layers.LinkType
}

// TestWhatLibpcapAndPcapgoReadIsRead: packet by packet, with the same time and
// the same length, as far as they get.
func TestWhatLibpcapAndPcapgoReadIsRead(t *testing.T) {
	total := map[string]int{}
	for _, name := range captures(t) {
		if h, err := pcap.OpenOffline(name); err == nil {
			total["libpcap"] += holdAgainst(t, name, "libpcap", h)
			h.Close()
		}
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if r, err := pcapgo.NewReader(bytes.NewReader(b)); err == nil {
			total["pcapgo"] += holdAgainst(t, name, "pcapgo", r)
		}
		options := pcapgo.NgReaderOptions{WantMixedLinkType: true}
		if r, err := pcapgo.NewNgReader(bytes.NewReader(b), options); err == nil {
			total["pcapgo"] += holdAgainst(t, name, "pcapgo", mixed{r})
		}
	}
	t.Log(total)
}

// mixed gives each packet of a pcapng file its own link type.
type mixed struct{ *pcapgo.NgReader }

func (mixed) LinkType() layers.LinkType { return 0 }

// holdAgainst compares what is read of a file with what an oracle reads, and
// returns the number of packets.
func holdAgainst(t *testing.T, name, who string, r oracle) int {
	type packet struct {
		time time.Time
		ip   string
		skip Reason
		cut  bool
	}
	var got []packet
	src, err := Open(context.Background(), name, AnyFormat, Config{Log: quiet})
	if err != nil && decoderFor(LinkType(r.LinkType())) == nil {
		return 0 // a file without IP is refused
	}
	if err == nil {
		err = src.Run(context.Background(), func(batch []Packet) error {
			for i := range batch {
				p := &batch[i]
				got = append(got, packet{p.Time, string(p.IP), p.Skip, p.Cut})
			}
			return nil
		})
	}
	for n := 0; ; n++ {
		frame, ci, rerr := r.ReadPacketData()
		if rerr != nil {
			if rerr == io.EOF && n < len(got) {
				t.Errorf("%s: %d packets, %s reads %d", name, len(got), who, n)
			}
			return n
		}
		link := LinkType(r.LinkType())
		if len(ci.AncillaryData) > 0 {
			link = LinkType(ci.AncillaryData[0].(layers.LinkType))
		}
		if link == linkSLL2&0xff {
			link = linkSLL2
		}
		var want packet
		decode := decoderFor(link)
		if decode == nil {
			want.skip = OtherLink
		} else {
			ip, skip := decode(frame)
			want = packet{ip: string(ip), skip: skip, cut: len(frame) != ci.Length}
		}
		want.time = ci.Timestamp
		if want.time.IsZero() {
			want.time = time.Unix(0, 0) // a simple packet block; pcapgo leaves it unset
		}
		if n >= len(got) {
			t.Errorf("%s: %d packets (%v), %s reads more: %v", name, len(got), err, who, ci)
			return n
		}
		// libpcap cuts a record to the snaplen of the file, here it is whole.
		g := got[n]
		// pcapgo is not exact where the resolution is a power of two.
		if off := g.time.Sub(want.time).Abs(); off > time.Microsecond || off > 0 && who != "pcapgo" || g.skip != want.skip ||
			g.ip != want.ip && !(want.cut && strings.HasPrefix(g.ip, want.ip)) {
			t.Errorf("%s packet %d: %v, %s has %v", name, n, fmt.Sprint(g), who, fmt.Sprint(want))
		}
	}
}
