package main

import (
	"errors"
	"slices"
	"testing"
	"time"

	"nmsgsensor/capture"
	"nmsgsensor/output"
	"nmsgsensor/tuple"
)

// udp4 is a packet with a tuple.
var udp4 = []byte{
	0x45, 0, 0, 28, 0, 0, 0x40, 0, 64, 17, 0, 0, // IPv4, UDP
	192, 0, 2, 1, 198, 51, 100, 2, // addresses
	0x04, 0xd2, 0, 53, 0, 8, 0, 0, // UDP: ports, length, checksum
}

// failing is a sink that can't go on.
type failing struct{ err error }

func (f failing) Write(*output.Record) error { return f.err }
func (f failing) Flush() error               { return nil }
func (f failing) Close() error               { return nil }

func TestStageCountsEveryPacketOnce(t *testing.T) {
	s := &stage{}
	var got tally
	err := s.intake(&got, nil)([]capture.Packet{
		{IP: udp4}, {IP: udp4, Cut: true}, {IP: udp4[:22]}, {Skip: capture.Filtered}, {Skip: capture.BadCRC}, {Tuple: &tuple.Tuple{}},
	})
	want := tally{read: 6, delivered: 3, cut: 1}
	want.skipped[capture.Filtered], want.skipped[capture.BadCRC], want.noTuple[tuple.Truncated] = 1, 1, 1
	if err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestStageStopsAtTheCountAcrossSources(t *testing.T) {
	s := &stage{left: 3}
	var a, b tally
	if err := s.intake(&a, nil)([]capture.Packet{{IP: udp4}, {Skip: capture.NotIP}, {Skip: capture.OtherPayload}}); err != nil {
		t.Fatal(err)
	}
	if err := s.intake(&b, nil)([]capture.Packet{{IP: udp4}, {IP: udp4}}); !errors.Is(err, errDone) {
		t.Fatal(err)
	}
	if a.read != 3 || b.read != 1 {
		t.Errorf("read %d and %d", a.read, b.read)
	}
}

func TestStageEndsWithTheErrorOfASink(t *testing.T) {
	full := errors.New("disk full")
	s := &stage{sinks: []output.Sink{failing{full}}}
	var got tally
	err := s.intake(&got, nil)([]capture.Packet{{IP: udp4}, {IP: udp4}})
	var sink sinkError
	if !errors.As(err, &sink) || !errors.Is(err, full) || s.failed == nil || got.read != 2 {
		t.Errorf("%v, %+v", err, got)
	}
}

// pushing is a sink that finds out late that it can't go on.
type pushing struct{ failing }

func (pushing) Write(*output.Record) error { return nil }
func (p pushing) Push() error              { return p.err }

// TestStageEndsWithTheErrorOfTheLastPush, that of the batch in which the count is
// reached.
func TestStageEndsWithTheErrorOfTheLastPush(t *testing.T) {
	full := errors.New("disk full")
	s := &stage{sinks: []output.Sink{pushing{failing{full}}}, left: 1}
	err := s.intake(new(tally), nil)([]capture.Packet{{IP: udp4}})
	if !errors.Is(err, full) || !errors.Is(s.failed, full) {
		t.Errorf("%v, the stage has %v", err, s.failed)
	}
}

// keeping is a sink that keeps the times of what it gets, and then fails.
type keeping struct {
	failing
	times []int64
}

func (k *keeping) Write(r *output.Record) error {
	k.times = append(k.times, r.Time.Unix())
	return k.err
}

// TestStageWritesToAllSinks, few packets and many, in the order in which they came.
func TestStageWritesToAllSinks(t *testing.T) {
	var a, b, c keeping
	s := &stage{sinks: []output.Sink{&a, &b, &c}}
	intake := s.intake(new(tally), nil)
	var want []int64
	for _, n := range []int{1, manyRecords, 3, 2 * manyRecords, manyRecords - 1} {
		batch := make([]capture.Packet, n)
		for i := range batch {
			batch[i] = capture.Packet{IP: udp4, Time: time.Unix(int64(len(want)), 0)}
			want = append(want, int64(len(want)))
		}
		if err := intake(batch); err != nil {
			t.Fatal(err)
		}
	}
	for i, k := range []*keeping{&a, &b, &c} {
		if !slices.Equal(k.times, want) {
			t.Errorf("sink %d has %d records, or in another order than the %d that came", i, len(k.times), len(want))
		}
	}
	if errs := s.close(); len(errs) > 0 {
		t.Error(errs)
	}
}

// TestStageEndsWithTheErrorOfAnySink, whether one writes after the other or all at
// the same time; all have what they were given, once.
func TestStageEndsWithTheErrorOfAnySink(t *testing.T) {
	full := errors.New("disk full")
	for _, n := range []int{3, manyRecords} {
		for i := range 3 {
			sinks := []*keeping{{}, {}, {}}
			sinks[i].err = full
			s := &stage{sinks: []output.Sink{sinks[0], sinks[1], sinks[2]}}
			intake := s.intake(new(tally), nil)
			batch := slices.Repeat([]capture.Packet{{IP: udp4}}, n)
			for range 2 {
				if err := intake(batch); !errors.Is(err, full) || !errors.Is(s.failed, full) {
					t.Errorf("%d of %d: %v, the stage has %v", i, n, err, s.failed)
				}
			}
			for k, sink := range sinks {
				if len(sink.times) != n {
					t.Errorf("%d failed: sink %d has %d records of %d", i, k, len(sink.times), n)
				}
			}
			s.close()
		}
	}
}

func TestStageDoesNotAllocate(t *testing.T) {
	s := &stage{sinks: []output.Sink{
		output.NewText("/dev/null", output.Payloads{}, false, output.FileConfig{}),
		output.NewFile("/dev/null", output.Payloads{Kind: output.Packet}, output.FileConfig{}),
	}}
	defer s.close()
	var got tally
	intake := s.intake(&got, nil)
	few := []capture.Packet{{IP: udp4, Time: time.Unix(1, 2)}, {IP: udp4[:22]}, {Skip: capture.NotIP}}
	for _, c := range []struct {
		batch  []capture.Packet
		allocs float64
	}{
		{few, 0}, {slices.Repeat(few, manyRecords), 4}, // of the goroutines
	} {
		for range 50_000 / len(c.batch) {
			intake(c.batch) // until buffers have their size
		}
		if n := testing.AllocsPerRun(2000, func() { intake(c.batch) }); n > c.allocs {
			t.Errorf("%d packets: %v allocations", len(c.batch), n)
		}
	}
}

func BenchmarkStage(b *testing.B) {
	s := &stage{sinks: []output.Sink{output.NewFile("/dev/null", output.Payloads{Kind: output.Packet}, output.FileConfig{})}}
	var got tally
	intake := s.intake(&got, nil)
	batch := make([]capture.Packet, 256)
	for i := range batch {
		batch[i].IP = udp4
	}
	b.ReportAllocs()
	for b.Loop() {
		intake(batch)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/256, "ns/packet")
}
