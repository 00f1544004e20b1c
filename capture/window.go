package capture

import "io"

// window is the part of a stream that is in memory.
type window struct {
	r          io.Reader
	buf        []byte
	start, end int
	offset     int64 // of buf[start] in the stream
	err        error // of r
}

const (
	// windowSize is the largest thing that has to be in memory as a whole.
	windowSize = 1 << 20
	// firstWindow is the size until something is larger: reads of it cost
	// nothing that counts, and it stays in the processor's cache.
	firstWindow = 256 << 10
)

func newWindow(r io.Reader) window {
	return window{r: r, buf: make([]byte, firstWindow)}
}

// bytes returns what is in memory, until the next fill.
func (w *window) bytes() []byte { return w.buf[w.start:w.end] }

// fill reads until n bytes are there and says whether they are; n is at most
// windowSize. What is there already moves.
func (w *window) fill(n int) bool {
	for w.end-w.start < n {
		if w.err != nil {
			return false
		}
		if n > len(w.buf) {
			w.buf = append(w.buf, make([]byte, windowSize-len(w.buf))...)
		}
		if w.start > 0 {
			copy(w.buf, w.bytes())
			w.start, w.end = 0, w.end-w.start
		}
		var k int
		k, w.err = w.r.Read(w.buf[w.end:])
		w.end += k
	}
	return true
}

// skip passes over n bytes and returns over how many it could.
func (w *window) skip(n int64) int64 {
	done := int64(0)
	for {
		k := min(n-done, int64(w.end-w.start))
		w.start += int(k)
		w.offset += k
		if done += k; done == n || !w.fill(1) {
			return done
		}
	}
}
