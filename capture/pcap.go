package capture

import (
	"encoding/binary"
	"errors"
	"time"
)

// Sizes and marks of pcap files (pcap-savefile(5)).
const (
	pcapHeaderLen = 24
	pcapRecordLen = 16

	magicMicro    = 0xa1b2c3d4
	magicNano     = 0xa1b23c4d
	magicModified = 0xa1b2cd34 // Alexey Kuznetsov's: records have 8 more bytes

	// maxCapture is libpcap's MAXIMUM_SNAPLEN: a longer record is none. The
	// snaplen in the file's header is often too small and bounds nothing.
	maxCapture = 262144
)

var errRecord = errors.New("no sane record header")

// pcapFile reads the records of a pcap file.
type pcapFile struct {
	layer
	order     binary.ByteOrder
	recordLen int
	nanoUnit  int64 // nanoseconds of the unit of the fraction
	swap      swapRule
	last      uint32 // seconds of the last record
}

// swapRule says whether the two lengths of a record stand in the other order,
// as they do in files of old versions (libpcap, sf-pcap.c).
type swapRule uint8

const (
	swapNever  swapRule = iota
	swapMaybe           // 2.3: where the first is the larger
	swapAlways          // before 2.3, and 543.0 of DG/UX
)

// pcapOrder returns the byte order of a header and its magic number as read.
func pcapOrder(head []byte) (binary.ByteOrder, uint32) {
	for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
		switch m := order.Uint32(head); m {
		case magicMicro, magicNano, magicModified:
			return order, m
		}
	}
	return nil, 0
}

func isPcap(head []byte) bool {
	if len(head) < pcapHeaderLen {
		return false
	}
	order, _ := pcapOrder(head)
	return order != nil
}

// newPcap reads the file header.
func newPcap(head []byte, filter string) (*pcapFile, error) {
	order, magic := pcapOrder(head)
	f := &pcapFile{order: order, recordLen: pcapRecordLen, nanoUnit: 1000}
	switch magic {
	case magicNano:
		f.nanoUnit = 1
	case magicModified:
		f.recordLen += 8
	}
	major, minor := order.Uint16(head[4:]), order.Uint16(head[6:])
	switch {
	case major == 2 && minor < 3, major == 543:
		f.swap = swapAlways
	case major == 2 && minor == 3:
		f.swap = swapMaybe
	}
	// The upper bits tell of a frame check sequence.
	link := LinkType(order.Uint32(head[20:]) & 0x03ffffff)
	var err error
	f.layer, err = newLayer(link, filter)
	return f, err
}

// record reads a record header. It says whether it can be one.
func (f *pcapFile) record(b []byte) (sec, frac, capLen, wireLen uint32, sane bool) {
	sec, frac = f.order.Uint32(b), f.order.Uint32(b[4:])
	capLen, wireLen = f.order.Uint32(b[8:]), f.order.Uint32(b[12:])
	if f.swap == swapAlways || f.swap == swapMaybe && capLen > wireLen {
		capLen, wireLen = wireLen, capLen
	}
	return sec, frac, capLen, wireLen, capLen <= maxCapture
}

// next implements format.
func (f *pcapFile) next(b []byte, p *Packet) (step, error) {
	if len(b) < f.recordLen {
		return step{need: f.recordLen}, nil
	}
	sec, frac, capLen, wireLen, sane := f.record(b)
	if !sane {
		return step{}, errRecord
	}
	n := f.recordLen + int(capLen)
	if len(b) < n {
		return step{need: n}, nil
	}
	if len(b) >= n+f.recordLen && !f.plausible(b[n:]) && f.hidesRecords(b[:n], b) {
		return step{}, errRecord
	}
	f.last = sec
	p.Time = time.Unix(int64(sec), int64(frac)*f.nanoUnit).UTC()
	f.take(p, b[f.recordLen:n:n], wireLen)
	return step{used: int64(n), isPacket: true}, nil
}

// plausible says whether b begins with a record header as nearly all are. Real
// files have others too, which are taken all the same where nothing speaks
// against them.
func (f *pcapFile) plausible(b []byte) bool {
	const day = 86400
	sec, frac, capLen, wireLen, sane := f.record(b)
	near := f.last == 0 || sec-f.last+day <= 2*day
	return sane && near && int64(frac)*f.nanoUnit < 1e9 && capLen > 0 && capLen <= wireLen && wireLen <= maxCapture
}

// hidesRecords says whether a chain of records begins inside the record that b
// begins with: then it is its length that is wrong, and not what follows.
func (f *pcapFile) hidesRecords(record, b []byte) bool {
	for i := f.recordLen; i < len(record); i++ {
		if f.chain(b[i:], false) {
			return true
		}
	}
	return false
}

// resync implements format. A pcap file has no marks to go by, so it takes a
// chain of records, or one that leads to the very end.
func (f *pcapFile) resync(b []byte, atEnd bool) (int, bool) {
	for i := 0; i+f.recordLen <= len(b); i++ {
		if f.chain(b[i:], atEnd) {
			return i, true
		}
		if !atEnd && len(b)-i < windowSize/2 {
			return i + 1, false
		}
	}
	return len(b), false
}

// chain says whether b begins with some plausible records in a row. Before the
// end of the file, fewer will do if they lead there.
func (f *pcapFile) chain(b []byte, atEnd bool) bool {
	const enough = 4
	for range enough {
		if atEnd && len(b) == 0 {
			return true
		}
		if len(b) < f.recordLen || !f.plausible(b) {
			return false
		}
		_, _, capLen, _, _ := f.record(b)
		if len(b) < f.recordLen+int(capLen) {
			return false
		}
		b = b[f.recordLen+int(capLen):]
	}
	return true
}
