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
	Span             string
}

const chartWidth, chartHeight = 600, 120

// view puts together what the page shows: rates are those since the last sample.
func (s *sensor) view() view {
	history := s.monitor.since()
	now := s.report()
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
	line := func(title, unit string, value func(*report) uint64) {
		v.Charts = append(v.Charts, draw(title, unit, history, value))
	}
	line("Read", "/s", func(r *report) uint64 { return r.total().read })
	line("Tuples", "/s", func(r *report) uint64 { return r.total().delivered })
	line("Lost on input", "/s", (*report).lostBefore)
	line("Lost on output", "/s", (*report).lostBehind)
	return v
}

func (r *report) lostBefore() (n uint64) {
	for _, in := range r.inputs {
		n += in.KernelDropped + in.InterfaceDropped + in.LostContainers
	}
	return n
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
	lost := in.KernelDropped + in.InterfaceDropped + in.LostContainers
	v.Dropped, v.Percent = quantity(float64(lost)), "0"
	if lost > 0 {
		v.Percent = fmt.Sprintf("%.2g", 100*float64(lost)/float64(lost+in.read))
	}
	var reasons []string
	in.reasons(func(reason string, n uint64) {
		if n > 0 {
			reasons = append(reasons, fmt.Sprintf("%s %s", strings.ReplaceAll(reason, "_", " "), quantity(float64(n))))
		}
	})
	if in.evicted > 0 {
		reasons = append(reasons, fmt.Sprintf("%s fell out of --unique", quantity(float64(in.evicted))))
	}
	v.Reasons = strings.Join(reasons, ", ")
	return v
}

func viewOutput(out, then *outputReport, rate func(now, then uint64) string) outputView {
	v := outputView{Name: out.label, Message: out.message, State: "up", Payloads: rate(out.Payloads, then.Payloads),
		Bytes: rate(out.Bytes, then.Bytes), Dropped: quantity(float64(out.Dropped))}
	if out.Down {
		v.State = "down"
	}
	var errors []string
	for _, reason := range slices.Sorted(maps.Keys(out.Errors)) {
		if n := out.Errors[reason]; n > 0 {
			errors = append(errors, fmt.Sprintf("%s %s", strings.ReplaceAll(reason, "_", " "), quantity(float64(n))))
		}
	}
	v.Errors = strings.Join(errors, ", ")
	return v
}

// draw makes a line of what a counter grew by from sample to sample.
func draw(title, unit string, history []*report, value func(*report) uint64) chart {
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
	return chart{Title: title, Now: quantity(rates[len(rates)-1]) + unit, Most: quantity(slices.Max(rates)) + unit,
		Points: string(points), Span: history[len(history)-1].when.Sub(history[0].when).Round(time.Second).String()}
}

// quantity writes a number with three digits and a prefix.
func quantity(n float64) string {
	for _, unit := range []string{"", " k", " M", " G", " T"} {
		if n < 999.5 || unit == " T" {
			if n == float64(int64(n)) && unit == "" {
				return fmt.Sprintf("%d", int64(n))
			}
			return fmt.Sprintf("%.3g%s", n, unit)
		}
		n /= 1000
	}
	return ""
}
