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
	errLength    = errors.New("the two lengths of a block differ")
	errInterface = errors.New("packet of an interface that is not described")
	errPacket    = errors.New("packet longer than its block")
	errVersion   = errors.New("section of an unknown version")
)

// pcapngFile reads the blocks of a pcapng file.
type pcapngFile struct {
	filter  string
	layers  map[LinkType]layer // one filter for all interfaces of a type
	order   binary.ByteOrder
	ifaces  []iface // of this section
	torn    bool    // bytes of this section were passed over, or it can't be read at all
	trailer uint32  // the length that must stand here, behind a block too long for memory
	credit  int     // bytes that heal may look at in vain
	warn    func(string)
}

// creditPerByte is how many bytes heal may look at in vain for each that was read:
// a file of nothing but broken blocks does not take for ever.
const creditPerByte = 8

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

// newPcapng compiles the filter for the first interface, if that is in head, so
// that an error is one before the first packet.
func newPcapng(head []byte, filter string, warn func(string)) (*pcapngFile, error) {
	f := &pcapngFile{order: binary.LittleEndian, layers: map[LinkType]layer{}, warn: func(string) {}}
	var p Packet
	for len(f.ifaces) == 0 {
		st, err := f.next(head, false, &p)
		if err != nil || st.used == 0 || st.used > int64(len(head)) {
			break
		}
		head = head[st.used:]
	}
	link := linkEthernet
	if len(f.ifaces) > 0 {
		link = f.ifaces[0].link
	}
	if _, err := compileFilter(filter, link); err != nil {
		return nil, err
	}
	return &pcapngFile{filter: filter, order: binary.LittleEndian, layers: map[LinkType]layer{}, credit: lookahead, warn: warn}, nil
}

// usual implements format.
func (f *pcapngFile) usual([]byte, []Packet) (n, used int) { return 0, 0 }

// next implements format.
func (f *pcapngFile) next(b []byte, atEnd bool, p *Packet) (step, error) {
	if f.trailer != 0 {
		return f.behindLongBlock(b)
	}
	if len(b) < minBlock {
		return step{need: minBlock}, nil
	}
	typ := f.order.Uint32(b)
	if typ == blockSection {
		order := sectionOrder(b)
		if order == nil {
			return step{}, errBlock
		}
		f.order = order
	}
	size := f.order.Uint32(b[4:])
	if size > windowSize && size <= maxBlock && !isKnown(typ) {
		f.trailer = size
		return step{used: int64(size) - 4}, nil
	}
	if size >= minBlock && size <= windowSize && uint32(len(b)) < size && !atEnd {
		return step{need: int(size)}, nil
	}
	var damage error
	if !f.lengthsAgree(b, size) {
		if len(b) < lookahead && !atEnd {
			return step{need: 2 * lookahead}, nil
		}
		damage = errLength
		if size = f.heal(b, size, atEnd); size == 0 {
			return step{}, errBlock
		}
	}
	f.credit = min(f.credit+creditPerByte*int(size), lookahead)
	isPacket, err := f.block(typ, b[8:size-4], p)
	if err == nil {
		err = damage
	}
	return step{used: int64(size), isPacket: isPacket}, err
}

// lengthsAgree says whether b begins with a block of that size, by both of its
// lengths.
func (f *pcapngFile) lengthsAgree(b []byte, size uint32) bool {
	return size >= minBlock && uint64(size) <= uint64(len(b)) && f.order.Uint32(b[size-4:]) == size
}

// heal returns the size of a block of which only one length is right, which is
// the one that leads to another block or to the end. It returns 0 if neither
// does.
func (f *pcapngFile) heal(b []byte, size uint32, atEnd bool) uint32 {
	leads := func(n int) bool { return atEnd && n == len(b) || n+minBlock <= len(b) && f.isBlock(b[n:]) }
	if size >= minBlock && uint64(size) <= uint64(len(b)) && leads(int(size)) {
		return size
	}
	reach := min(len(b), f.credit)
	for n := minBlock; n <= reach; n += 4 {
		if f.order.Uint32(b[n-4:]) == uint32(n) && leads(n) {
			return uint32(n)
		}
	}
	f.credit -= reach
	return 0
}

