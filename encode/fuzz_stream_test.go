package encode

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"testing/iotest"
	"time"

	"nmsgsensor/tuple/guard"
)

// FuzzFragments feeds a Decoder with containers that come one behind the other,
// fragments among them, and bounds what it holds. Then the input is the body of
// a container, cut, shuffled and doubled: it means the same as whole.
func FuzzFragments(f *testing.F) {
	for _, name := range []string{"packet_fragmented_1280", "packet_zlib_fragmented_1280"} {
		f.Add(bytes.Join(datagrams(f, name)[:3], nil), uint16(0), uint64(1))
	}
	f.Add(read(f, "nmsg/plain.nmsg")[HeaderSize:], uint16(40), uint64(2))
	f.Add(read(f, "nmsg/zlib.nmsg")[HeaderSize:], uint16(1), uint64(3))
	f.Fuzz(func(t *testing.T, b []byte, piece uint16, order uint64) {
		most := 4*decoderBase + MaxContainer + 2*decoderPerByte*len(b) // a Reader's buffers, and a table for each set
		for r := b; len(r) > HeaderSize+4; r = r[1:] {
			if string(r[:4]) == "NMSG" {
				// Whatever it claims to inflate to.
				most += int(min(binary.BigEndian.Uint32(r[HeaderSize:]), MaxContainer)) * decoderPerByte
			}
		}
		guard.Memory(t, most, func() { feed(t, b) })
		if len(b) > 0 {
			checkPieces(t, b, int(piece)+1, order)
		}
	})
}

func feed(t *testing.T, b []byte) {
	var d Decoder
	r := NewReader(bytes.NewReader(b))
	for i := 0; ; i++ {
		c, err := r.Next()
		if err == io.EOF {
			return
		}
		if err == nil {
			d.Decode(c, netip.AddrPort{}, time.Unix(int64(i), 0), func(*Payload) error { return nil })
		}
		held, cost := 0, 0
		for _, set := range d.fragments.sets {
			held += set.size
			cost += set.cost()
		}
		if cost != d.fragments.bytes || held > len(b) || cost > maxFragmentBytes || len(d.fragments.sets) > maxFragmentSets {
			t.Fatalf("%d bytes held, cost %d, %d counted, %d read", held, cost, d.fragments.bytes, len(b))
		}
	}
}

// checkPieces cuts a body, both as it is and as the compressed one that it may
// be.
func checkPieces(t *testing.T, body []byte, piece int, order uint64) {
	if (len(body)+piece-1)/piece > maxPieces || len(body) > MaxContainer {
		return
	}
	for _, flags := range []byte{0, flagZlib} {
		sealed := patchLength(append([]byte{'N', 'M', 'S', 'G', flags, version, 0, 0, 0, 0}, body...))
		want, wantOK, wantErr := decodeOne(t, sealed)
		frags := NewFragments(sealed, piece+fragmentOverhead, uint32(order))
		turns := rand.New(rand.NewPCG(order, 0)).Perm(frags.Len())
		var d Decoder
		var got []payload
		var ok []bool
		var err error
		for _, i := range append(turns[:len(turns)-1:len(turns)-1], turns...) {
			b := frags.Append(nil, i)
			if len(b) > piece+fragmentOverhead {
				t.Fatalf("a datagram of %d bytes", len(b))
			}
			if err != nil || got != nil {
				break
			}
			err = d.Decode(b, netip.AddrPort{}, time.Time{}, func(p *Payload) error {
				got, ok = append(got, keep(p)), append(ok, p.Sound())
				return nil
			})
		}
		if err != wantErr || !slices.Equal(got, want) || !slices.Equal(ok, wantOK) || d.fragments.lost != 0 || d.fragments.bytes != 0 {
			t.Fatalf("in pieces: %v, %v; whole: %v, %v", got, err, want, wantErr)
		}
	}
}

// event is what a Reader returned: a container, or damage of so many bytes.
type event struct {
	container string
	skipped   int64
	cause     error
}

