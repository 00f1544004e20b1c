package encode

import (
	"bytes"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

// piece is an NmsgFragment without a CRC.
func piece(id, current, last int, data []byte) []byte {
	var b []byte
	for i, v := range []int{id, current, last, len(data)} {
		b = appendUvarint(append(b, []byte{keyFragID, keyFragCurrent, keyFragLast, keyFragData}[i]), uint64(v))
	}
	return append(b, data...)
}

// take gives a Decoder one fragment.
func take(d *Decoder, flags byte, msg []byte, now time.Time) error {
	return d.Decode(sealedBody(flagFragment|flags, string(msg)), netip.AddrPort{}, now, func(*Payload) error { return nil })
}

func TestBytesOfFragments(t *testing.T) {
	body := strings.Repeat("x", 500) + "tail"
	f := NewFragments(sealedBody(flagZlib, body), MinContainer, 300)
	sum := string(appendUvarint([]byte{keyFragCRC}, uint64(checksum([]byte(body)))))
	want := [][]byte{
		sealedBody(flagZlib|flagFragment, "\x08\xac\x02\x10\x00\x18\x01\x22\xe0\x03"+body[:480]+sum),
		sealedBody(flagZlib|flagFragment, "\x08\xac\x02\x10\x01\x18\x01\x22\x18"+body[480:]+sum),
	}
	if f.Len() != len(want) {
		t.Fatalf("%d fragments", f.Len())
	}
	for i := range want {
		if got := f.Append([]byte("before"), i); !bytes.Equal(got, append([]byte("before"), want[i]...)) {
			t.Errorf("%d: %q", i, got)
		}
	}
	for n, pieces := range map[int]int{1: 1, 479: 1, 480: 1, 481: 2, 960: 2, 961: 3} {
		if f := NewFragments(sealedBody(0, strings.Repeat("x", n)), MinContainer, 0); f.Len() != pieces {
			t.Errorf("%d bytes in %d pieces, want %d", n, f.Len(), pieces)
		}
	}
}

// TestFieldsThatAFragmentNeeds: each but the CRC.
func TestFieldsThatAFragmentNeeds(t *testing.T) {
	fields := []string{"\x08\x07", "\x10\x00", "\x18\x00", "\x22\x02\x18\x01"}
	for missing := range len(fields) + 1 {
		msg := ""
		for i, f := range fields {
			if i != missing {
				msg += f
			}
		}
		want := errFragment
		if missing == len(fields) {
			want = nil
		}
		var d Decoder
		if err := take(&d, 0, []byte(msg), time.Time{}); err != want || d.Containers == 1 != (want == nil) {
			t.Errorf("without %d: %v, %d containers", missing, err, d.Containers)
		}
	}
	var d Decoder
	if err := take(&d, 0, piece(1, 0, maxPieces, []byte{1}), time.Time{}); err != errFragment {
		t.Errorf("one piece more than may be: %v", err)
	}
	if err := take(&d, 0, piece(1, maxPieces-1, maxPieces-1, []byte{1}), time.Time{}); err != nil || len(d.fragments.sets) != 1 {
		t.Errorf("as many pieces as may be: %v, %d sets", err, len(d.fragments.sets))
	}
}

// TestCompressedAndPlainPieces of one number are two sets.
func TestCompressedAndPlainPieces(t *testing.T) {
	var d Decoder
	body := []byte("\x18\x01\x20\x02")
	zipped := new(deflater).append([]byte{0, 0, 0, byte(len(body))}, body)
	for i, p := range []struct {
		flags byte
		msg   []byte
		whole uint64
	}{
		{0, piece(1, 0, 1, body[:2]), 0},
		{flagZlib, piece(1, 1, 1, zipped[5:]), 0},
		{flagZlib, piece(1, 0, 1, zipped[:5]), 1},
		{0, piece(1, 1, 1, body[2:]), 2},
	} {
		if err := take(&d, p.flags, p.msg, time.Time{}); err != nil || d.Containers != p.whole {
			t.Errorf("after piece %d: %v, %d containers", i, err, d.Containers)
		}
	}
	if d.fragments.bytes != 0 || len(d.fragments.sets) != 0 || d.LostFragments() != 0 {
		t.Errorf("%d bytes, %d sets held, %d lost", d.fragments.bytes, len(d.fragments.sets), d.LostFragments())
	}
}

// TestChecksumOfASet: it may come with any piece, and counts.
func TestChecksumOfASet(t *testing.T) {
	body := []byte("\x18\x01\x20\x02")
	right := appendUvarint([]byte{keyFragCRC}, uint64(checksum(body)))
	for with := range 2 {
		for _, c := range []struct {
			crc []byte
			err error
		}{{nil, nil}, {right, nil}, {[]byte{keyFragCRC, 1}, errCRC}, {[]byte{keyFragCRC, 0}, errCRC}} {
			var d Decoder
			var err error
			for i := range 2 {
				msg := piece(1, i, 1, body[2*i:2*i+2])
				if i == with {
					msg = append(msg, c.crc...)
				}
				err = take(&d, 0, msg, time.Time{})
			}
			if err != c.err || d.Containers == 1 != (c.err == nil) || d.LostFragments() == 2 != (c.err != nil) || d.fragments.bytes != 0 {
				t.Errorf("%x with piece %d: %v, %d containers, %d lost", c.crc, with, err, d.Containers, d.LostFragments())
			}
		}
	}
}

// TestSetOfAMebibyte is taken, one byte more is not.
func TestSetOfAMebibyte(t *testing.T) {
	whole := append([]byte("\x7a\xfc\xff\x3f"), make([]byte, MaxContainer-4)...) // an unknown field
	for more := range 2 {
		var d Decoder
		d.Decode(sealedBody(flagFragment, string(piece(1, 0, 2, whole[:MaxContainer/2]))), netip.AddrPort{}, time.Time{}, nil)
		if err := take(&d, 0, piece(1, 1, 2, append(whole[MaxContainer/2:MaxContainer-1:MaxContainer-1], make([]byte, more)...)), time.Time{}); err != nil {
			t.Fatal(err)
		}
		err := take(&d, 0, piece(1, 2, 2, whole[MaxContainer-1:]), time.Time{})
		if more == 0 && (err != nil || d.Containers != 1 || d.LostFragments() != 0) ||
			more == 1 && (err != errTooLong || d.Containers != 0 || d.LostFragments() != 3) || d.fragments.bytes != 0 {
			t.Errorf("%d more: %v, %d containers, %d lost, %d bytes held", more, err, d.Containers, d.LostFragments(), d.fragments.bytes)
		}
	}
}

// TestOldestSetGoes where there are too many, or too much in them; not before.
func TestOldestSetGoes(t *testing.T) {
	at := time.Unix(1000, 0)
	held := func(d *Decoder) (ids []uint32) {
		for key := range d.fragments.sets {
			ids = append(ids, key.id)
		}
		slices.Sort(ids)
		return ids
	}
	var d Decoder
	for i := range maxFragmentSets + 1 {
		if len(d.fragments.sets) != i || d.LostFragments() != 0 {
			t.Errorf("at %d: %d sets, %d lost", i, len(d.fragments.sets), d.LostFragments())
		}
		age := i // the second one is the oldest
		if i == 1 {
			age = -1
		}
		take(&d, 0, piece(i, 0, 9, []byte{1}), at.Add(time.Duration(age)))
	}
	if ids := held(&d); d.LostFragments() != 1 || len(ids) != maxFragmentSets || ids[0] != 0 || ids[1] != 2 {
		t.Errorf("one too many: %d lost, %v", d.LostFragments(), ids)
	}
	d = Decoder{}
	for i := range 16 { // two pieces in each of eight sets, to the byte
		take(&d, 0, piece(i%8, i/8, 9, make([]byte, maxFragmentBytes/16-pieceCost)), at.Add(time.Duration(-i%8)))
	}
	if d.fragments.bytes != maxFragmentBytes || d.LostFragments() != 0 {
		t.Errorf("full: %d bytes, %d lost", d.fragments.bytes, d.LostFragments())
	}
	take(&d, 0, piece(3, 2, 9, []byte{1}), at)
	if ids := held(&d); !slices.Equal(ids, []uint32{0, 1, 2, 3, 4, 5, 6}) || d.LostFragments() != 2 || d.fragments.bytes != maxFragmentBytes*7/8+1+pieceCost {
		t.Errorf("one byte more: %v, %d lost, %d bytes", ids, d.LostFragments(), d.fragments.bytes)
	}
	d.GiveUp()
	if d.LostFragments() != 2+15 || d.fragments.bytes != 0 || len(d.fragments.sets) != 0 {
		t.Errorf("given up: %d lost, %d bytes, %v", d.LostFragments(), d.fragments.bytes, held(&d))
	}
}
