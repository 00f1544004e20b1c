package output

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"nmsgsensor/encode"
	"nmsgsensor/tuple"
)

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
		f := NewFile(out, c.cfg, FileConfig{})
		writeAll(t, f, records(t, c.from))
		sameFile(t, out, "../testdata/"+c.want)
		if st := f.Stats()[0]; st.Payloads == 0 || st.Containers == 0 || st.Dropped != 0 {
			t.Errorf("%s: %+v", c.want, st)
		}
	}
}

func TestJSONIsThatOfNmsgtool(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out.json")
	writeAll(t, NewJSON(out, Payloads{}, false, FileConfig{}), records(t, "nmsg/ipconn.nmsg"))
	sameFile(t, out, "../testdata/nmsg/ipconn.json")
}

// TestJSONWithLabels has the line that nmsgtool 1.3.3 printed for this message.
func TestJSONWithLabels(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out.json")
	writeAll(t, NewJSON(out, Payloads{Labels: encode.Labels{Source: 0xab, Operator: 5, Group: 7}}, false, FileConfig{}), records(t, "nmsg/ipconn.nmsg")[:1])
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
	writeAll(t, NewText(out, Payloads{}, false, FileConfig{}), []Record{
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
	writeAll(t, NewFile(out, Payloads{Kind: IPConn}, FileConfig{}), []Record{{Packet: []byte{0x45}}})
	if _, err := os.Stat(out); !errors.Is(err, os.ErrNotExist) {
		t.Error("created without payload", err)
	}
}

func TestFullDiskIsAnErrorThatNamesTheFile(t *testing.T) {
	f := NewFile("/dev/full", Payloads{Kind: IPConn, Single: true}, FileConfig{})
	err := f.Write(&records(t, "nmsg/ipconn.nmsg")[0])
	if !errors.Is(err, unix.ENOSPC) || !strings.Contains(err.Error(), "/dev/full") {
		t.Error(err)
	}
	if st := f.Stats()[0]; st.Dropped != 1 || st.Payloads != 0 || st.Errors["no_space"] != 1 {
		t.Errorf("%+v", st)
	}
}
