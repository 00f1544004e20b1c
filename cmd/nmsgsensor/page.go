package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// view is what the page shows.
type view struct {
	Problems []string
	Since    string
	Inputs   []inputView
	Outputs  []outputView
	Charts   []chart
}

type inputView struct {
	Name, State      string
	Read, Bytes      string // a second
	Dropped, Percent string // lost before they came here, since the start
	NoTuple          string
	Reasons          string
}

type outputView struct {
	Name, Message, State string
	Payloads, Bytes      string // a second
	Dropped              string // since the start
	Errors               string
}

// chart is a line over time.
type chart struct {
	Title, Now, Most string
	Points           string // of an SVG polyline in a field of chartWidth to chartHeight
}

const chartWidth, chartHeight = 600, 120

// view puts together what the page shows of a report of now: rates are those since
// the last sample.
func (s *sensor) view(now *report) view {
	history := s.monitor.since()
	then := now
	for _, r := range slices.Backward(history) {
		// A moment is too short for a rate.
		if then = r; now.when.Sub(r.when) >= sampleEvery/2 {
			break
		}
	}
	v := view{Problems: problems(now), Since: history[0].when.UTC().Format(time.DateTime)}
	seconds := max(now.when.Sub(then.when).Seconds(), 0.001)
	rate := func(now, then uint64) string { return quantity(float64(now-then) / seconds) }
	for i := range now.inputs {
		v.Inputs = append(v.Inputs, viewInput(&now.inputs[i], &then.inputs[i], rate))
	}
	for i := range now.outputs {
		v.Outputs = append(v.Outputs, viewOutput(&now.outputs[i], &then.outputs[i], rate))
	}
	v.Charts = []chart{
		draw("Read", history, func(r *report) uint64 { return r.total().read }),
		draw("Tuples", history, func(r *report) uint64 { return r.total().delivered }),
		draw("Lost on input", history, (*report).lostBefore),
		draw("Lost on output", history, (*report).lostBehind),
	}
	return v
}

func (r *report) lostBefore() (n uint64) {
	for i := range r.inputs {
		n += r.inputs[i].lost()
	}
	return n
}

// lost is what did not come here.
func (in *inputReport) lost() uint64 {
	return in.KernelDropped + in.InterfaceDropped + in.LostContainers
}

func (r *report) lostBehind() (n uint64) {
	for _, out := range r.outputs {
		n += out.Dropped
	}
	return n
}

func viewInput(in, then *inputReport, rate func(now, then uint64) string) inputView {
	v := inputView{Name: in.label, State: "up", Read: rate(in.read, then.read), Bytes: rate(in.Bytes, then.Bytes),
		NoTuple: quantity(float64(in.read - in.delivered))}
	if in.Down {
		v.State = "away"
	}
	v.Dropped, v.Percent = quantity(float64(in.lost())), "0"
	if lost := in.lost(); lost > 0 {
		v.Percent = fmt.Sprintf("%.2g", 100*float64(lost)/float64(lost+in.read))
	}
	var why reasons
	in.reasons(why.add)
	if in.evicted > 0 {
		why = append(why, quantity(float64(in.evicted))+" fell out of --unique")
	}
	v.Reasons = strings.Join(why, ", ")
	return v
}

// reasons are words and numbers for a person.
type reasons []string

func (all *reasons) add(reason string, n uint64) {
	if n > 0 {
		*all = append(*all, strings.ReplaceAll(reason, "_", " ")+" "+quantity(float64(n)))
	}
}

func viewOutput(out, then *outputReport, rate func(now, then uint64) string) outputView {
	v := outputView{Name: out.label, Message: out.message, State: "up", Payloads: rate(out.Payloads, then.Payloads),
		Bytes: rate(out.Bytes, then.Bytes), Dropped: quantity(float64(out.Dropped))}
	if out.Down {
		v.State = "down"
	}
	var why reasons
	for _, reason := range slices.Sorted(maps.Keys(out.Errors)) {
		why.add(reason, out.Errors[reason])
	}
	v.Errors = strings.Join(why, ", ")
	return v
}

// draw makes a line of what a counter grew by from sample to sample.
func draw(title string, history []*report, value func(*report) uint64) chart {
	rates := make([]float64, 0, samples)
	for i := 1; i < len(history); i++ {
		seconds := history[i].when.Sub(history[i-1].when).Seconds()
		rates = append(rates, float64(value(history[i])-value(history[i-1]))/max(seconds, 0.001))
	}
	if len(rates) == 0 {
		return chart{Title: title, Now: "–", Most: "–"}
	}
	most := max(slices.Max(rates), 1e-9)
	points := make([]byte, 0, 16*len(rates))
	for i, rate := range rates {
		// The latest is at the right, whole minutes at the same place.
		x := chartWidth - float64(len(rates)-1-i)*chartWidth/(samples-2)
		points = fmt.Appendf(points, "%.1f,%.1f ", x, chartHeight*(1-rate/most))
	}
	return chart{Title: title, Now: quantity(rates[len(rates)-1]) + "/s", Most: quantity(slices.Max(rates)) + "/s", Points: string(points)}
}

// quantity writes a number with three digits and a prefix.
func quantity(n float64) string {
	for _, unit := range []string{"", " k", " M", " G", " T"} {
		if n < 999.5 {
			return fmt.Sprintf("%.3g%s", n, unit)
		}
		n /= 1000
	}
	return fmt.Sprintf("%.3g P", n)
}
