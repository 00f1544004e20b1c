// Package capture takes packets in: from network interfaces, pcap and pcapng
// files, and NMSG streams from files, pipes and UDP. What it hands on begins with
// the IP header.
//
// An interface is read by libpcap, or block by block from a packet socket (see
// [Engine]); its queue is the kernel's ring, whose losses are counted, and nothing
// is queued again here. Of regular files, reading runs ahead of the work on what
// was read, on a goroutine of its own; of pipes it doesn't, as packets are to be
// handed on as they come.
package capture

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"nmsgsensor/encode"
	"nmsgsensor/tuple"
)

// Source is where packets come from.
type Source interface {
	// Run hands on everything the source has, in order and in batches, until
	// its end, until ctx is done (then it returns nil), or until fn returns an
	// error, which Run returns as it is. The batch and the bytes in it are
	// borrowed: they are valid until fn returns. Run also closes what the
	// source has open; it is called once.
	Run(ctx context.Context, fn func([]Packet) error) error

	// Stats returns the source's own counters. It may be called at any time,
	// from any goroutine, also after Run.
	Stats() Stats
}

// Packet is one thing that a source read: an IP packet, the 5-tuple of one
// (from base:ipconn), or something that is neither and says why in Skip.
type Packet struct {
	Time   time.Time
	Labels encode.Labels // from NMSG; zero from captures
	IP     []byte        // the packet from its IP header on, link-layer padding included; borrowed; nil if there is none
	Tuple  *tuple.Tuple  // the content of a base:ipconn payload, borrowed; nil for all others
	Skip   Reason        // why there is no packet here; zero where there is one
	Cut    bool          // the bytes are not all of the packet's: captured and original length differ

	// Message is the base:packet message that IP came in, borrowed, with its
	// checksum: to be passed on as it is. Where it came in none, or in one of
	// another form than ours, Data is nil.
	Message encode.Message
}

// Config is what every source needs. The zero value works.
type Config struct {
	Filter string       // libpcap filter for captures, "" for none
	Log    *slog.Logger // where damage is told; nil for slog.Default()
}

func (c *Config) logger() *slog.Logger {
	if c.Log == nil {
		return slog.Default()
	}
	return c.Log
}

// Stats are counters that only the source knows; packets and what became of
// them are counted where they are handed to. The counters only grow.
type Stats struct {
	Name    string // the interface, file or socket, as it was asked for
	Bytes   uint64 // read, before decompression; of captured frames for interfaces
	Size    int64  // of the file; 0 where it has none
	Damaged uint64 // places where the input was broken and bytes were passed over

	// Interfaces and UDP sockets.
	Seen             time.Time // when its goroutine last came round, which it does each second; zero for others
	Down             bool      // the interface is away, and nothing comes from it
	Returns          uint64    // times it has been away and came back
	KernelDropped    uint64    // by the kernel, for want of room in its buffer
	InterfaceDropped uint64    // by the interface or its driver

	// NMSG.
	Containers     uint64 // read whole, fragmented ones included
	LostContainers uint64 // by the senders' sequence numbers
	BadContainers  uint64 // that could not be decoded
	LostFragments  uint64 // dropped because the others of their set never came or broke a bound
}

// ledger is what all sources have: counters, and a log.
type ledger struct {
	log   *slog.Logger
	mu    sync.Mutex
	stats Stats
}

// Stats implements Source.
func (l *ledger) Stats() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.stats
}

// damaged counts a place where the input was broken and tells of it, when what
// was read before is done with.
func (l *ledger) damaged(r *relay, offset int64, cause error, skipped int64) {
	r.note(func() {
		l.mu.Lock()
		l.stats.Damaged++
		l.mu.Unlock()
		l.log.Warn("damaged input", "input", l.stats.Name, "offset", offset, "cause", cause, "skipped_bytes", skipped)
	})
}
