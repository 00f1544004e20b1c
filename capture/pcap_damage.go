package capture

// doubt is what is known of a pcap file that tells sound records from damage. A
// pcap file has no marks to go by: the length of each record leads to the next,
// and a wrong one leads astray, where bytes of a packet are taken for headers.
type doubt struct {
	last   uint32 // seconds of the last record; 0 where there is none
	trust  int    // so many records are taken without a doubt
	futile int    // grows with each doubt that nothing came of
}

const (
	// doubtReach is how far behind a doubtful record sound ones are looked for:
	// the longest packets but for rare ones.
	doubtReach = 64 << 10

	// maxTrust keeps files cheap to read whose records are all out of the
	// ordinary, as some programs write them.
	maxTrust = 255

	// chainLen is how many plausible records in a row are no accident.
	chainLen = 4
)

// plausible says whether a record is as nearly all are, and not far in time from
// the one before it. Real files have others too: without a length, longer than
// on the wire, of another year. They are taken where nothing speaks against it.
func (f *pcapFile) plausible(r record, last uint32) bool {
	const day = 86400
	near := last == 0 || r.sec-last+day <= 2*day
	return near && int64(r.frac)*f.nanoUnit < 1e9 && r.capLen > 0 && r.capLen <= r.wireLen && r.wireLen <= maxCapture
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
// it, where it does not lead to them.
func (f *pcapFile) misread(r record, b []byte, n int, atEnd bool) bool {
	f.doubt.trust = 0
	odd, leads := !f.plausible(r, f.doubt.last), f.chain(b[n:], r.sec, 2, atEnd)
	reach := n
	switch {
	case leads && !odd:
		return false
	case odd && !leads:
		reach += doubtReach
	}
	for i := 1; i < reach && i+f.recordLen <= len(b); i++ {
		if f.chain(b[i:], f.doubt.last, chainLen, atEnd) {
			return i != n
		}
	}
	if odd {
		f.doubt.futile = min(2*f.doubt.futile+1, maxTrust)
		f.doubt.trust = f.doubt.futile
	}
	return false
}

// chain says whether b begins with enough plausible records in a row. Before the
// end of the file, or a header that is cut there, fewer will do, but not a single
// one that there is no time to compare with.
func (f *pcapFile) chain(b []byte, last uint32, enough int, atEnd bool) bool {
	known := last != 0
	for n := range enough {
		if len(b) < f.recordLen {
			return atEnd && (n > 1 || known && len(b) == 0)
		}
		r := f.record(b)
		if !f.plausible(r, last) || len(b) < f.recordLen+int(r.capLen) {
			return false
		}
		last = r.sec
		b = b[f.recordLen+int(r.capLen):]
	}
	return true
}

// resync implements format: it looks for a chain of records, of whatever time.
func (f *pcapFile) resync(b []byte, atEnd bool) (int, bool) {
	for i := 0; i+f.recordLen <= len(b); i++ {
		if !atEnd && len(b)-i < lookahead {
			return i, false
		}
		if f.chain(b[i:], f.doubt.last, chainLen, atEnd) || f.chain(b[i:], 0, chainLen, atEnd) {
			return i, true
		}
	}
	return len(b), false
}