// behindLongBlock looks at the second length of a block that was passed over.
func (f *pcapngFile) behindLongBlock(b []byte) (step, error) {
	if len(b) < 4 {
		return step{need: 4}, nil
	}
	size := f.trailer
	f.trailer = 0
	if f.order.Uint32(b) != size {
		return step{}, errBlock
	}
	return step{used: 4}, nil
}

// isKnown says whether blocks of a type are read, and not passed over.
func isKnown(typ uint32) bool {
	switch typ {
	case blockSection, blockInterface, blockPacket, blockSimple, blockEnhanced:
		return true
	}
	return false
}

// block reads the body of a block and says whether there is a packet in it.
func (f *pcapngFile) block(typ uint32, b []byte, p *Packet) (isPacket bool, err error) {
	switch typ {
	case blockSection:
		return false, f.section(b)
	case blockInterface:
		return false, f.describe(b)
	case blockSimple:
		if len(b) < 4 {
			return false, errPacket
		}
		return f.simple(b[4:], f.order.Uint32(b), p)
	case blockPacket, blockEnhanced:
		return f.packet(typ, b, p)
	}
	return false, nil
}

// section begins a section, whose interfaces are numbered from 0 again. Of
// another major version nothing can be said (section 4.1).
func (f *pcapngFile) section(b []byte) error {
	f.ifaces = f.ifaces[:0]
	f.torn = true
	if len(b) < 16 || f.order.Uint16(b[4:]) != 1 {
		return errVersion
	}
	f.torn = false
	return nil
}

// packet reads the body of an enhanced or obsolete packet block.
func (f *pcapngFile) packet(typ uint32, b []byte, p *Packet) (bool, error) {
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

// simple reads a packet of the first interface. It has no time but the
// interface's offset, and is as long as the interface's snaplen allows.
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
	p.Time = time.Unix(i.offset, 0).UTC()
	i.take(p, b[:capLen:capLen], wireLen)
	return true, nil
}

// describe reads an interface description block. Interfaces are numbered in
// order, so behind bytes that were passed over no number is sure: those that
// come there are not taken, and their packets count as damage.
func (f *pcapngFile) describe(b []byte) error {
	const (
		fixedLen    = 8
		optEnd      = 0
		optTSResol  = 9
		optTSOffset = 14
	)
	if len(b) < fixedLen || len(f.ifaces) >= maxInterfaces {
		f.torn = true
		return errBlock
	}
	if f.torn {
		return nil
	}
	i := iface{layer: f.layerOf(LinkType(f.order.Uint16(b))), snaplen: f.order.Uint32(b[4:]), unit: newUnit(6)}
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

// layerOf returns what goes for all interfaces of a link type. Where it carries no
// IP, or the filter is none for it, that is told once, its packets are counted,
// and the other interfaces go on.
func (f *pcapngFile) layerOf(t LinkType) layer {
	l, known := f.layers[t]
	if !known {
		var err error
		if l, err = newLayer(t, f.filter); err != nil {
			l.decode = nil
			f.warn(err.Error())
		}
		f.layers[t] = l
	}
	return l
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
	f.torn = true
	for i := 0; i+minBlock <= len(b); i++ {
		if !atEnd && len(b)-i < lookahead {
			return i, false
		}
		if f.isBlock(b[i:]) {
			return i, true
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
	case blockNames, blockStats:
	default:
		if !isKnown(typ) {
			return false
		}
	}
	size := order.Uint32(b[4:])
	return size >= minBlock && uint64(size) <= uint64(len(b)) && order.Uint32(b[size-4:]) == size
}
