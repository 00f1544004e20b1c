package main

import (
	"cmp"
	"errors"
	"slices"
	"sync"
	"time"

	"nmsgsensor/capture"
	"nmsgsensor/cmd/nmsgsensor/talkers"
	"nmsgsensor/encode"
	"nmsgsensor/output"
	"nmsgsensor/tuple"
)

// stage is where all sources meet all sinks.
type stage struct {
	mu      sync.Mutex      // over everything: sources call from their own goroutines
	records []output.Record // of the batch at hand
	sinks   []output.Sink
	errs    []error          // of each sink, from the last batch
	others  sync.WaitGroup   // in write, for the sinks that write at the same time
	talkers *talkers.Talkers // nil where nobody looks
	unique  *unique          // nil where a tuple is emitted each time that it comes
	left    uint64           // packets until the count is reached; 0 where there is none
	failed  error            // of the first sink that could not go on

	counters sync.Mutex // over all tallies; never held while a sink is at work
}

// errDone is how a source learns that enough was read.
var errDone = errors.New("count reached")

// sinkError is the error of a sink, which ends everything.
type sinkError struct{ error }

func (e sinkError) Unwrap() error { return e.error }

// intake returns what a source calls with its batches. What is its own traffic
// is passed over; nil for a source that has none.
func (s *stage) intake(t *tally, own *ownTraffic) func([]capture.Packet) error {
	var now tally // of this goroutine; copied to t after each batch
	return func(batch []capture.Packet) error {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.failed != nil {
			return s.failed
		}
		s.records = slices.Grow(s.records[:0], len(batch))
		var done error
		for i := range batch {
			if done = s.packet(&now, &batch[i], own); done != nil {
				break
			}
		}
		s.counters.Lock()
		*t = now
		s.counters.Unlock()
		if s.fail(s.write()); s.failed != nil {
			return s.failed
		}
		return done
	}
}

// packet makes a record of a packet, for which there is room.
func (s *stage) packet(t *tally, p *capture.Packet, own *ownTraffic) error {
	t.read++
	if p.Cut {
		t.cut++
	}
	if p.Skip != 0 {
		t.skipped[p.Skip]++
		if !p.Skip.IsPayload() {
			return nil
		}
		return s.countdown()
	}
	n := len(s.records)
	r := &s.records[:n+1][n]
	r.Time, r.Labels, r.Packet, r.Message = p.Time, p.Labels, nil, nil
	if p.Tuple != nil {
		r.Tuple, r.HasTuple, r.Type = *p.Tuple, true, encode.TypeIPConn
	} else {
		r.Type = encode.TypePacket
		err := r.Tuple.Parse(p.IP)
		if r.HasTuple = err == nil; !r.HasTuple {
			t.noTuple[err.(tuple.Reason)]++
		}
		if !p.Cut {
			r.Packet = p.IP
		}
		if p.Message.Data != nil {
			r.Message = &p.Message
		}
	}
	if r.HasTuple && own.has(&r.Tuple) {
		t.own++
		return nil
	}
	if s.talkers != nil {
		s.talkers.Add(p.IP, &r.Tuple, r.HasTuple)
	}
	if r.HasTuple {
		s.emit(t, r)
	}
	s.records = s.records[:n+1]
	return s.countdown()
}

// emit counts a tuple, and takes it out of the record where it was emitted in
// this window already. The record's packet stays.
func (s *stage) emit(t *tally, r *output.Record) {
	if s.unique != nil {
		first, evicted := s.unique.isFirst(&r.Tuple, r.Labels, r.Time)
		if evicted {
			t.evicted++
		}
		if !first {
			t.folded++
			r.HasTuple = false
			return
		}
	}
	t.delivered++
}

func (s *stage) countdown() error {
	if s.left == 0 {
		return nil
	}
	if s.left--; s.left == 0 {
		s.left = 1 // for sources that come too late
		return errDone
	}
	return nil
}

// manyRecords is from how many on sinks write at the same time: fewer are not worth
// waking a processor for.
const manyRecords = 256

// write has each sink write the records at hand: where there are many, all of them
// at the same time. It returns the error of a sink that can't go on.
func (s *stage) write() error {
	s.errs = slices.Grow(s.errs[:0], len(s.sinks))[:len(s.sinks)]
	for i, sink := range s.sinks {
		// The last is a collector, where there is one, which takes longest.
		if i == len(s.sinks)-1 || len(s.records) < manyRecords {
			s.errs[i] = write(sink, s.records)
		} else {
			s.others.Go(func() { s.errs[i] = write(sink, s.records) })
		}
	}
	s.others.Wait()
	return cmp.Or(s.errs...)
}

// write writes records and sends what the sink has ready then. After an error too
// the sink gets the rest, to count what it loses.
func write(sink output.Sink, records []output.Record) (err error) {
	for i := range records {
		if failed := sink.Write(&records[i]); err == nil {
			err = failed
		}
	}
	if p, ok := sink.(output.Pusher); ok {
		if failed := p.Push(); err == nil {
			err = failed
		}
	}
	return err
}

// flush sends what waits in these sinks.
func (s *stage) flush(sinks []output.Sink) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sink := range sinks {
		s.fail(sink.Flush())
	}
}

// rotate has all files end and others begin.
func (s *stage) rotate() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sink := range s.sinks {
		if r, ok := sink.(output.Rotator); ok {
			s.fail(r.Rotate())
		}
	}
}

// fail keeps the first error of a sink, if this is one.
func (s *stage) fail(err error) {
	if err != nil && s.failed == nil {
		s.failed = sinkError{err}
	}
}

// close ends the sinks, all of them whatever happens, and returns their errors.
func (s *stage) close() (errs []error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sink := range s.sinks {
		if err := sink.Close(); err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}

// snapshot returns a tally as it was after the last batch.
func (s *stage) snapshot(t *tally) tally {
	s.counters.Lock()
	defer s.counters.Unlock()
	return *t
}

// busiest returns what the talkers have counted.
func (s *stage) busiest(now time.Time) talkers.Counts {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.talkers.Counts(now)
}

func (s *stage) broken() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failed != nil
}
