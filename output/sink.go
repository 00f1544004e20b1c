// Package output decides what is written when, and where bytes go: text, JSON,
// NMSG files and UDP collectors.
package output

import (
	"time"

	"nmsgsensor/encode"
	"nmsgsensor/tuple"
)

// Sink is where records go. Its caller serialises Write, Flush and Close; what
// else a sink does at the same time is its own affair.
type Sink interface {
	// Write takes one record. The record and its bytes are borrowed: a sink
	// copies what it keeps. An error means that the sink can't go on; what one
	// can live with (a refused datagram) is counted and not returned.
	Write(*Record) error

	// Flush sends on whatever waits in a buffer. It is called every time the
	// longest wait is over.
	Flush() error

	// Close flushes and releases everything, waiting for a bounded time only.
	Close() error
}

// Record is a packet on its way out.
type Record struct {
	Time     time.Time
	Labels   encode.Labels
	Packet   []byte      // the whole IP packet, for base:packet; borrowed; nil where there is none or it is cut
	Tuple    tuple.Tuple // only where HasTuple
	HasTuple bool
	Type     uint8 // the message type it was read as: encode.TypePacket or encode.TypeIPConn
}

// Stats are a sink's counters. All only grow. They may be read at any time.
type Stats struct {
	Name       string            // the file or the destination, as it was asked for
	Payloads   uint64            // that left, in containers that were written or sent
	Containers uint64            // that were written or sent (lines, for text)
	Bytes      uint64            // of these
	Dropped    uint64            // payloads that were taken and could not be sent on
	Errors     map[string]uint64 // containers or datagrams lost, by reason
}
