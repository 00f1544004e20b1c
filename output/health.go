package output

import (
	"errors"
	"log/slog"
	"net"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// health is whether an output takes what it is given. It tells when that
// changes, and not each time. Calls of failed and worked are serialised by its
// owner; the counters may be read at any time.
type health struct {
	log        *slog.Logger
	kind, name string    // a destination or a file, and which
	unit       string    // what it takes
	since      time.Time // of the last failure; zero while it is up
	lost       uint64    // units, since it went down
	down       atomic.Bool
	failures   [numFailures]atomic.Uint64 // units
}

// calm is how long an output must be without failures to be up again: the kernel
// takes three seconds to find that a host is not there.
const calm = 5 * time.Second

// failed counts n units that failed, and tells of the first.
func (h *health) failed(f failure, n uint64, err error) {
	h.failures[f].Add(n)
	if h.since.IsZero() {
		h.log.Warn(h.kind+" does not take "+h.unit, h.kind, h.name, "cause", err)
	}
	h.since = time.Now()
	h.down.Store(true)
	h.lost += n
}

// worked says whether the output has just come up again.
func (h *health) worked() bool {
	if h.since.IsZero() || time.Since(h.since) < calm {
		return false
	}
	h.log.Info(h.kind+" takes "+h.unit+" again", h.kind, h.name, "lost", h.lost)
	h.since, h.lost = time.Time{}, 0
	h.down.Store(false)
	return true
}

// errors are the units that failed so far by each of these reasons.
func (h *health) errors(reasons []failure) map[string]uint64 {
	all := make(map[string]uint64, len(reasons))
	for _, f := range reasons {
		all[f.String()] = h.failures[f].Load()
	}
	return all
}

// failure says why a datagram or a payload was lost.
type failure uint8

const (
	refused failure = iota // no collector listens there, or its host is not there, as we hear later
	unreachable
	full // the socket's or the interface's queue
	tooLarge
	unresolved // the host name has no address
	overRate   // the queue before the rate limit is full
	noSpace    // on the disk
	otherFailure
	numFailures
)

// Why datagrams and files fail.
var (
	datagramFailures = []failure{refused, unreachable, full, tooLarge, unresolved, overRate, otherFailure}
	fileFailures     = []failure{noSpace, tooLarge, otherFailure}
)

func (f failure) String() string {
	return [numFailures]string{"refused", "unreachable", "full", "too_large", "unresolved", "over_rate", "no_space", "other"}[f]
}

func failureOf(err error) failure {
	switch {
	case errors.Is(err, unix.ECONNREFUSED):
		return refused
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.ENOBUFS), errors.Is(err, unix.ENOMEM):
		return full
	case errors.Is(err, unix.EMSGSIZE), errors.Is(err, unix.EFBIG):
		return tooLarge
	case errors.Is(err, unix.ENETUNREACH), errors.Is(err, unix.EHOSTUNREACH), errors.Is(err, unix.ENETDOWN), errors.Is(err, unix.EHOSTDOWN):
		return unreachable
	case errors.Is(err, errUnresolved), errors.As(err, new(*net.DNSError)):
		return unresolved
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return noSpace
	}
	return otherFailure
}
