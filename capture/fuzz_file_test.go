package capture

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcap"
	"github.com/google/gopacket/pcapgo"
	"golang.org/x/sys/unix"

	"nmsgsensor/tuple/guard"
)

// kept is a Packet that was kept.
type kept struct {
	time time.Time
	ip   string
	skip Reason
	cut  bool
}

// readKept reads an input from a file in memory.
func readKept(t testing.TB, b []byte) ([]kept, Stats, error) {
	t.Helper()
	in := inMemory(t, b)
	src, err := newSource(in, AnyFormat, Config{Log: quiet})
	if err != nil {
		in.close()
		return nil, Stats{}, err
	}
	var all []kept
	err = src.Run(context.Background(), func(batch []Packet) error {
		for i := range batch {
			p := &batch[i]
			all = append(all, kept{p.Time, string(p.IP), p.Skip, p.Cut})
		}
		return nil
	})
	return all, src.Stats(), err
}

// inMemory returns a file in memory as an input; Run closes it.
func inMemory(t testing.TB, b []byte) *input {
	t.Helper()
	fd, err := unix.MemfdCreate("input", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	in := &input{name: "memory", fd: fd, ctx: context.Background()}
	if n, err := unix.Pwrite(fd, b, 0); err != nil || n != len(b) {
		t.Fatal(n, err)
	}
	return in
}

// The memory that reading a capture may take in all: windows and batches, and
// so much for each byte of it: an interface of 20 bytes takes 72 in a list that
// doubles, and its filter; a place that is damaged, words for the log.
const (
	fileBase    = 8 << 20
	filePerByte = 64
)

// drain returns a function that reads b without keeping anything.
func drain(t testing.TB, b []byte) func() {
	return func() {
		in := inMemory(t, b)
		src, err := newSource(in, AnyFormat, Config{Log: quiet})
		if err != nil {
			in.close()
			return
		}
		src.Run(context.Background(), func([]Packet) error { return nil })
	}
}

// FuzzPcap holds the reader of pcap against pcapgo and libpcap: what they read is
// read here as well, packet by packet, unless damage was seen.
func FuzzPcap(f *testing.F) {
	addFiles(f, "*.pcap")
	f.Fuzz(func(t *testing.T, b []byte) {
		if !isPcap(b) {
			return
		}
		got := checkFile(t, b)
		if got == nil {
			return
		}
		link := LinkType(binary.LittleEndian.Uint32(b[20:]))
		if _, bigEndian, _ := pcapMagic(b); bigEndian {
			link = LinkType(binary.BigEndian.Uint32(b[20:]))
		}
		link &= 0x03ffffff
		const sane = 1 << 20 // pcapgo allocates what the header claims
		if r, err := pcapgo.NewReader(bytes.NewReader(b)); err == nil && r.Snaplen() <= sane {
			samePackets(t, got, "pcapgo", r, func(gopacket.CaptureInfo) LinkType { return link })
		}
		byLibpcap(t, b, got, link)
	})
}

// FuzzPcapng is FuzzPcap for pcapng.
func FuzzPcapng(f *testing.F) {
	addFiles(f, "*.pcapng")
	f.Fuzz(func(t *testing.T, b []byte) {
		if !isPcapng(b) {
			return
		}
		got := checkFile(t, b)
		if got == nil {
			return
		}
		r, err := pcapgo.NewNgReader(bytes.NewReader(b), pcapgo.NgReaderOptions{WantMixedLinkType: true})
		if err == nil {
			samePackets(t, got, "pcapgo", ngPackets{r}, func(ci gopacket.CaptureInfo) LinkType {
				if link := LinkType(ci.AncillaryData[0].(layers.LinkType)); link != linkSLL2&0xff {
					return link
				}
				return linkSLL2
			})
		}
	})
}

// ngPackets takes the times away that pcapgo does not know or is not exact about,
// and its panics.
type ngPackets struct{ *pcapgo.NgReader }

func (r ngPackets) ReadPacketData() (b []byte, ci gopacket.CaptureInfo, err error) {
	defer func() {
		if p := recover(); p != nil { // at an option shorter than it thinks, or a resolution of 10^-64
			err = fmt.Errorf("pcapgo: %v", p)
		}
	}()
	b, ci, err = r.NgReader.ReadPacketData()
	if err == io.EOF {
		err = io.ErrUnexpectedEOF // as also where it reads past a block, after an option that claims more
	}
	if err != nil {
		return b, ci, err
	}
	i, err := r.Interface(ci.InterfaceIndex)
	if resolution := i.TimestampResolution; resolution != 6 && resolution != 9 || i.TimestampOffset != 0 {
		ci.Timestamp = time.Time{}
	}
	return b, ci, err
}

// addFiles adds the captures of testdata, and their beginnings.
func addFiles(f *testing.F, pattern string) {
	names, _ := filepath.Glob("../testdata/pcap/" + pattern)
	if len(names) < 8 {
		f.Fatal(names)
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		const some = 400
		if len(b) < 8*some {
			f.Add(b)
		}
		f.Add(b[:min(len(b), some)])
	}
}

// checkFile reads a capture, within bounds, and returns the packets, nil where
// damage was seen. They are the same in another capture.
func checkFile(t *testing.T, b []byte) []kept {
	guard.Memory(t, fileBase+filePerByte*len(b), drain(t, b))
	got, st, err := readKept(t, b)
	if st.Damaged > uint64(len(b)) || len(got) > len(b) {
		t.Fatalf("%d packets, %d damaged places of %d bytes", len(got), st.Damaged, len(b))
	}
	if err != nil {
		return nil
	}
	writeAgain(t, got)
	if st.Damaged > 0 {
		return nil
	}
	return append([]kept{}, got...)
}

// writeAgain writes packets to a pcapng file and reads them again.
func writeAgain(t *testing.T, all []kept) {
	var file bytes.Buffer
	w, err := pcapgo.NewNgWriterInterface(&file, pcapgo.NgInterface{LinkType: layers.LinkTypeIPv4, TimestampResolution: 9}, pcapgo.NgWriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var want []kept
	for _, p := range all {
		// The writer's time ends in the year 2262.
		if years := p.time.Year(); p.skip != 0 || p.ip == "" || years < 1970 || years > 2261 {
			continue
		}
		ci := gopacket.CaptureInfo{Timestamp: p.time, CaptureLength: len(p.ip), Length: len(p.ip)}
		if p.cut {
			ci.Length++
		}
		if err := w.WritePacket(ci, []byte(p.ip)); err != nil {
			t.Fatal(err)
		}
		want = append(want, p)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	got, st, err := readKept(t, file.Bytes())
	if err != nil || st.Damaged > 0 || !slices.Equal(got, want) {
		t.Fatalf("%v became %v, damaged %d, %v", want, got, st.Damaged, err)
	}
}

// byLibpcap compares with libpcap's own reader.
func byLibpcap(t *testing.T, b []byte, got []kept, link LinkType) {
	in := inMemory(t, b)
	defer in.close()
	h, err := pcap.OpenOffline(fmt.Sprintf("/proc/self/fd/%d", in.fd))
	if err != nil {
		return
	}
	defer h.Close()
	samePackets(t, got, "libpcap", h, func(gopacket.CaptureInfo) LinkType { return link })
}

// packetReader is another reader of captures.
type packetReader interface {
	ReadPacketData() ([]byte, gopacket.CaptureInfo, error)
}

// fileSeen is a packet as we and another see it.
type fileSeen struct {
	who       string
	got, want kept
}

// fileDifferences are the cases in which we rightly read something else than
// others, each with what decides.
var fileDifferences = []struct {
	reason  string
	applies func(fileSeen) bool
}{
	{"pcap-savefile(5): libpcap cuts a record to the snaplen of the file, here it is whole", func(s fileSeen) bool {
		return s.who == "libpcap" && s.want.cut && strings.HasPrefix(s.got.ip, s.want.ip) && s.got.time.Equal(s.want.time)
	}},
	{"draft-ietf-opsawg-pcap section 5: times have no sign, libpcap gives them one; both wrap fractions of more than 4 seconds", func(s fileSeen) bool {
		off := s.got.time.Sub(s.want.time)
		return off > 0 && (off%(1<<32) == 0 || (off-1<<32*time.Second)%(1<<32) == 0)
	}},
	{"draft-ietf-opsawg-pcapng section 4.2: a link type has 16 bits, pcapgo keeps 8", func(s fileSeen) bool {
		return s.got.skip == OtherLink && s.got.time.Equal(s.want.time)
	}},
	{"draft-ietf-opsawg-pcapng section 4.2: if_tsresol has one octet, pcapgo takes the first of any number", func(s fileSeen) bool {
		return s.got.time.UnixMicro() == s.want.time.UnixNano()
	}},
	{"draft-ietf-opsawg-pcapng section 4.2: a resolution of 0 is seconds, pcapgo takes it for none", func(s fileSeen) bool {
		return s.got.time.Unix() == s.want.time.UnixMicro()
	}},
}

func fileDifference(s fileSeen) string {
	for _, d := range fileDifferences {
		if d.applies(s) {
			return d.reason
		}
	}
	return ""
}

// samePackets reads with another reader, as far as it gets.
func samePackets(t *testing.T, got []kept, who string, r packetReader, linkOf func(gopacket.CaptureInfo) LinkType) {
	for n := 0; ; n++ {
		frame, ci, err := r.ReadPacketData()
		if err != nil {
			if err == io.EOF && n < len(got) {
				t.Fatalf("%d packets, %s reads %d", len(got), who, n)
			}
			return
		}
		want := kept{time: ci.Timestamp.UTC(), skip: OtherLink}
		if decode := decoderFor(linkOf(ci)); decode != nil {
			ip, skip := decode(frame)
			want.ip, want.skip, want.cut = string(ip), skip, len(frame) != ci.Length
		}
		if n >= len(got) {
			t.Fatalf("%d packets, %s reads more: %v", len(got), who, ci)
		}
		if ci.Timestamp.IsZero() {
			want.time = got[n].time
		}
		if got[n] != want && fileDifference(fileSeen{who, got[n], want}) == "" {
			t.Fatalf("packet %d is %v, %s has %v", n, got[n], who, want)
		}
	}
}

// FuzzOpen reads whatever an input may be, compressed or not. What a compressed
// input holds is what is read of it without the compression. No archive can ask
// for more memory than its bound.
func FuzzOpen(f *testing.F) {
	for name, b := range golden(f) {
		f.Add(b)
		if strings.HasPrefix(name, "ipconn") || strings.HasPrefix(name, "ether4") || strings.HasPrefix(name, "sections") {
			for _, c := range compressed(f, b) {
				f.Add(c)
			}
		}
	}
	const archives = 100 << 20
	f.Fuzz(func(t *testing.T, b []byte) {
		guard.Memory(t, archives+filePerByte*len(b), drain(t, b))
		got, st, err := readKept(t, b)
		z, zerr := gzip.NewReader(bytes.NewReader(b))
		if zerr != nil || err != nil {
			return
		}
		plain, zerr := io.ReadAll(io.LimitReader(z, 1<<20))
		if zerr != nil || st.Damaged > 0 || len(plain) == 1<<20 {
			return
		}
		want, wantSt, err := readKept(t, plain)
		if err != nil || wantSt.Damaged > 0 || !slices.Equal(got, want) {
			t.Fatalf("got %v, want %v, damaged %d, %v", got, want, wantSt.Damaged, err)
		}
	})
}

// compressed returns b in each form that there is a writer for here.
func compressed(t testing.TB, b []byte) map[string][]byte {
	var zipped bytes.Buffer
	w := gzip.NewWriter(&zipped)
	w.Write(b)
	w.Close()
	all := map[string][]byte{"gzip": zipped.Bytes()}
	for _, tool := range []string{"zstd", "xz", "bzip2"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Logf("%s is not on PATH: not tried", tool)
			continue
		}
		cmd := exec.Command(tool, "-c")
		cmd.Stdin = bytes.NewReader(b)
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		all[tool] = out
	}
	return all
}
