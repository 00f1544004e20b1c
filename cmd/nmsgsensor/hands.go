package main

import "nmsgsensor/output"

// manyRecords is from how many on sinks write at the same time: to wake a
// processor takes as long as to write some fifty.
const manyRecords = 256

// hand is a goroutine on which a sink writes while others do. A call would not
// do, as they are to run at the same time. Neither channel needs room: who sends
// has somebody waiting at the other end, or about to.
type hand struct {
	work chan []output.Record
	done chan error
}

func newHand(sink output.Sink) hand {
	h := hand{make(chan []output.Record), make(chan error)}
	go func() {
		for records := range h.work {
			h.done <- write(sink, records)
		}
	}()
	return h
}

// write has all sinks write the records at hand: at the same time, where there
// are many. It returns the error of a sink that can't go on; the others have all
// of the records by then.
func (s *stage) write() (err error) {
	if len(s.sinks) < 2 || len(s.records) < manyRecords {
		for _, sink := range s.sinks {
			if failed := write(sink, s.records); err == nil {
				err = failed
			}
		}
		return err
	}
	last := len(s.sinks) - 1 // collectors, which take longest, come last
	for i := len(s.hands); i < last; i++ {
		s.hands = append(s.hands, newHand(s.sinks[i]))
	}
	for _, h := range s.hands {
		h.work <- s.records
	}
	err = write(s.sinks[last], s.records)
	for _, h := range s.hands {
		if failed := <-h.done; err == nil {
			err = failed
		}
	}
	return err
}

// write writes records and sends what the sink has ready then.
func write(sink output.Sink, records []output.Record) error {
	for i := range records {
		if err := sink.Write(&records[i]); err != nil {
			return err
		}
	}
	if p, ok := sink.(output.Pusher); ok {
		return p.Push()
	}
	return nil
}
