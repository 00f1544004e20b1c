// Package output decides what is written when, and where bytes go: text, JSON,
// NMSG files and UDP collectors.
package output

import (
	"time"

	"nmsgsensor/encode"
	"nmsgsensor/tuple"
)

// Sink is where records go. Its caller serialises Write, Flush, Push and Close of a
// sink, but may have others work on the same records at the same time; what else a
// sink does is its own affair.
type Sink interface {
	// Write takes one record. The record and its bytes are borrowed: a sink
	// copies what it keeps. An error means that the sink can't go on: what it is
	// given nevertheless it counts as lost. What one can live with (a refused
	// datagram) is counted and not returned.
	Write(*Record) error

	// Flush sends on whatever waits in a buffer. It is called every time the
	// longest wait is over.
	Flush() error

	// Close flushes and releases everything, waiting for a bounded time only.
	Close() error
}

// Pusher is a sink that collects what is ready to go out, to send it in one
// system call.
type Pusher interface {
	// Push sends what is ready. It is called when a source has handed on all it
	// had at hand.
	Push() error
}

// Rotator is a sink of files that can be told to begin another one.
type Rotator interface {
	// Rotate ends the file that is open, if any.
	Rotate() error
}

// Record is a packet on its way out.
type Record struct {
	Time     time.Time
	Labels   encode.Labels
	Packet   []byte          // the whole IP packet, for base:packet; borrowed; nil where there is none or it is cut
	Message  *encode.Message // Packet's, where it is at hand; borrowed; else nil
	Tuple    tuple.Tuple     // only where HasTuple
	HasTuple bool
	Type     uint8 // the message type that it was read as: encode.TypePacket or encode.TypeIPConn
}

// Kind is the message type that a sink makes of records.
type Kind uint8

// The kinds.
const (
	IPConn Kind = encode.TypeIPConn // of records with a tuple
	Packet Kind = encode.TypePacket // of records with a packet
)

// wants says whether a message of this kind can be made of r.
func (k Kind) wants(r *Record) bool {
	if k == Packet {
		return r.Packet != nil
	}
	return r.HasTuple
}

// Payloads says how records become payloads.
type Payloads struct {
	Kind   Kind
	Labels encode.Labels // these replace the record's own where they are set
	Now    bool          // the time of the payload is that of its emission, not the packet's
	Zlib   bool          // compress containers
	Single bool          // one payload a container, which waits for nothing
}

func (p *Payloads) time(r *Record) time.Time {
	if p.Now {
		return time.Now()
	}
	return r.Time
}

// append adds r to a container, unless nmsgtool would first begin a new one of at
// most limit bytes (0 for no limit).
func (p *Payloads) append(c *encode.Container, r *Record, limit int) bool {
	t, l := p.time(r), r.Labels.Or(p.Labels)
	switch {
	case p.Kind == IPConn:
		return c.AppendIPConn(t, l, &r.Tuple, limit)
	case r.Message != nil:
		return c.AppendMessage(encode.TypePacket, t, l, r.Message, limit)
	default:
		return c.AppendPacket(t, l, r.Packet, limit)
	}
}

// Stats are a sink's counters, which only grow, and its state. They may be read
// at any time.
type Stats struct {
	Name       string            // the file or the destination, as it was asked for
	Payloads   uint64            // that left
	Containers uint64            // in which they left; 0 for text
	Bytes      uint64            // that left
	Dropped    uint64            // payloads that were taken and could not leave
	Errors     map[string]uint64 // datagrams that failed, or payloads of files, by every reason there is
	Down       bool              // the output did not take the last of them
}
