package main

import (
	"bytes"
	"fmt"
	"io"
	"time"
)

// plainRows is how many of each list are printed.
const plainRows = 10

// print writes a block of lines each time, and a last one at the end. When nobody
// reads them any more, it stops the sensor.
func (f *face) print(w io.Writer, over <-chan struct{}, stop func()) {
	tick := time.NewTicker(f.every)
	defer tick.Stop()
	for {
		last := false
		select {
		case <-over:
			last = true
		case <-tick.C:
		}
		if _, err := w.Write(f.plain(f.look())); err != nil {
			f.sensor.opt.log.Error("nothing can be shown", "cause", err)
			f.sensor.failed.Store(true)
			stop()
			<-over
			return
		}
		if last {
			return
		}
	}
}

// plain is a look as lines: the time, what the line is about, numbers, a name.
// Only names have spaces in them, and are last.
func (f *face) plain(l look) []byte {
	var b bytes.Buffer
	line := func(format string, args ...any) {
		b.WriteString(l.when.UTC().Format("2006-01-02T15:04:05Z "))
		fmt.Fprintf(&b, format+"\n", args...)
	}
	per, seconds, digits := "/s", max(l.Seconds, 1e-3), 1
	if f.totals {
		per, seconds, digits = "", 1, 0
	}
	line("total packets%s=%.*f bytes%s=%.*f lost_before=%d lost_behind=%d", per, digits, l.Packets/seconds, per, digits, l.Bytes/seconds, l.before, l.behind)
	line("counters %s", bytes.TrimPrefix(bytes.TrimSpace(l.report.line()), []byte("nmsgsensor: ")))
	for _, problem := range l.Problems {
		line("problem %s", problem)
	}
	for i := range lists {
		for _, c := range busiest(lists[i].of(&l.Counts), "", false, plainRows) {
			line("%s packets%s=%s%.*f bytes%s=%.*f %s", lists[i].name[:len(lists[i].name)-1], per, atMost(&c), digits, c.Packets/seconds, per, digits, c.Bytes/seconds, c.Key)
		}
	}
	return b.Bytes()
}
