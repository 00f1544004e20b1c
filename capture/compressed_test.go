package capture

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"hash/crc32"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

func TestCompressedInputs(t *testing.T) {
	raw, err := os.ReadFile("../testdata/pcap/ether4.pcap")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	var zipped bytes.Buffer
	w := gzip.NewWriter(&zipped)
	w.Write(raw)
	w.Close()
	check := func(name string, b []byte, want []string, damaged uint64) {
		t.Helper()
		path := filepath.Join(dir, name)
		os.WriteFile(path, b, 0o600)
		got, st, err := readAll(t, path, Config{})
		if err != nil || st.Damaged != damaged {
			t.Errorf("%s: damaged %d, %v", name, st.Damaged, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: -want +got:\n%s", name, diff)
		}
	}
	check("whole.gz", zipped.Bytes(), frames["ether4.pcap"], 0)
	check("twice.gz", append(zipped.Bytes(), zippedTail(t)...), frames["ether4.pcap"], 0)
	check("cut.gz", zipped.Bytes()[:zipped.Len()-4], frames["ether4.pcap"], 1)
	for name, c := range map[string]xz.WriterConfig{
		"blocks.xz": {BlockSize: 100},
		"check32":   {CheckSum: xz.CRC32, BlockSize: 1001},
		"sha256":    {CheckSum: xz.SHA256, BlockSize: 1002},
		"none":      {NoCheckSum: true, BlockSize: 1003},
	} {
		check(name, xzOf(t, raw, c), frames["ether4.pcap"], 0)
	}
	streams := slices.Concat(xzOf(t, raw[:500], xz.WriterConfig{BlockSize: 77}), make([]byte, 8), xzOf(t, raw[500:], xz.WriterConfig{}))
	check("streams.xz", streams, frames["ether4.pcap"], 0)
	check("cut.xz", streams[:len(streams)-1], frames["ether4.pcap"], 1)
	for _, tool := range []string{"zstd", "xz", "bzip2"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Logf("%s is not on PATH: not tried", tool)
			continue
		}
		cmd := exec.Command(tool, "-c")
		cmd.Stdin = bytes.NewReader(raw)
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		check("whole."+tool, out, frames["ether4.pcap"], 0)
	}
}

// zippedTail is a second, empty member of a gzip file.
func zippedTail(t *testing.T) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func xzOf(t *testing.T, raw []byte, c xz.WriterConfig) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := c.NewWriter(&b)
	if err != nil {
		t.Fatal(err)
	}
	w.Write(raw)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// xzWindow is an xz stream whose block wants a dictionary of this size (The .xz
// File Format, section 5.3.1).
func xzWindow(t *testing.T, raw []byte, code byte) []byte {
	b := xzOf(t, raw, xz.WriterConfig{})
	const header = 12 // where that of the block begins
	size := (int(b[header]) + 1) * 4
	i := bytes.Index(b[header:header+size], []byte{0x21, 1}) // the filter and the size of its properties
	b[header+i+2] = code
	binary.LittleEndian.PutUint32(b[header+size-4:], crc32.ChecksumIEEE(b[header:header+size-4]))
	return b
}

// zstdWindow is a frame with a window of 2^log bytes and one raw block (RFC 8878
// section 3.1.1).
func zstdWindow(raw []byte, log byte) []byte {
	b := []byte{0x28, 0xb5, 0x2f, 0xfd, 0, (log - 10) << 3}
	const last = 1
	n := len(raw)<<3 | last
	return append(append(b, byte(n), byte(n>>8), byte(n>>16)), raw...)
}

// TestLargeWindowsAreRefused: at the start nothing is opened, later on what came
// before is read.
func TestLargeWindowsAreRefused(t *testing.T) {
	raw, err := os.ReadFile("../testdata/pcap/ether4.pcap")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name    string
		b       []byte
		taken   bool
		damaged uint64
	}{
		{"xz, 64 MiB", xzWindow(t, raw, 28), true, 0},
		{"xz, 96 MiB", xzWindow(t, raw, 29), false, 0},
		{"xz, 4 GiB", xzWindow(t, raw, 40), false, 0},
		{"xz, 4 GiB later on", slices.Concat(xzWindow(t, raw, 0), xzWindow(t, raw, 40)), true, 1},
		{"zstd, 64 MiB", zstdWindow(raw, 26), true, 0},
		{"zstd, 128 MiB", zstdWindow(raw, 27), false, 0},
		{"zstd, 2 TiB", zstdWindow(raw, 41), false, 0},
		{"zstd, 128 MiB later on", slices.Concat(zstdWindow(raw, 20), zstdWindow(raw, 27)), true, 1},
	} {
		path := filepath.Join(t.TempDir(), "in")
		os.WriteFile(path, c.b, 0o600)
		got, st, err := readAll(t, path, Config{})
		if (err == nil) != c.taken || err != nil && err.Error() != path+": "+errWindow.Error() || st.Damaged != c.damaged {
			t.Errorf("%s: damaged %d, %v", c.name, st.Damaged, err)
		}
		if c.taken && !slices.Equal(got, frames["ether4.pcap"]) {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

// TestCompressedInputsCutAndFlipped: what is read before the place is right, and
// everything ends.
func TestCompressedInputsCutAndFlipped(t *testing.T) {
	raw, err := os.ReadFile("../testdata/pcap/bigendian.pcap")
	if err != nil {
		t.Fatal(err)
	}
	var zipped bytes.Buffer
	w := gzip.NewWriter(&zipped)
	w.Write(raw)
	w.Close()
	z, err := zstd.NewWriter(nil, zstd.WithEncoderCRC(true))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "in")
	for name, b := range map[string][]byte{
		"gzip": zipped.Bytes(),
		"zstd": z.EncodeAll(raw, nil),
		"xz":   xzOf(t, raw, xz.WriterConfig{DictCap: 1 << 16, BlockSize: 100}),
	} {
		for n := range b {
			for _, broken := range [][]byte{b[:n], slices.Concat(b[:n], []byte{b[n] ^ 0xff}, b[n+1:])} {
				os.WriteFile(path, broken, 0o600)
				got, _, err := readAll(t, path, Config{})
				if want := frames["bigendian.pcap"]; len(got) > len(want) || len(broken) == n && !slices.Equal(got, want[:len(got)]) {
					t.Errorf("%s, %d bytes, broken at %d: %v, %v", name, len(broken), n, got, err)
				}
			}
		}
	}
}
