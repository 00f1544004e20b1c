package capture

// doubt is what is known of a pcap file that tells sound records from damage. A
// pcap file has no marks to go by: the length of each record leads to the next,
// and a wrong one leads astray, where bytes of a packet are taken for headers.
type doubt struct {
	last   int64 // seconds of the last record, of the first one before that
	trust  int   // so many records are taken without a doubt
	futile int   // grows with each doubt that nothing came of
}

// noTime stands for seconds where there is no time to compare with.
const noTime = -1

const (
	// doubtReach is how far behind a doubtful record sound ones are looked for:
	// the longest packets but for rare ones.
	doubtReach = 64 << 10

	// maxTrust keeps files cheap to read whose records are all out of the
	// ordinary, as some programs write them: so many, the shortest ones, are as
	// many bytes as are looked at for a doubt.
	maxTrust = doubtReach/pcapRecordLen - 1

	// chainLen is how many plausible records in a row are no accident.
	chainLen = 4
)

// sound says whether the lengths and the fraction of a record are as nearly all
// are. Real files have others too: without a length, longer than on the wire.
// They are taken where nothing speaks against it.
func (f *pcapFile) sound(r record) bool {
	return int64(r.frac)*f.nanoUnit < 1e9 && r.capLen > 0 && r.capLen <= r.wireLen && r.wireLen <= maxCapture
}

// plausible says whether a record is sound, and not far in time from the one
// before it.
func (f *pcapFile) plausible(r record, last int64) bool {
	return f.sound(r) && near(r.sec, last)
}

// near says whether there is no more than a day between two records, or no time
// to compare with.
func near(sec, last int64) bool {
	const day = 86400
	return last == noTime || max(sec-last, last-sec) <= day
}

// doubts says whether a record and what follows it call for a closer look.
func (f *pcapFile) doubts(r record, behind []byte) bool {
	if !f.plausible(r, f.doubt.last) {
		f.doubt.trust--
		return f.doubt.trust < 0
	}
	return len(behind) >= f.recordLen && !f.plausible(f.record(behind), r.sec)
}

// misread says whether the record of n bytes that b begins with is none, or has
// another length: sound records begin inside it, or, if it is odd itself, behind
// it, where it does not lead to them. A need says that it takes that many bytes
// to tell.
func (f *pcapFile) misread(r record, b []byte, n int, atEnd bool) (misread bool, need int) {
	sound, leads := f.sound(r), f.leads(b[n:], r.sec, atEnd)
	switch {
	case sound && leads:
		f.doubt.trust = 0
		return false, 0
	case len(b) < n+f.recordLen && !atEnd:
		return false, n + f.recordLen
	case len(b) < n+doubtReach && !atEnd:
		return false, n + doubtReach
	}
	f.doubt.trust = 0
	reach := n
	if !leads && !f.plausible(r, f.doubt.last) {
		reach += doubtReach
	}
	broken := !sound && !leads // then another capture may have been joined here
	for i := 1; i < reach && i+f.recordLen <= len(b); i++ {
		inside := i >= f.recordLen && i < n
		if f.chain(b[i:], f.doubt.last, atEnd) || inside && (f.chain(b[i:], r.sec, atEnd) || broken && f.chain(b[i:], noTime, atEnd)) {
			return i != n, 0
		}
	}
	if !sound {
		f.doubt.futile = min(2*f.doubt.futile+1, maxTrust)
		f.doubt.trust = f.doubt.futile
	}
	return false, 0
}

// leads says whether a record ends where another begins, so that its length is
// right, whatever its time: before a record not far from it or from the last
// one, or before a chain of sound ones from all over the calendar, as other
// programs write them. It is enough that the chain ends with what has been
// written so far: a pipe need not have more for a day.
func (f *pcapFile) leads(b []byte, sec int64, atEnd bool) bool {
	for n := range chainLen {
		if len(b) < f.recordLen {
			return len(b) == 0 || atEnd && n > 1
		}
		r := f.record(b)
		if n == 0 && (f.plausible(r, sec) || f.plausible(r, f.doubt.last)) {
			return true
		}
		if !f.sound(r) || len(b) < f.recordLen+int(r.capLen) {
			return false
		}
		b = b[f.recordLen+int(r.capLen):]
	}
	return true
}

// chain says whether b begins with enough sound records in a row, the first not
// far from a time, and no more than one far from the one before it, as where two
// captures were joined. Before the end of the file, or a header that is cut
// there, fewer will do, but not a single one that there is no time to compare
// with.
func (f *pcapFile) chain(b []byte, last int64, atEnd bool) bool {
	known, joins := last != noTime, 0
	for n := range chainLen {
		if len(b) < f.recordLen {
			return atEnd && (n > 1 || known && len(b) == 0)
		}
		r := f.record(b)
		if !near(r.sec, last) {
			joins++
		}
		if !f.sound(r) || joins > min(n, 1) || len(b) < f.recordLen+int(r.capLen) {
			return false
		}
		last = r.sec
		b = b[f.recordLen+int(r.capLen):]
	}
	return true
}

// resync implements format: it looks for a chain of records, of whatever time.
// What is left of a broken header may look like one, and the packet behind it
// too: one of about the right time is better where it is not far.
func (f *pcapFile) resync(b []byte, atEnd bool) (int, bool) {
	const far = 4 << 10
	other := -1 // where a chain of another time begins
	for i := 0; i+f.recordLen <= len(b) && (other < 0 || i-other < far); i++ {
		switch {
		case other < 0 && !atEnd && len(b)-i < lookahead:
			return i, false
		case f.chain(b[i:], f.doubt.last, atEnd):
			return i, true
		case other < 0 && f.chain(b[i:], noTime, atEnd):
			other = i
		}
	}
	if other >= 0 {
		return other, true
	}
	return len(b), false
}
