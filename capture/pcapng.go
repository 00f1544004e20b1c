package capture

import (
	"encoding/binary"
	"errors"
	"math/bits"
	"time"
)

// Block types and sizes (draft-ietf-opsawg-pcapng, sections 3.1 and 4).
const (
	blockSection   = 0x0a0d0d0a // reads the same in both byte orders
	blockInterface = 1
	blockPacket    = 2 // obsolete
	blockSimple    = 3
	blockNames     = 4
	blockStats     = 5
	blockEnhanced  = 6

	byteOrderMagic = 0x1a2b3c4d
	minBlock       = 12
	// maxBlock is libpcap's bound. Longer ones are taken for damage.
	maxBlock = 16 << 20
)

var (
	errBlock     = errors.New("no sane block")
	errInterface = errors.New("packet of an interface that is not described")
	errPacket    = errors.New("packet longer than its block")
)

// pcapngFile reads the blocks of a pcapng file.
type pcapngFile struct {
	filter string
	order  binary.ByteOrder
	ifaces []iface // of this section
	warn   func(string)
}

// iface is an interface of a section.
type iface struct {
	layer
	snaplen uint32
	unit    unit
	offset  int64 // seconds
}

// maxInterfaces bounds what a hostile section can make us hold.
const maxInterfaces = 1 << 16

func isPcapng(head []byte) bool {
	if len(head) < minBlock || binary.BigEndian.Uint32(head) != blockSection {
		return false
	}
	return sectionOrder(head) != nil
}

// sectionOrder returns the byte order of the section header block b.
func sectionOrder(b []byte) binary.ByteOrder {
	switch uint32(byteOrderMagic) {
	case binary.LittleEndian.Uint32(b[8:]):
		return binary.LittleEndian
	case binary.BigEndian.Uint32(b[8:]):
		return binary.BigEndian
	}
	return nil
}

// newPcapng tries the filter on Ethernet, so that one that can't be right is an
// error before the first packet.
func newPcapng(filter string, warn func(string)) (*pcapngFile, error) {
	if _, err := compileFilter(filter, linkEthernet); err != nil {
		return nil, err
	}
	return &pcapngFile{filter: filter, order: binary.LittleEndian, warn: warn}, nil
}

// next implements format.
func (f *pcapngFile) next(b []byte, p *Packet) (step, error) {
	if len(b) < minBlock {
		return step{need: minBlock}, nil
	}
	typ := f.order.Uint32(b)
	order := f.order
	if typ == blockSection {
		if order = sectionOrder(b); order == nil {
			return step{}, errBlock
		}
	}
	size := order.Uint32(b[4:])
	if size < minBlock || size > maxBlock || size%4 != 0 {
		return step{}, errBlock
	}
	switch typ {
	case blockSection, blockInterface, blockPacket, blockSimple, blockEnhanced:
	default:
		return step{used: int64(size)}, nil
	}
	if size > windowSize {
		return step{}, errBlock
	}
	if len(b) < int(size) {
		return step{need: int(size)}, nil
	}
	if order.Uint32(b[size-4:]) != size {
		return step{}, errBlock
	}
	f.order = order
	isPacket, err := f.block(typ, b[8:size-4], p)
	if err != nil {
		return step{}, err
	}
	return step{used: int64(size), isPacket: isPacket}, nil
}

// block reads the body of a block and says whether there is a packet in it.
func (f *pcapngFile) block(typ uint32, b []byte, p *Packet) (isPacket bool, err error) {
	switch typ {
	case blockSection:
		f.ifaces = f.ifaces[:0]
		return false, nil
	case blockInterface:
		return false, f.describe(b)
	case blockSimple:
		if len(b) < 4 {
			return false, errPacket
		}
		return f.simple(b[4:], f.order.Uint32(b), p)
	}
	const fixedLen = 20
	if len(b) < fixedLen {
		return false, errPacket
	}
	index := f.order.Uint32(b)
	if typ == blockPacket {
		index = uint32(f.order.Uint16(b)) // the drops count is behind it
	}
	ticks := uint64(f.order.Uint32(b[4:]))<<32 | uint64(f.order.Uint32(b[8:]))
	capLen, wireLen := f.order.Uint32(b[12:]), f.order.Uint32(b[16:])
	if capLen > uint32(len(b)-fixedLen) || capLen > maxCapture {
		return false, errPacket
	}
	if uint64(index) >= uint64(len(f.ifaces)) {
		return false, errInterface
	}
	i := &f.ifaces[index]
	sec, nsec := i.unit.split(ticks)
	p.Time = time.Unix(int64(sec)+i.offset, nsec).UTC()
	end := fixedLen + capLen
	i.take(p, b[fixedLen:end:end], wireLen)
	return true, nil
}

