package capture

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"hash/maphash"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/google/go-cmp/cmp"

	"nmsgsensor/capture/imix"
	"nmsgsensor/encode"
)

// memory is an input of these bytes; one that waits is read in step.
func memory(b []byte, waits bool) (Source, error) {
	in := &input{name: "memory", ctx: context.Background(), fd: -1, waits: waits}
	f, err := newFile(in, bufio.NewReader(bytes.NewReader(b)), Config{Log: quiet})
	if err == ErrFormat {
		return newStream(in, bufio.NewReader(bytes.NewReader(b)), Config{Log: quiet}), nil
	}
	if err != nil {
		return nil, err
	}
	return f, nil
}

// run reads an input of these bytes.
func run(ctx context.Context, t testing.TB, b []byte, waits bool, fn func([]Packet) error) error {
	t.Helper()
	src, err := memory(b, waits)
	if err != nil {
		t.Fatal(err)
	}
	return src.Run(ctx, fn)
}

// imixPcap is a capture of some blocks.
func imixPcap(t testing.TB, n int) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := imix.WritePcap(&b, n); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// imixStream is the same as containers of many sizes, packets and tuples.
func imixStream(t testing.TB, n int, zlib bool) []byte {
	t.Helper()
	var out []byte
	var c encode.Container
	rnd := rand.New(rand.NewPCG(1, 2))
	most := 1 + rnd.IntN(2000)
	err := run(context.Background(), t, imixPcap(t, n), true, func(batch []Packet) error {
		for i := range batch {
			c.AppendPacket(batch[i].Time, encode.Labels{}, batch[i].IP, 0)
			if c.Len() == most {
				out = append(out, c.Seal(nil, zlib)...)
				c.Reset()
				most = 1 + rnd.IntN(2000)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return append(out, c.Seal(nil, zlib)...)
}

// sums are the hashes of the packets, taken when what reads has had time to go
// ahead.
func sums(t *testing.T, b []byte, waits bool) (all []uint64) {
	t.Helper()
	err := run(context.Background(), t, b, waits, func(batch []Packet) error {
		runtime.Gosched()
		for i := range batch {
			all = append(all, maphash.Bytes(seed, batch[i].IP))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

var seed = maphash.MakeSeed()

func TestWhatIsReadAheadIsNotWrittenOver(t *testing.T) {
	const n = 20_000
	for name, b := range map[string][]byte{"pcap": imixPcap(t, n), "NMSG": imixStream(t, n, false), "zlib": imixStream(t, n, true)} {
		want, got := sums(t, b, true), sums(t, b, false)
		if len(want) != n || !cmp.Equal(want, got) {
			t.Errorf("%s: %d packets in step, %d ahead, and not the same", name, len(want), len(got))
		}
	}
}

func TestAnErrorEndsReadingAhead(t *testing.T) {
	for name, b := range map[string][]byte{"pcap": imixPcap(t, 20_000), "NMSG": imixStream(t, 20_000, false)} {
		enough, calls := errors.New("enough"), 0
		err := run(context.Background(), t, b, false, func([]Packet) error {
			if calls++; calls == 3 {
				return enough
			}
			return nil
		})
		if err != enough || calls != 3 {
			t.Errorf("%s: %v after %d calls", name, err, calls)
		}
	}
}

func TestDamageBehindTheLastPacketThatIsWantedIsNone(t *testing.T) {
	broken := imixPcap(t, 3000)
	copy(broken[300_000:], make([]byte, 5000))
	for _, b := range [][]byte{broken, append(imixStream(t, 20, false), "no container"...)} {
		for _, waits := range []bool{false, true} {
			src, err := memory(b, waits)
			if err != nil {
				t.Fatal(err)
			}
			enough := errors.New("enough")
			err = src.Run(context.Background(), func([]Packet) error { return enough })
			if damaged := src.Stats().Damaged; err != enough || damaged != 0 {
				t.Errorf("waits %v: %d places damaged, %v", waits, damaged, err)
			}
			if src, err = memory(b, waits); err != nil {
				t.Fatal(err)
			}
			src.Run(context.Background(), func([]Packet) error { return nil })
			if src.Stats().Damaged == 0 {
				t.Errorf("waits %v: no damage", waits)
			}
		}
	}
}

func TestReadingAheadStopsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	got := 0
	err := run(ctx, t, imixPcap(t, 200_000), false, func(batch []Packet) error {
		got += len(batch)
		cancel()
		return nil
	})
	if most := (maxBatches + 1) * batchSize * 8; err != nil || got == 0 || got > most {
		t.Errorf("%d packets, %v", got, err)
	}
}
