package main

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"nmsgsensor/capture"
	"nmsgsensor/output"
	"nmsgsensor/tuple"
)

// tupleReasons are the names of the reasons for which a packet has no tuple.
var tupleReasons = [tuple.NumReasons]string{
	tuple.NotIP:         "bad_version",
	tuple.Truncated:     "truncated",
	tuple.Malformed:     "malformed",
	tuple.LaterFragment: "later_fragment",
	tuple.OtherProtocol: "other_protocol",
}

// add adds what another source counted.
func (t *tally) add(o tally) {
	t.read += o.read
	t.delivered += o.delivered
	t.cut += o.cut
	for i, n := range o.skipped {
		t.skipped[i] += n
	}
	for i, n := range o.noTuple {
		t.noTuple[i] += n
	}
}

// each calls fn with every counter; all between read and cut sum up to read.
func (t *tally) each(fn func(key string, n uint64)) {
	fn("read", t.read)
	fn("delivered", t.delivered)
	for i := 1; i < len(t.skipped); i++ {
		if t.skipped[i] > 0 {
			fn(capture.Reason(i).String(), t.skipped[i])
		}
	}
	for i := 1; i < len(t.noTuple); i++ {
		if t.noTuple[i] > 0 {
			fn(tupleReasons[i], t.noTuple[i])
		}
	}
	if t.cut > 0 {
		fn("cut", t.cut)
	}
}

// sourceCounters calls add with what a source itself counted.
func sourceCounters(f *feed, add func(prefix, key string, n uint64)) {
	st := f.source.Stats()
	prefix := "in." + word(st.Name) + "."
	add(prefix, "bytes", st.Bytes)
	switch f.source.(type) {
	case *capture.Live:
		add(prefix, "kernel_dropped", st.KernelDropped)
		add(prefix, "interface_dropped", st.InterfaceDropped)
	case *capture.Listener:
		add(prefix, "kernel_dropped", st.KernelDropped)
	}
	for _, c := range []struct {
		key string
		n   uint64
	}{{"containers", st.Containers}, {"lost_containers", st.LostContainers}, {"bad_containers", st.BadContainers},
		{"lost_fragments", st.LostFragments}, {"damaged", st.Damaged}} {
		if c.n > 0 {
			add(prefix, c.key, c.n)
		}
	}
}

// sinkCounters calls add with what went to one file or destination.
func sinkCounters(st output.Stats, add func(prefix, key string, n uint64)) {
	name := st.Name
	if name == "-" {
		name = "stdout"
	}
	prefix := "out." + word(name) + "."
	add(prefix, "payloads", st.Payloads)
	if st.Containers > 0 || st.Payloads == 0 {
		add(prefix, "containers", st.Containers)
	}
	add(prefix, "bytes", st.Bytes)
	add(prefix, "dropped", st.Dropped)
	for _, reason := range slices.Sorted(maps.Keys(st.Errors)) {
		add(prefix, reason, st.Errors[reason])
	}
}

// word makes a name one word, so that the line of counters can be cut at spaces
// and equals signs.
func word(name string) string {
	return strings.Map(func(r rune) rune {
		if r <= ' ' || r == '=' || !strconv.IsPrint(r) {
			return '_'
		}
		return r
	}, name)
}
