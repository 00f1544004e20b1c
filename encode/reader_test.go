package encode

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"testing"
	"testing/iotest"
)

func TestReaderPassesOverDamage(t *testing.T) {
	one := read(t, "nmsg/ipconn.nmsg")
	huge := []byte("NMSG\x00\x02\xff\xff\xff\xff")
	for _, c := range []struct {
		name   string
		b      []byte
		whole  int // containers
		offset int64
		cause  error
	}{
		{"garbage before", slices.Concat([]byte("garbage"), one, one), 2, 0, errMagic},
		{"one byte before", slices.Concat([]byte("x"), one, one), 2, 0, errMagic},
		{"garbage between", slices.Concat(one, []byte("NMSx"), one), 2, int64(len(one)), errMagic},
		{"4 GiB claimed", slices.Concat(one, huge, one), 2, int64(len(one)), errTooLong},
		{"another version", slices.Concat([]byte("NMSG\x00\x03\x00\x00\x00\x00"), one), 1, 0, errVersion},
		{"cut in the body", slices.Concat(one, one[:len(one)-1]), 1, int64(len(one)), errCut},
		{"cut in the header", slices.Concat(one, one[:9]), 1, int64(len(one)), errCut},
		{"a length that swallows the rest", slices.Concat([]byte("NMSG\x00\x02\x00\x0f\x00\x00"), one), 1, 0, errCut},
		{"bad headers in garbage", slices.Concat(one, []byte("xNMSG\x00\x03\x00\x00\x00\x00NMSGNMSNMSG\x04\x02\x00\x00\x00\x00"), one), 2, int64(len(one)), errMagic},
		{"more garbage than a buffer", slices.Concat(one, make([]byte, firstBuffer+5), one), 2, int64(len(one)), errMagic},
		{"magic at the very end", slices.Concat(one, []byte("xNMSG")), 1, int64(len(one)), errCut},
	} {
		for _, wrap := range []func(io.Reader) io.Reader{func(r io.Reader) io.Reader { return r }, iotest.OneByteReader} {
			r := NewReader(wrap(bytes.NewReader(c.b)))
			whole, damage := 0, []*DamageError(nil)
			for {
				b, err := r.Next()
				var d *DamageError
				if err == io.EOF {
					break
				} else if errors.As(err, &d) {
					damage = append(damage, d)
				} else if err != nil {
					t.Fatal(err)
				} else if whole++; !bytes.Equal(b, one) {
					t.Errorf("%s: %q", c.name, b)
				}
			}
			if whole != c.whole || len(damage) != 1 || damage[0].Offset != c.offset || !errors.Is(damage[0], c.cause) {
				t.Errorf("%s: %d containers, %v", c.name, whole, damage)
			}
		}
	}
	failing := errors.New("disk on fire")
	r := NewReader(io.MultiReader(bytes.NewReader(one), iotest.ErrReader(failing)))
	if _, err := r.Next(); err != nil {
		t.Error(err)
	}
	if _, err := r.Next(); err != failing {
		t.Errorf("got %v", err)
	}
}