// simple reads a packet of the first interface. It has no time, and is as long
// as the interface's snaplen allows.
func (f *pcapngFile) simple(b []byte, wireLen uint32, p *Packet) (bool, error) {
	if len(f.ifaces) == 0 {
		return false, errInterface
	}
	i := &f.ifaces[0]
	capLen := wireLen
	if i.snaplen != 0 {
		capLen = min(capLen, i.snaplen)
	}
	if capLen > uint32(len(b)) || capLen > maxCapture {
		return false, errPacket
	}
	p.Time = time.Unix(0, 0).UTC()
	i.take(p, b[:capLen:capLen], wireLen)
	return true, nil
}

// describe reads an interface description block.
func (f *pcapngFile) describe(b []byte) error {
	const (
		fixedLen    = 8
		optEnd      = 0
		optTSResol  = 9
		optTSOffset = 14
	)
	if len(b) < fixedLen || len(f.ifaces) >= maxInterfaces {
		return errBlock
	}
	i := iface{snaplen: f.order.Uint32(b[4:]), unit: newUnit(6)}
	var err error
	if i.layer, err = newLayer(LinkType(f.order.Uint16(b)), f.filter); err != nil {
		// Its packets are counted; the other interfaces go on.
		i.layer.decode = nil
		f.warn(err.Error())
	}
	for b = b[fixedLen:]; len(b) >= 4; {
		code, n := f.order.Uint16(b), int(f.order.Uint16(b[2:]))
		if b = b[4:]; n > len(b) || code == optEnd {
			break
		}
		switch {
		case code == optTSResol && n == 1:
			i.unit = newUnit(b[0])
		case code == optTSOffset && n == 8:
			i.offset = int64(f.order.Uint64(b))
		}
		b = b[min((n+3)&^3, len(b)):]
	}
	f.ifaces = append(f.ifaces, i)
	return nil
}

// unit is the resolution of timestamps: ticks a second.
type unit struct{ perSecond uint64 }

// newUnit reads if_tsresol: a negative power of 10, or of 2 with the upper bit
// set. One that is finer than 64 bits can count has ticks of no length to speak
// of, and is taken for the finest.
func newUnit(resol byte) unit {
	const finest2, finest10 = 63, 19
	if n := resol & 0x7f; resol&0x80 != 0 {
		return unit{1 << min(n, finest2)}
	}
	u := unit{1}
	for range min(resol, finest10) {
		u.perSecond *= 10
	}
	return u
}

// split returns whole seconds and nanoseconds, cut off and not rounded.
func (u unit) split(ticks uint64) (sec uint64, nsec int64) {
	sec, rest := ticks/u.perSecond, ticks%u.perSecond
	hi, lo := bits.Mul64(rest, 1e9)
	ns, _ := bits.Div64(hi, lo, u.perSecond)
	return sec, int64(ns)
}

// resync implements format: it looks for a block of a known type whose two
// lengths agree.
func (f *pcapngFile) resync(b []byte, atEnd bool) (int, bool) {
	for i := 0; i+minBlock <= len(b); i++ {
		if f.isBlock(b[i:]) {
			return i, true
		}
		if !atEnd && len(b)-i < windowSize/2 {
			return i + 1, false
		}
	}
	return len(b), false
}

func (f *pcapngFile) isBlock(b []byte) bool {
	order := f.order
	switch typ := order.Uint32(b); typ {
	case blockSection:
		if order = sectionOrder(b); order == nil {
			return false
		}
	case blockInterface, blockPacket, blockSimple, blockNames, blockStats, blockEnhanced:
	default:
		return false
	}
	size := order.Uint32(b[4:])
	return size >= minBlock && size%4 == 0 && uint64(size) <= uint64(len(b)) && order.Uint32(b[size-4:]) == size
}
