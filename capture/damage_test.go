package capture

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

var quiet = slog.New(slog.DiscardHandler)

// readBytes reads an input from memory and describes all that is in it.
func readBytes(b []byte) ([]string, Stats, error) {
	src, err := memory(b, false)
	if err != nil {
		return nil, Stats{}, err
	}
	all := []string{}
	err = src.Run(context.Background(), func(batch []Packet) error {
		for i := range batch {
			p := &batch[i]
			all = append(all, describe(p))
		}
		return nil
	})
	return all, src.Stats(), err
}

// golden returns the captures and streams of testdata.
func golden(t testing.TB) map[string][]byte {
	all := map[string][]byte{}
	for _, pattern := range []string{"../testdata/pcap/*.pcap*", "../testdata/nmsg/*.nmsg"} {
		names, _ := filepath.Glob(pattern)
		for _, name := range names {
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			all[filepath.Base(name)] = b
		}
	}
	if len(all) < 30 {
		t.Fatalf("%d inputs", len(all))
	}
	return all
}

// places are those where n bytes are broken: all, or of more than whole all that
// are near to the start or the end, and some of long payloads.
func places(n, whole int) []int {
	const near, step = 64, 61
	var at []int
	for i := range n {
		if n <= whole || i < near || i >= n-near || i%step == 0 {
			at = append(at, i)
		}
	}
	return at
}

// TestEveryInputCutAtEveryByte: what is read of a part is the beginning of what
// is read of the whole.
func TestEveryInputCutAtEveryByte(t *testing.T) {
	for name, b := range golden(t) {
		want, _, err := readBytes(b)
		if err != nil {
			continue // no input at all
		}
		for _, n := range places(len(b), 4000) {
			got, _, _ := readBytes(b[:n])
			if len(got) > len(want) || !slices.Equal(got, want[:len(got)]) {
				t.Errorf("%s cut at %d: %v", name, n, cmp.Diff(want, got))
			}
		}
	}
}

// TestEveryInputWithEveryByteFlipped: no tuple appears but those that were there
// and one that the flip may have changed; in NMSG a checksum tells of that one. On
// the header of a pcap file all frames depend; there it is enough that nothing
// panics and that it ends.
func TestEveryInputWithEveryByteFlipped(t *testing.T) {
	for name, b := range golden(t) {
		want, _, err := readBytes(b)
		if err != nil {
			continue
		}
		for i := range want {
			want[i] = strings.TrimSuffix(want[i], ", cut")
		}
		bound := 1
		if filepath.Ext(name) == ".nmsg" {
			bound = 0
		}
		for _, n := range places(len(b), 4000) {
			b[n] ^= 0xff
			got, _, _ := readBytes(b)
			b[n] ^= 0xff
			if filepath.Ext(name) == ".pcap" && n < pcapHeaderLen {
				continue
			}
			foreign := 0
			for _, s := range got {
				s = strings.TrimSuffix(s, ", cut")
				if strings.Contains(s, " > ") && !slices.Contains(want, s) {
					foreign++
				}
			}
			if foreign > bound {
				t.Errorf("%s with byte %d flipped: %d tuples that were not there: %v", name, n, foreign, got)
			}
		}
	}
}

