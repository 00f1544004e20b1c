package capture

import (
	"encoding/binary"
	"errors"
	"math/bits"
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
	bigEndian bool
	recordLen int
	nanoUnit  int64 // nanoseconds of the unit of the fraction
	swap      swapRule
	doubt     doubt
}

// swapRule says whether the two lengths of a record stand in the other order,
// as they do in files of old versions (libpcap, sf-pcap.c).
type swapRule uint8

const (
	swapNever  swapRule = iota
	swapMaybe           // 2.3: where the first is the larger
	swapAlways          // before 2.3, and 543.0 of DG/UX
)

// pcapMagic returns the magic number of a header and whether it is big-endian.
func pcapMagic(head []byte) (magic uint32, bigEndian, known bool) {
	magic = binary.LittleEndian.Uint32(head)
	for _, bigEndian := range []bool{false, true} {
		switch magic {
		case magicMicro, magicNano, magicModified:
			return magic, bigEndian, true
		}
		magic = bits.ReverseBytes32(magic)
	}
	return 0, false, false
}

func isPcap(head []byte) bool {
	if len(head) < pcapHeaderLen {
		return false
	}
	_, _, known := pcapMagic(head)
	return known
}

// newPcap reads the file header.
func newPcap(head []byte, filter string) (*pcapFile, error) {
	magic, bigEndian, _ := pcapMagic(head)
	f := &pcapFile{bigEndian: bigEndian, recordLen: pcapRecordLen, nanoUnit: 1000, doubt: doubt{last: noTime}}
	switch magic {
	case magicNano:
		f.nanoUnit = 1
	case magicModified:
		f.recordLen += 8
	}
	var order binary.ByteOrder = binary.LittleEndian
	if bigEndian {
		order = binary.BigEndian
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

// record is the header of a record.
type record struct {
	sec             int64
	frac            uint32
	capLen, wireLen uint32
}

func (f *pcapFile) record(b []byte) record {
	le := binary.LittleEndian // and no ByteOrder, whose calls cost more than the rest
	b = b[:pcapRecordLen]
	sec, r := le.Uint32(b), record{0, le.Uint32(b[4:]), le.Uint32(b[8:]), le.Uint32(b[12:])}
	if f.bigEndian {
		sec = bits.ReverseBytes32(sec)
		r = record{0, bits.ReverseBytes32(r.frac), bits.ReverseBytes32(r.capLen), bits.ReverseBytes32(r.wireLen)}
	}
	if r.sec = int64(sec); f.swap == swapAlways || f.swap == swapMaybe && r.capLen > r.wireLen {
		r.capLen, r.wireLen = r.wireLen, r.capLen
	}
	return r
}

// usual implements format. A record is taken here if it and the one behind it
// are plausible, as nearly all are; the other ones are for next.
func (f *pcapFile) usual(b []byte, batch []Packet) (n, used int) {
	if len(b) < f.recordLen {
		return 0, 0
	}
	r := f.record(b)
	if !f.plausible(r, f.doubt.last) {
		return 0, 0
	}
	for n < len(batch) {
		end := used + f.recordLen + int(r.capLen)
		if len(b) < end+f.recordLen {
			break
		}
		behind := f.record(b[end:])
		if !f.plausible(behind, r.sec) {
			break
		}
		f.packet(r, b[used+f.recordLen:end:end], &batch[n])
		r, used = behind, end
		n++
	}
	return n, used
}

// packet sets p from a record and its bytes.
func (f *pcapFile) packet(r record, frame []byte, p *Packet) {
	f.doubt.last = r.sec
	p.Time = time.Unix(r.sec, int64(r.frac)*f.nanoUnit).UTC()
	f.take(p, frame, r.wireLen)
}

// next implements format.
func (f *pcapFile) next(b []byte, atEnd bool, p *Packet) (step, error) {
	if len(b) < f.recordLen {
		return step{need: f.recordLen}, nil
	}
	r := f.record(b)
	if f.doubt.last == noTime {
		f.doubt.last = r.sec
	}
	// Nothing but zeros is what a disk has where a file was not written.
	if r.capLen > maxCapture || r.capLen == 0 && r == (record{}) {
		return step{}, errRecord
	}
	n := f.recordLen + int(r.capLen)
	if len(b) < n {
		return step{need: n}, nil
	}
	if f.doubts(r, b[n:]) {
		switch misread, need := f.misread(r, b, n, atEnd); {
		case need > 0:
			return step{need: need}, nil
		case misread:
			return step{}, errRecord
		}
	}
	f.packet(r, b[f.recordLen:n:n], p)
	return step{used: int64(n), isPacket: true}, nil
}
