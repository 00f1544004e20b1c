package capture

import (
	"context"
	"sync"

	"nmsgsensor/tuple"
)

// relay takes packets from the loop that reads them to the function that works
// on them, a batch at a time. Both run in step, and reading goes on when the
// batch is done with; or reading runs ahead on a goroutine of its own, and the
// memory that packets are borrowed from goes to and fro between the two. A nil
// relay takes nothing.
type relay struct {
	fn    func([]Packet) error // nil where reading runs ahead
	batch *batch
	n     int // packets in it
	err   error

	// Ahead of it, so that a channel is used once for hundreds of packets. A call
	// would not do: the two are to run at the same time. Neither channel blocks who
	// sends, as there are no more batches and blocks than it holds; but for notes,
	// which do not come back.
	work, back chan load
	batches    []*batch // that came back and are not in use
	blocks     [][]byte
	made       struct{ batches, blocks int }
}

const (
	batchSize = 512
	// maxBatches and maxBlocks are how many batches and blocks of memory there
	// are: more would not make the two any more independent of each other.
	maxBatches = 16
	maxBlocks  = 4
)

// batch is packets, and what those that are tuples borrow.
type batch struct {
	packets [batchSize]Packet
	tuples  [batchSize]tuple.Tuple
}

// load is a batch of n packets or, when all that borrow from it have gone before,
// a block of memory, or something to be done when all before it is done with.
type load struct {
	batch     *batch
	n         int
	unchecked bool
	block     []byte
	note      func()
}

// inStep returns a relay that calls fn.
func inStep(fn func([]Packet) error) *relay { return &relay{fn: fn, batch: new(batch)} }

// runAhead has read go ahead of fn, until its end or an error of fn, which is
// returned before that of read.
func runAhead(ctx context.Context, fn func([]Packet) error, read func(context.Context, *relay) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r := &relay{work: make(chan load, maxBatches+maxBlocks), back: make(chan load, maxBatches+maxBlocks)}
	r.batch = r.nextBatch()
	var failed error
	var reading sync.WaitGroup
	reading.Go(func() {
		defer close(r.work)
		failed = read(ctx, r)
	})
	var err error
	for l := range r.work {
		if l.note != nil {
			if err == nil {
				l.note()
			}
			continue
		}
		if l.batch != nil && err == nil {
			if l.unchecked {
				check(l.batch.packets[:l.n])
			}
			if err = fn(l.batch.packets[:l.n]); err != nil {
				cancel() // what is on its way is not worked on
			}
		}
		r.back <- l
	}
	reading.Wait()
	if err == nil {
		err = failed
	}
	return err
}

// room returns the places of the batch that are free, one at least.
func (r *relay) room() []Packet { return r.batch.packets[r.n:] }

// tuple returns the place for a tuple of the first packet of room.
func (r *relay) tuple() *tuple.Tuple { return &r.batch.tuples[r.n] }

// took says that n places of room were filled.
func (r *relay) took(n int) {
	if r.n += n; r.n == batchSize {
		r.flush()
	}
}

// flush hands on what is there.
func (r *relay) flush() {
	switch {
	case r == nil || r.n == 0:
		return
	case r.err != nil: // nobody wants more
	case r.fn != nil:
		check(r.batch.packets[:r.n])
		r.err = r.fn(r.batch.packets[:r.n])
	default:
		// To be done by the goroutine that will else wait for the other.
		unchecked := len(r.work) < cap(r.work)/2
		if !unchecked {
			check(r.batch.packets[:r.n])
		}
		r.work <- load{batch: r.batch, n: r.n, unchecked: unchecked}
		r.batch = r.nextBatch()
	}
	r.n = 0
}

// note has something done when what was read before is done with, and not at all
// where nobody wants more: damage behind the last packet that was wanted is none.
func (r *relay) note(do func()) {
	r.flush()
	switch {
	case r == nil || r.fn != nil && r.err == nil:
		do()
	case r.fn == nil:
		r.work <- load{note: do}
	}
}

// swap is called before memory is written to that packets have borrowed. It
// hands these on, takes the block and returns another one, or the same, of
// whatever length.
func (r *relay) swap(block []byte) []byte {
	r.flush()
	if r == nil || r.fn != nil {
		return block
	}
	if block != nil {
		r.work <- load{block: block}
	}
	return r.nextBlock()
}

// nextBatch returns one that is free, once there is one.
func (r *relay) nextBatch() *batch {
	for len(r.batches) == 0 {
		if r.made.batches < maxBatches {
			r.made.batches++
			return new(batch)
		}
		r.collect()
	}
	b := r.batches[len(r.batches)-1]
	r.batches = r.batches[:len(r.batches)-1]
	return b
}

// nextBlock is nextBatch for memory.
func (r *relay) nextBlock() []byte {
	for len(r.blocks) == 0 {
		if r.made.blocks < maxBlocks {
			r.made.blocks++
			return make([]byte, blockSize)
		}
		r.collect()
	}
	b := r.blocks[len(r.blocks)-1]
	r.blocks = r.blocks[:len(r.blocks)-1]
	return b
}

// collect waits for something that comes back.
func (r *relay) collect() {
	if l := <-r.back; l.batch != nil {
		r.batches = append(r.batches, l.batch)
	} else {
		r.blocks = append(r.blocks, l.block)
	}
}
