package capture

import "io"

// window is the part of a stream that is in memory.
type window struct {
	r          io.Reader
	relay      *relay // of packets that borrow from buf
	buf        []byte
	start, end int
	offset     int64 // of buf[start] in the stream
	err        error // of r
}

const (
	// windowSize is the largest thing that has to be in memory as a whole.
	windowSize = 1 << 20
	// blockSize is the size until something is larger: reads of it cost nothing
	// that counts, and it stays in the processor's cache.
	blockSize = 256 << 10
)

func newWindow(r io.Reader) window {
	return window{r: r, buf: make([]byte, blockSize)}
}

// bytes returns what is in memory, until the next fill.
func (w *window) bytes() []byte { return w.buf[w.start:w.end] }

// fill reads until n bytes are there and says whether they are; n is at most
// windowSize. What is there already moves. Packets are handed on first: a read
// may take its time.
func (w *window) fill(n int) bool {
	for w.end-w.start < n {
		if w.err != nil {
			return false
		}
		w.relay.flush()
		w.move(n)
		var k int
		k, w.err = w.r.Read(w.buf[w.end:])
		w.end += k
	}
	return true
}

// move makes room behind what is there, for n bytes in all.
func (w *window) move(n int) {
	if w.start == 0 && n <= len(w.buf) {
		return
	}
	rest, buf := w.bytes(), w.buf
	if w.start > 0 {
		buf = w.relay.swap(buf)
	}
	if n > len(buf) {
		buf = make([]byte, windowSize)
	}
	w.start, w.end, w.buf = 0, copy(buf, rest), buf
}

// pass passes over n bytes that are there.
func (w *window) pass(n int) {
	w.start += n
	w.offset += int64(n)
}

// skip passes over n bytes and returns over how many it could.
func (w *window) skip(n int64) int64 {
	done := int64(0)
	for {
		k := min(n-done, int64(w.end-w.start))
		w.pass(int(k))
		if done += k; done == n || !w.fill(1) {
			return done
		}
	}
}
