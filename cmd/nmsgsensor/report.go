package main

import (
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"nmsgsensor/capture"
	"nmsgsensor/output"
	"nmsgsensor/tuple"
)

// tally counts what came from one source. At any moment
// read = delivered + own + folded + the sum of skipped + the sum of noTuple.
type tally struct {
	read      uint64
	delivered uint64 // gave a tuple
	own       uint64 // what this sensor sent itself
	folded    uint64 // tuples that were delivered before, in the same window
	skipped   [capture.NumReasons]uint64
	noTuple   [tuple.NumReasons]uint64
	cut       uint64 // of those read: shorter than they were on the wire
	evicted   uint64 // of those delivered: another one fell out of the table for it
}

// tupleReasons are the names of the reasons for which a packet has no tuple.
var tupleReasons = [tuple.NumReasons]string{
	tuple.NotIP:         "bad_version",
	tuple.Truncated:     "truncated",
	tuple.Malformed:     "malformed",
	tuple.LaterFragment: "later_fragment",
	tuple.OtherProtocol: "other_protocol",
}

// add adds what another source counted.
func (t *tally) add(o *tally) {
	t.read += o.read
	t.delivered += o.delivered
	t.own += o.own
	t.folded += o.folded
	t.cut += o.cut
	t.evicted += o.evicted
	for i, n := range o.skipped {
		t.skipped[i] += n
	}
	for i, n := range o.noTuple {
		t.noTuple[i] += n
	}
}

// reasons calls fn with every reason for which something that was read gave no
// tuple, or none that was delivered.
func (t *tally) reasons(fn func(reason string, n uint64)) {
	fn("own", t.own)
	fn("folded", t.folded)
	for i := 1; i < len(t.skipped); i++ {
		fn(capture.Reason(i).String(), t.skipped[i])
	}
	for i := 1; i < len(t.noTuple); i++ {
		fn(tupleReasons[i], t.noTuple[i])
	}
}

// report is all that the sensor knows of itself at one moment.
type report struct {
	when    time.Time
	inputs  []inputReport
	outputs []outputReport
}

type inputReport struct {
	label string // its name, or one made of it where another input has the same
	kind  inputKind
	tally
	capture.Stats
}

type outputReport struct {
	label       string // as that of an input
	message     string // what it is made of: ipconn, packet, text, json
	destination bool   // it is a collector, and no file
	output.Stats
}

// labels gives each object a label of its own, in valid UTF-8.
type labels map[string]int // how often each was asked for

func (l labels) of(name string) string {
	if name == "-" {
		name = "stdout"
	}
	name = strings.ToValidUTF8(name, "_")
	l[name]++
	if n := l[name]; n > 1 {
		return l.of(name + "#" + strconv.Itoa(n)) // which may be another's name
	}
	return name
}

// total is the tally of all inputs.
func (r *report) total() (sum tally) {
	for i := range r.inputs {
		sum.add(&r.inputs[i].tally)
	}
	return sum
}

// counter is one number of a report by its name.
type counter struct {
	key string
	n   uint64
}

// counters lists the report for a line: what came in, what became of it, and
// what went where. Zeros that say nothing are left out.
func (r *report) counters() (all []counter) {
	add := func(key string, n uint64) { all = append(all, counter{key, n}) }
	some := func(key string, n uint64) {
		if n > 0 {
			add(key, n)
		}
	}
	sum := r.total()
	add("read", sum.read)
	add("delivered", sum.delivered)
	sum.reasons(some)
	some("cut", sum.cut)
	some("unique_evicted", sum.evicted)
	for _, in := range r.inputs {
		prefix := "in." + word(in.label) + "."
		add(prefix+"bytes", in.Bytes)
		if in.kind == liveInput || in.kind == listenInput {
			add(prefix+"kernel_dropped", in.KernelDropped)
		}
		if in.kind == liveInput {
			add(prefix+"interface_dropped", in.InterfaceDropped)
		}
		some(prefix+"returns", in.Returns)
		some(prefix+"containers", in.Containers)
		some(prefix+"lost_containers", in.LostContainers)
		some(prefix+"bad_containers", in.BadContainers)
		some(prefix+"lost_fragments", in.LostFragments)
		some(prefix+"damaged", in.Damaged)
	}
	for _, out := range r.outputs {
		prefix := "out." + word(out.label) + "."
		add(prefix+"payloads", out.Payloads)
		if out.Containers > 0 || out.Payloads == 0 {
			add(prefix+"containers", out.Containers)
		}
		add(prefix+"bytes", out.Bytes)
		add(prefix+"dropped", out.Dropped)
		for _, reason := range slices.Sorted(maps.Keys(out.Errors)) {
			some(prefix+reason, out.Errors[reason])
		}
	}
	return all
}

// line is the report in one line: key=value behind the program's name.
func (r *report) line() []byte {
	b := []byte("nmsgsensor:")
	for _, c := range r.counters() {
		b = append(append(append(b, ' '), c.key...), '=')
		b = strconv.AppendUint(b, c.n, 10)
	}
	return append(b, '\n')
}

// attributes is the report for a log.
func (r *report) attributes() (all []any) {
	for _, c := range r.counters() {
		all = append(all, slog.Uint64(c.key, c.n))
	}
	return all
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
