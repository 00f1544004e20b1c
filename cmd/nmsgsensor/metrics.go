package main

import (
	"slices"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// newRegistry returns the metrics of a sensor, of the process and of the Go
// runtime.
func newRegistry(s *sensor) *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(&collector{s}, collectors.NewBuildInfoCollector(), collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

// collector makes metrics of a report, when they are asked for. It keeps no
// numbers of its own.
type collector struct{ sensor *sensor }

func metric(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("nmsgsensor_"+name, help, labels, nil)
}

// inputMetrics are the counters of an input, by its name.
var inputMetrics = []struct {
	desc  *prometheus.Desc
	kinds []inputKind // nil for all
	value func(*inputReport) uint64
}{
	{metric("input_read_total", "Frames, or payloads of NMSG, that were read.", "input"), nil,
		func(in *inputReport) uint64 { return in.read }},
	{metric("input_tuples_total", "Of what was read, what gave a 5-tuple that was delivered.", "input"), nil,
		func(in *inputReport) uint64 { return in.delivered }},
	{metric("input_cut_total", "Of what was read, what was captured shorter than it was.", "input"), nil,
		func(in *inputReport) uint64 { return in.cut }},
	{metric("input_unique_evicted_total", "Of the tuples, for how many another one fell out of the table of --unique.", "input"), nil,
		func(in *inputReport) uint64 { return in.evicted }},
	{metric("input_bytes_total", "Bytes that were read: of captured frames, or of the file or socket.", "input"), nil,
		func(in *inputReport) uint64 { return in.Bytes }},
	{metric("input_kernel_dropped_total", "Packets or datagrams that the kernel dropped for want of room.", "input"), []inputKind{liveInput, listenInput},
		func(in *inputReport) uint64 { return in.KernelDropped }},
	{metric("input_interface_dropped_total", "Packets that the interface or its driver dropped.", "input"), []inputKind{liveInput},
		func(in *inputReport) uint64 { return in.InterfaceDropped }},
	{metric("input_returns_total", "Times that the interface was away and came back.", "input"), []inputKind{liveInput},
		func(in *inputReport) uint64 { return in.Returns }},
	{metric("input_containers_total", "NMSG containers that were read.", "input"), nil,
		func(in *inputReport) uint64 { return in.Containers }},
	{metric("input_lost_containers_total", "NMSG containers that are missing by the senders' sequence numbers.", "input"), nil,
		func(in *inputReport) uint64 { return in.LostContainers }},
	{metric("input_bad_containers_total", "NMSG containers that could not be decoded.", "input"), nil,
		func(in *inputReport) uint64 { return in.BadContainers }},
	{metric("input_lost_fragments_total", "Fragments of containers that never got whole.", "input"), nil,
		func(in *inputReport) uint64 { return in.LostFragments }},
	{metric("input_damaged_total", "Places where the input was broken and bytes were passed over.", "input"), nil,
		func(in *inputReport) uint64 { return in.Damaged }},
}

// outputMetrics are the counters of an output, by its name and what it is made of.
var outputMetrics = []struct {
	desc  *prometheus.Desc
	value func(*outputReport) uint64
}{
	{metric("output_payloads_total", "Payloads that left: tuples, packets or lines.", "output", "message"),
		func(out *outputReport) uint64 { return out.Payloads }},
	{metric("output_containers_total", "NMSG containers in which payloads left.", "output", "message"),
		func(out *outputReport) uint64 { return out.Containers }},
	{metric("output_bytes_total", "Bytes that left.", "output", "message"),
		func(out *outputReport) uint64 { return out.Bytes }},
	{metric("output_dropped_payloads_total", "Payloads that were taken and could not leave.", "output", "message"),
		func(out *outputReport) uint64 { return out.Dropped }},
}

var (
	skippedDesc = metric("input_skipped_total", "Of what was read, what gave no 5-tuple or none that was delivered, by reason.", "input", "reason")
	inputUp     = metric("input_up", "1 while packets can come from the interface.", "input")
	errorsDesc  = metric("output_errors_total", "Datagrams that failed, or payloads of files, by reason.", "output", "message", "reason")
	outputUp    = metric("output_up", "1 while the output takes what it is given.", "output", "message")
)

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, m := range inputMetrics {
		ch <- m.desc
	}
	for _, m := range outputMetrics {
		ch <- m.desc
	}
	for _, d := range []*prometheus.Desc{skippedDesc, inputUp, errorsDesc, outputUp} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	count := func(d *prometheus.Desc, n uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
	}
	up := func(d *prometheus.Desc, down bool, labels ...string) {
		v := 1.0
		if down {
			v = 0
		}
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	r := c.sensor.report()
	for i := range r.inputs {
		in := &r.inputs[i]
		for _, m := range inputMetrics {
			if m.kinds == nil || slices.Contains(m.kinds, in.kind) {
				count(m.desc, m.value(in), in.label)
			}
		}
		in.reasons(func(reason string, n uint64) { count(skippedDesc, n, in.label, reason) })
		if in.kind == liveInput {
			up(inputUp, in.Down, in.label)
		}
	}
	for i := range r.outputs {
		out := &r.outputs[i]
		for _, m := range outputMetrics {
			count(m.desc, m.value(out), out.label, out.message)
		}
		for reason, n := range out.Errors {
			count(errorsDesc, n, out.label, out.message, reason)
		}
		up(outputUp, out.Down, out.label, out.message)
	}
}
