package output

import (
	"errors"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"nmsgsensor/encode"
)

// TestRotation: the files together are what went in, each has its name and was
// told of.
func TestRotation(t *testing.T) {
	dir := t.TempDir()
	var done []string
	r := &Rotation{Count: 10, Done: func(name string) { done = append(done, name) }}
	f := NewFile(filepath.Join(dir, "base"), Payloads{Kind: IPConn}, FileConfig{Rotation: r})
	text := NewText(filepath.Join(dir, "text"), Payloads{}, false, FileConfig{Rotation: r})
	all := records(t, "nmsg/ipconn.nmsg")
	const n = 95
	for i := range n {
		rec := all[0]
		rec.Tuple.SrcPort = uint16(i)
		for _, s := range []Sink{f, text} {
			if err := s.Write(&rec); err != nil {
				t.Fatal(err)
			}
		}
		if i == 42 {
			if err := f.Rotate(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := errors.Join(f.Close(), text.Close()); err != nil {
		t.Fatal(err)
	}
	names, _ := filepath.Glob(filepath.Join(dir, "base.*"))
	seen := map[uint16]int{}
	for _, name := range names {
		if ok, _ := filepath.Match("base.????????.????.*.?????????.nmsg", filepath.Base(name)); !ok {
			t.Errorf("name %s", name)
		}
		eachPayload(t, name, func(p *encode.Payload) {
			tp, _ := encode.ParseIPConn(p.Data)
			seen[tp.SrcPort]++
		})
	}
	for i := range uint16(n) {
		if seen[i] != 1 {
			t.Errorf("payload %d is there %d times", i, seen[i])
		}
	}
	if len(names) != 11 { // of ten each, but that one was ended early
		t.Errorf("%d files", len(names))
	}
	texts, _ := filepath.Glob(filepath.Join(dir, "text.*"))
	slices.Sort(done)
	if diff := cmp.Diff(append(names, texts...), done); diff != "" || len(texts) != 10 {
		t.Errorf("%d texts; -there +told:\n%s", len(texts), diff)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".*.part")); len(left) != 0 {
		t.Errorf("left %v", left)
	}
}

// TestNextInterval: whatever the clock says, the end is in the future and no
// further than an interval.
func TestNextInterval(t *testing.T) {
	for _, c := range []struct{ now, every, offset, want int64 }{
		{100, 60, 0, 120}, {120, 60, 0, 180}, {119, 60, 0, 120}, {100, 60, 7, 127}, {126, 60, 7, 127}, {127, 60, 7, 187},
		{0, 60, 0, 60}, {1 << 32, 60, 0, 1<<32 + 44},
	} {
		got := NextInterval(time.Unix(c.now, 5), time.Duration(c.every)*time.Second, time.Duration(c.offset)*time.Second)
		if got.Unix() != c.want || got.Nanosecond() != 0 {
			t.Errorf("%v: %v", c, got)
		}
	}
}