// TestDamagedPcapGoesOnBehindIt breaks the length of a record in the middle.
func TestDamagedPcapGoesOnBehindIt(t *testing.T) {
	b, err := os.ReadFile("../testdata/pcap/ether4.pcap")
	if err != nil {
		t.Fatal(err)
	}
	want, _, _ := readBytes(b)
	second := pcapHeaderLen + pcapRecordLen + int(b[pcapHeaderLen+8])
	b[second+11] = 0xff // caplen of the second record
	got, st, err := readBytes(b)
	if err != nil || st.Damaged != 1 {
		t.Errorf("damaged %d, %v", st.Damaged, err)
	}
	if diff := cmp.Diff(slices.Delete(slices.Clone(want), 1, 2), got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestHoleInPcapIsDamage: where a file was not written, it is zeros, which are no
// packets without length.
func TestHoleInPcapIsDamage(t *testing.T) {
	b, err := os.ReadFile("../testdata/pcap/ether4.pcap")
	if err != nil {
		t.Fatal(err)
	}
	want, _, _ := readBytes(b)
	second := pcapHeaderLen + pcapRecordLen + int(b[pcapHeaderLen+8])
	for _, n := range []int{1, 16, 100, doubtReach, 1 << 20} {
		for name, hole := range map[string][]byte{
			"middle": slices.Concat(b[:second], make([]byte, n), b[second:]),
			"end":    slices.Concat(b, make([]byte, n)),
		} {
			got, st, err := readBytes(hole)
			if err != nil || st.Damaged != 1 {
				t.Errorf("%d zeros, %s: damaged %d, %v", n, name, st.Damaged, err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%d zeros, %s: -want +got:\n%s", n, name, diff)
			}
		}
	}
}

// TestFragmentsWithoutTheRestAreDamage: a file in which pieces are missing is
// not whole.
func TestFragmentsWithoutTheRestAreDamage(t *testing.T) {
	d := golddatagrams(t, "packet_fragmented_1280")
	whole := bytes.Join(d, nil)
	all, st, err := readBytes(whole)
	if err != nil || st.Damaged != 0 || len(all) != 2 {
		t.Fatalf("%v, %+v, %v", all, st, err)
	}
	pieces, sets := uint64(len(d)), uint64(0)
	for i := range d {
		got, st, err := readBytes(bytes.Join(slices.Delete(slices.Clone(d), i, i+1), nil))
		if err != nil || st.Damaged != 1 || len(got) != 1 || st.LostFragments == 0 || st.LostFragments >= pieces {
			t.Errorf("without piece %d: %v, %+v, %v", i, got, st, err)
		}
		sets = max(sets, st.LostFragments+1)
	}
	if sets >= pieces { // there are two
		t.Errorf("sets of %d pieces of %d", sets, pieces)
	}
}

func TestDamagedPcapngGoesOnBehindIt(t *testing.T) {
	b, err := os.ReadFile("../testdata/pcap/one_iface.pcapng")
	if err != nil {
		t.Fatal(err)
	}
	want, _, _ := readBytes(b)
	i := bytes.Index(b, []byte{6, 0, 0, 0})
	b[i+7] = 0x80 // a block of 2 GiB
	got, st, err := readBytes(b)
	if err != nil || st.Damaged != 1 {
		t.Errorf("damaged %d, %v", st.Damaged, err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestLongBlocksArePassedOver: those of kinds that are not read may be longer than
// what is held at a time. A wrong second length is damage and costs no packet.
func TestLongBlocksArePassedOver(t *testing.T) {
	b, err := os.ReadFile("../testdata/pcap/one_iface.pcapng")
	if err != nil {
		t.Fatal(err)
	}
	want, _, _ := readBytes(b)
	first := bytes.Index(b, []byte{6, 0, 0, 0})
	for second, damaged := range map[uint32]uint64{windowSize + 400: 0, windowSize + 404: 1} {
		block := make([]byte, windowSize+400)
		binary.LittleEndian.PutUint32(block, 0x0bad)
		binary.LittleEndian.PutUint32(block[4:], windowSize+400)
		binary.LittleEndian.PutUint32(block[len(block)-4:], second)
		got, st, err := readBytes(slices.Concat(b[:first], block, b[first:]))
		if err != nil || st.Damaged != damaged {
			t.Errorf("second length %d: damaged %d, %v", second, st.Damaged, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("second length %d: -want +got:\n%s", second, diff)
		}
	}
}

// TestIdlePipeEnds: a pipe that nobody writes to does not keep a source from
// stopping, neither while it is opened nor while it is read.
func TestIdlePipeEnds(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	w, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if _, err := Open(ctx, path, AnyFormat, Config{}); err == nil {
		t.Error("opened without bytes")
	}
	head, err := os.ReadFile("../testdata/nmsg/plain.nmsg")
	if err != nil {
		t.Fatal(err)
	}
	w.Write(head)
	ctx, cancel = context.WithCancel(context.Background())
	src, err := Open(ctx, path, AnyFormat, Config{})
	if err != nil {
		t.Fatal(err)
	}
	var n int
	err = src.Run(ctx, func(batch []Packet) error {
		n += len(batch) // at once: nothing follows
		cancel()
		return nil
	})
	if err != nil || n != 28 {
		t.Errorf("%d packets, %v", n, err)
	}
}

// TestStopIsNoDamage: of what has come in part when the stop comes, nothing is
// told.
func TestStopIsNoDamage(t *testing.T) {
	files := golden(t)
	for _, name := range []string{"plain.nmsg", "ether4.pcap", "one_iface.pcapng"} {
		var fds [2]int
		if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
			t.Fatal(err)
		}
		unix.Write(fds[1], files[name][:len(files[name])-2])
		ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
		src, err := newSource(&input{name: "pipe", fd: fds[0], waits: true, ctx: ctx}, AnyFormat, Config{Log: quiet})
		if err != nil {
			t.Fatal(name, err)
		}
		err = src.Run(ctx, func([]Packet) error { return nil })
		if st := src.Stats(); err != nil || st.Damaged > 0 || ctx.Err() == nil {
			t.Errorf("%s: damaged %d, %v", name, st.Damaged, err)
		}
		cancel()
		unix.Close(fds[1])
	}
}

// TestErrorOfReadingIsNoDamage, also where what is read is compressed.
func TestErrorOfReadingIsNoDamage(t *testing.T) {
	for _, compressed := range []bool{false, true} {
		in := &input{name: "memory", ctx: context.Background(), fd: -1, compressed: compressed}
		src := newStream(in, bufio.NewReader(in), Config{Log: quiet})
		err := src.Run(context.Background(), func([]Packet) error { return nil })
		if st := src.Stats(); !errors.Is(err, unix.EBADF) || st.Damaged > 0 {
			t.Errorf("compressed %v: damaged %d, %v", compressed, st.Damaged, err)
		}
	}
}

func TestReadingDoesNotAllocate(t *testing.T) {
	for _, name := range []string{"ether4.pcap", "one_iface.pcapng"} {
		b, err := os.ReadFile("../testdata/pcap/" + name)
		if err != nil {
			t.Fatal(err)
		}
		in := &input{name: name, ctx: context.Background(), fd: -1}
		f, err := newFile(in, bufio.NewReader(bytes.NewReader(b)), Config{})
		if err != nil {
			t.Fatal(err)
		}
		f.win.fill(len(b) - pcapHeaderLen)
		var p Packet
		if n := testing.AllocsPerRun(100, func() { f.format.next(f.win.bytes(), false, &p) }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}
