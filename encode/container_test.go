package encode

import (
	"slices"
	"testing"
	"time"
)

// TestMarksAreWherePayloadsEnd, of sizes whose lengths take one to three bytes.
func TestMarksAreWherePayloadsEnd(t *testing.T) {
	var c Container
	var want []Mark
	for _, n := range []int{0, 1, 60, 100, 127, 128, 5000, 16383, 16384, 60000} {
		c.AppendPacket(time.Unix(int64(n)<<20, 5), Labels{Source: uint32(n)}, make([]byte, n), 0)
		want = append(want, c.Mark())
		if m := c.Mark(); m.Size() != c.Size(nil) || m.Len() != c.Len() {
			t.Errorf("%+v is not %d payloads, %d bytes", m, c.Len(), c.Size(nil))
		}
	}
	if got := slices.Collect(c.Marks()); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	c.Drop(want[3])
	if got := slices.Collect(c.Marks()); len(got) != len(want)-4 || got[len(got)-1] != c.Mark() {
		t.Errorf("after Drop: %v, %v", got, c.Mark())
	}
	c.Reset()
	for m := range c.Marks() {
		t.Errorf("empty: %v", m)
	}
}

// TestCompressedBodyIsTakenWholeAlone: not cut anywhere, not with another length.
func TestCompressedBodyIsTakenWholeAlone(t *testing.T) {
	var d deflater
	for _, body := range []string{"", "x", "what is compressed, what is compressed"} {
		whole := d.append([]byte{0, 0, 0, byte(len(body))}, []byte(body))
		var f inflater
		for n := range len(whole) {
			if got, err := f.inflate(whole[:n]); err == nil {
				t.Errorf("%q cut at %d: %q", body, n, got)
			}
		}
		if got, err := f.inflate(whole); err != nil || string(got) != body {
			t.Errorf("%q: %q, %v", body, got, err)
		}
		for _, n := range []int{len(body) - 1, len(body) + 1} {
			whole[3] = byte(n)
			if got, err := f.inflate(whole); err == nil {
				t.Errorf("%q as %d bytes: %q", body, byte(n), got)
			}
		}
	}
}
