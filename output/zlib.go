package output

import "nmsgsensor/encode"

// zlibFill finds out how much goes into a datagram after compression. How large
// a container is shows only when it is compressed: each look tells when to look
// next.
type zlibFill struct {
	next  int           // plain size at which to look
	good  encode.Mark   // so much fits
	marks []encode.Mark // for search
}

// zlibRoom is the most by which compression makes a container longer that fits
// a datagram: its plain length, the head and the end of a zlib stream, and stored
// blocks, the last one empty (RFC 1950, RFC 1951 section 3.2.4).
const zlibRoom = 4 + 6 + 3*5

// compress adds r and sends what is full.
func (u *UDP) compress(r *Record) {
	if u.c.Size(nil)+sequenceRoom+zlibRoom <= u.cfg.MTU {
		u.fill.good = u.c.Mark()
	}
	// Nobody takes what inflates to more.
	if !u.cfg.append(&u.c, r, encode.MaxContainer-sequenceRoom) {
		u.sendFilled(true)
		u.cfg.append(&u.c, r, 0)
	}
	u.sendFilled(false)
}

// sendFilled sends datagrams that are full, and with all also what is left.
func (u *UDP) sendFilled(all bool) {
	f, mtu := &u.fill, u.cfg.MTU
	for u.c.Len() > 0 {
		m := u.c.Mark()
		rest := m.Size()+sequenceRoom < max(f.next, mtu)
		switch {
		case rest && !all:
			return
		case rest && m.Size()+sequenceRoom+zlibRoom <= mtu:
			u.fullAt(m)
			continue
		case !rest:
			m = u.look()
		}
		left := mtu - u.packed(m)
		switch {
		case left < 0:
			u.fullAt(u.search(m))
		case rest || left <= enough(mtu):
			u.fullAt(m)
		default:
			// What is left would hold so much more, at the ratio that was found.
			// One that gets worse costs a search: go seven eighths of the way.
			f.good = m
			f.next = m.Size() + sequenceRoom + max(left*m.Size()/(mtu-left)*7/8, 1)
		}
	}
}

// enough is what may be left of a datagram: little more than a payload.
func enough(mtu int) int { return mtu / 32 }

// look returns the first place that is at least as far as the next look.
func (u *UDP) look() encode.Mark {
	for m := range u.c.Marks() {
		if m.Len() > u.fill.good.Len() && m.Size()+sequenceRoom >= max(u.fill.next, u.cfg.MTU) {
			return m
		}
	}
	return u.c.Mark()
}

// search returns the last place before end, at which it is too much, that fits a
// datagram, or nearly; at least the first payload, which then goes in fragments.
func (u *UDP) search(end encode.Mark) encode.Mark {
	f := &u.fill
	f.marks = f.marks[:0]
	for m := range u.c.Marks() {
		if m.Len() >= end.Len() {
			break
		}
		if m.Len() >= f.good.Len() {
			f.marks = append(f.marks, m)
		}
	}
	if len(f.marks) == 0 {
		return end
	}
	low, high := 0, len(f.marks) // what low is at fits, or is the first
	for high-low > 1 {
		middle := (low + high) / 2
		left := u.cfg.MTU - u.packed(f.marks[middle])
		if left < 0 {
			high = middle
			continue
		}
		if low = middle; left <= enough(u.cfg.MTU) {
			break
		}
	}
	return f.marks[low]
}

// packed is the compressed size of the container up to m, for whomever it is
// sent to.
func (u *UDP) packed(m encode.Mark) int {
	n := len(u.c.SealTo(m, &u.dests[u.next].seq, true))
	if u.cfg.Mirror && len(u.dests) > 1 {
		n += sequenceRoom // the others' numbers compress otherwise
	}
	return n
}

// fullAt sends what is before m. The rest begins another datagram, which will
// hold about as much; but what was compressed very well says little of what comes.
func (u *UDP) fullAt(m encode.Mark) {
	u.fill.next, u.fill.good = min(m.Size()*7/8, 4*u.cfg.MTU), encode.Mark{}
	u.send(m)
	for m := range u.c.Marks() {
		if m.Size()+sequenceRoom+zlibRoom > u.cfg.MTU {
			break
		}
		u.fill.good = m
	}
}
