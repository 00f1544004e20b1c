package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"
)

// newLog returns the log, as "text" or "json".
func newLog(w io.Writer, format string) *slog.Logger {
	var h slog.Handler = slog.NewTextHandler(w, nil)
	if format == "json" {
		h = slog.NewJSONHandler(w, nil)
	}
	return slog.New(&repeats{Handler: h, seen: make(map[string]*repeated)})
}

const (
	// repeatsPassed is how many messages of a kind pass in each repeatsEvery; of
	// the others only their number is told.
	repeatsPassed = 10
	repeatsEvery  = time.Minute
	// repeatsKept bounds the kinds that are remembered.
	repeatsKept = 1024
)

// repeats is a handler that bounds messages of a kind: the same words of the
// same object. What comes in over the network can cause any number of them.
type repeats struct {
	slog.Handler
	mu   sync.Mutex
	seen map[string]*repeated
}

// repeated is what was said of one kind.
type repeated struct {
	since time.Time
	n     int // passed
	held  int // not passed
}

// Handle implements slog.Handler.
func (h *repeats) Handle(ctx context.Context, r slog.Record) error {
	h.mu.Lock()
	k := h.kind(&r)
	if r.Time.Sub(k.since) >= repeatsEvery {
		if k.held > 0 {
			r.AddAttrs(slog.Int("repeated", k.held))
		}
		*k = repeated{since: r.Time}
	}
	pass, last := k.n < repeatsPassed, k.n == repeatsPassed-1
	if pass {
		k.n++
	} else {
		k.held++
	}
	h.mu.Unlock()
	if !pass {
		return nil
	}
	if last {
		r.AddAttrs(slog.String("next", fmt.Sprintf("told in %v", repeatsEvery)))
	}
	return h.Handler.Handle(ctx, r)
}

// kind finds what was said of the words and the first attribute, which names the
// object.
func (h *repeats) kind(r *slog.Record) *repeated {
	key := r.Message
	r.Attrs(func(a slog.Attr) bool {
		key += "\x00" + a.String()
		return false
	})
	k := h.seen[key]
	if k == nil {
		if len(h.seen) >= repeatsKept {
			clear(h.seen)
		}
		k = &repeated{since: r.Time}
		h.seen[key] = k
	}
	return k
}
