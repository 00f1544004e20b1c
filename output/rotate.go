package output

import (
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// Rotation says when a file output goes on in another file, and what happens to
// the one before: as nmsgtool does it with -k, -t, -c and -R. A nil Rotation
// never does.
//
// A file is written under a hidden name, BASE.TIME.part with a dot before it,
// and gets its name, BASE.TIME and a suffix, when it is whole. TIME is that of
// its first payload, in UTC: YYYYMMDD.HHMM.EPOCH.NSEC.
type Rotation struct {
	Every  time.Duration     // 0 for no time; whole seconds
	Offset time.Duration     // of the times from multiples of Every since 1970
	Count  uint64            // payloads in a file; 0 for no bound
	Done   func(name string) // is told each file that is whole, and must not wait; nil for nobody
}

// rotating is a file of a Rotation.
type rotating struct {
	*Rotation
	base, suffix string
	part, name   string    // of the file that is open
	payloads     uint64    // in it
	end          time.Time // when its time is over
}

// begin sets the names of a file that is opened now.
func (r *rotating) begin(now time.Time) {
	now = now.UTC()
	when := fmt.Sprintf("%s.%d.%09d", now.Format("20060102.1504"), now.Unix(), now.Nanosecond())
	// As nmsgtool has it, "./" before a name without directory: a name that
	// begins with a dash is no option of the command.
	dir, base := filepath.Dir(r.base)+"/", filepath.Base(r.base)
	r.part = dir + "." + base + "." + when + ".part"
	r.name = dir + base + "." + when + r.suffix
	if r.Every > 0 {
		r.end = NextInterval(now, r.Every, r.Offset)
	}
}

// NextInterval returns the end of the interval that now is in: a multiple of
// every since 1970, and an offset.
func NextInterval(now time.Time, every, offset time.Duration) time.Time {
	since := time.Duration(now.UnixNano()) - offset
	return now.Add(every - since%every)
}

// full says whether the file is, with so many payloads that are not in it yet.
func (r *rotating) full(pending uint64) bool {
	return r != nil && r.Count > 0 && r.payloads+pending >= r.Count
}

// due says whether the file is over.
func (r *rotating) due() bool {
	return r.full(0) || r != nil && !r.end.IsZero() && !time.Now().Before(r.end)
}

// finish gives the file that was closed its name. A file without payloads, as a
// full disk leaves them, is removed.
func (r *rotating) finish() error {
	payloads := r.payloads
	r.payloads, r.end = 0, time.Time{}
	if payloads == 0 {
		return os.Remove(r.part)
	}
	if err := os.Rename(r.part, r.name); err != nil {
		return err
	}
	if r.Done != nil {
		r.Done(r.name)
	}
	return nil
}