// FuzzReader: containers and damage together are the whole stream, however it
// comes, and the buffer is all the memory.
func FuzzReader(f *testing.F) {
	f.Add(read(f, "nmsg/mixed.nmsg"))
	f.Add([]byte("NMSG\x00\x02\x00\x00\x00\x01xNMSG\x00\x02\x00\x00\x00\x00"))
	f.Add(slices.Concat([]byte("NMSGNMS"), read(f, "nmsg/ipconn.nmsg"), []byte("NMSG\x00\x02\x00\x0f\xff\xff")))
	f.Fuzz(func(t *testing.T, b []byte) {
		const most = firstBuffer + 2*MaxContainer + 64<<10
		guard.Memory(t, most+256*len(b), func() { // a DamageError may stand for a single byte
			for r := NewReader(bytes.NewReader(b)); ; {
				if _, err := r.Next(); err == io.EOF {
					return
				}
			}
		})
		all := events(t, b, bytes.NewReader(b))
		if len(b) < 4<<10 && !slices.Equal(all, events(t, b, iotest.OneByteReader(bytes.NewReader(b)))) {
			t.Error("not the same byte by byte")
		}
		if !slices.Equal(all, events(t, b, iotest.DataErrReader(bytes.NewReader(b)))) {
			t.Error("not the same where the end comes with the last bytes")
		}
	})
}

// events reads b from r and holds each event against what stands there.
func events(t *testing.T, b []byte, in io.Reader) (all []event) {
	r := NewReader(in)
	var sum int64
	for {
		c, err := r.Next()
		var d *DamageError
		switch {
		case err == nil:
			if !bytes.Equal(c, b[sum:sum+int64(len(c))]) {
				t.Fatal("container is not what stands there")
			}
			sum += int64(len(c))
			all = append(all, event{container: string(c)})
		case errors.As(err, &d):
			if d.Offset != sum || d.Skipped <= 0 {
				t.Fatalf("%v at %d", d, sum)
			}
			sum += d.Skipped
			all = append(all, event{skipped: d.Skipped, cause: d.Cause})
		case err == io.EOF:
			if sum != int64(len(b)) {
				t.Fatalf("%d of %d bytes", sum, len(b))
			}
			return all
		default:
			t.Fatal(err)
		}
		if r.Offset() != sum {
			t.Fatalf("offset %d, want %d", r.Offset(), sum)
		}
	}
}

// FuzzInflate holds the reader of compressed bodies against the standard
// library's, and what is deflated inflates again.
func FuzzInflate(f *testing.F) {
	f.Add(read(f, "nmsg/zlib.nmsg")[HeaderSize:])
	f.Add(read(f, "nmsg/ipconn_zlib.nmsg")[HeaderSize:])
	var d deflater
	f.Add(d.append([]byte{0, 0, 0, 0}, nil))
	f.Add(d.append([]byte{0, 1, 0, 0}, make([]byte, 1<<16)))
	f.Add(d.append([]byte{0, 16, 0, 0}, make([]byte, MaxContainer)))
	f.Fuzz(func(t *testing.T, b []byte) {
		// Whatever b is; a byte more than a container, in a power of two.
		guard.Memory(t, decoderBase+2*MaxContainer, func() { new(inflater).inflate(b) })
		var got []byte
		var err error
		guard.Bytes(t, b, func(b []byte) {
			got, err = new(inflater).inflate(b)
		})
		if want, ok := inflateByPeer(b); ok != (err == nil) || !bytes.Equal(got, want) {
			t.Fatalf("%d bytes, %v; want %d, %v", len(got), err, len(want), ok)
		}
		again, err := new(inflater).inflate(d.append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b))
		if len(b) <= MaxContainer && (err != nil || !bytes.Equal(again, b)) {
			t.Fatalf("%d bytes became %d, %v", len(b), len(again), err)
		}
	})
}

// inflateByPeer is inflate by the standard library.
func inflateByPeer(b []byte) ([]byte, bool) {
	if len(b) < 4 {
		return nil, false
	}
	size := binary.BigEndian.Uint32(b)
	r, err := zlib.NewReader(bytes.NewReader(b[4:]))
	if err != nil || size > MaxContainer {
		return nil, false
	}
	out, err := io.ReadAll(io.LimitReader(r, int64(size)+1))
	if err != nil || len(out) != int(size) {
		return nil, false
	}
	return out, true
}
