package encode

import (
	"encoding/binary"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// sealedBody is a container of that body.
func sealedBody(flags byte, body string) []byte {
	return patchLength(append([]byte{'N', 'M', 'S', 'G', flags, version, 0, 0, 0, 0}, body...))
}

// TestBodiesInOtherForms: what protobuf allows and no known writer does.
func TestBodiesInOtherForms(t *testing.T) {
	const usual = "\x08\x01\x10\x05\x18\x07\x25\x01\x00\x00\x00\x2a\x01x"
	crc := binary.AppendUvarint(nil, uint64(checksum([]byte("x"))))
	packed := "\x12" + string(rune(len(crc))) + string(crc)
	one := "\x0a" + string(rune(len(usual))) + usual
	for _, c := range []struct {
		name, body string
		payloads   int
		badCRC     int
		err        error
	}{
		{"usual", one, 1, 0, nil},
		{"nothing", "", 0, 0, nil},
		{"a packed CRC", one + packed, 1, 0, nil},
		{"a packed CRC before it", packed + one, 1, 0, nil},
		{"a wrong packed CRC", one + "\x12\x01\x01", 1, 1, nil},
		{"a packed CRC that is cut", one + "\x12\x01\x80", 0, 0, errBody},
		{"more CRCs than payloads", one + string(append([]byte{0x10}, crc...)) + "\x10\x07", 1, 0, nil},
		{"fields in another order", "\x0a\x0e\x2a\x01x\x25\x01\x00\x00\x00\x18\x07\x10\x05\x08\x01", 1, 0, nil},
		{"labels before the rest", "\x0a\x14\x38\x01\x40\x02\x48\x03" + usual, 1, 0, nil},
		{"unknown fields of each kind", "\x78\x05\x79" + strings.Repeat("\x00", 8) + "\x7a\x01z\x7d" + strings.Repeat("\x00", 4) + one, 1, 0, nil},
		{"a vendor of two bytes", "\x0a\x0f\x08\x81\x00\x10\x05\x18\x07\x25\x01\x00\x00\x00\x2a\x01x", 1, 0, nil},
		{"seconds that are too long", "\x0a\x16\x08\x01\x10\x05\x18" + strings.Repeat("\xff", 11) + "\x25\x01\x00\x00\x00", 0, 0, errBody},
		{"no message", "\x0a\x0b\x08\x01\x10\x05\x18\x07\x25\x01\x00\x00\x00", 1, 0, nil},
		{"no vendor", "\x0a\x0c\x10\x05\x18\x07\x25\x01\x00\x00\x00\x2a\x01x", 0, 0, errBody},
		{"no type", "\x0a\x0c\x08\x01\x18\x07\x25\x01\x00\x00\x00\x2a\x01x", 0, 0, errBody},
		{"no seconds", "\x0a\x0c\x08\x01\x10\x05\x25\x01\x00\x00\x00\x2a\x01x", 0, 0, errBody},
		{"no nanoseconds", "\x0a\x09\x08\x01\x10\x05\x18\x07\x2a\x01x", 0, 0, errBody},
		{"no time", "\x0a\x07\x08\x01\x10\x05\x2a\x01x", 0, 0, errBody},
		{"an empty payload", "\x0a\x00", 0, 0, errBody},
		{"a message longer than the payload", "\x0a\x0e\x08\x01\x10\x05\x18\x07\x25\x01\x00\x00\x00\x2a\x7fx", 0, 0, errBody},
		{"a payload longer than the body", "\x0a\x7f", 0, 0, errBody},
		{"a group", one + "\x7b\x7c", 0, 0, errBody},
		{"field number 0", one + "\x00\x00", 0, 0, errBody},
		{"the largest field number", one + "\xf8\xff\xff\xff\x0f\x00", 1, 0, nil},
		{"a larger field number", one + "\x80\x80\x80\x80\x10\x00", 0, 0, errBody},
		{"cut varint", "\x18\x80", 0, 0, errBody},
		{"cut fixed32", "\x7d\x00\x00\x00", 0, 0, errBody},
		{"cut fixed64", "\x79\x00\x00\x00\x00\x00\x00\x00", 0, 0, errBody},
		{"cut length", "\x7a\x80", 0, 0, errBody},
	} {
		got, ok, err := decodeOne(t, sealedBody(0, c.body))
		bad := 0
		for i, p := range got {
			if !ok[i] {
				bad++
			}
			if p.Vendor != 1 || p.Type != 5 || p.Sec != 7 || p.Nsec != 1 || p.Data != "x" && c.name != "no message" ||
				(p.Labels != Labels{}) != strings.HasPrefix(c.name, "labels") {
				t.Errorf("%s: %v", c.name, p)
			}
		}
		if err != c.err || len(got) != c.payloads || bad != c.badCRC {
			t.Errorf("%s: %d payloads, %d bad, %v", c.name, len(got), bad, err)
		}
	}
}

func TestHeadersThatAreRefused(t *testing.T) {
	for header, want := range map[string]error{
		"NMSG\x00\x02\x00\x00\x00": errMagic, "NMSH\x00\x02\x00\x00\x00\x00": errMagic, "NMSG\x00\x01\x00\x00\x00\x00": errVersion,
		"NMSG\x04\x02\x00\x00\x00\x00": errFlags, "NMSG\x00\x02\x00\x00\x00\x01": errLength, "NMSG\x00\x02\x00\x10\x00\x01": errTooLong,
		"NMSG\x00\x02\x00\x10\x00\x00": errLength, "NMSG\x01\x02\x00\x00\x00\x00": errInflate, "NMSG\x02\x02\x00\x00\x00\x00": errFragment,
		"NMSG\x01\x02\x00\x00\x00\x06\x00\x00\x00\x01zz": errInflate,
	} {
		if _, _, err := decodeOne(t, []byte(header)); err != want {
			t.Errorf("%q: %v, want %v", header, err, want)
		}
	}
}

// TestFragmentsThatContradict: a set is given up with what came of it.
func TestFragmentsThatContradict(t *testing.T) {
	const first = "\x08\x07\x10\x00\x18\x01\x22\x01\x0a" // id 7, 0 of 0..1
	for _, c := range []struct {
		name   string
		pieces []string
		err    error
		lost   uint64
	}{
		{"another number of pieces", []string{first, "\x08\x07\x10\x01\x18\x02\x22\x01\x00"}, errFragment, 2},
		{"a wrong CRC", []string{first, "\x08\x07\x10\x01\x18\x01\x22\x01\x00\x28\x01"}, errCRC, 2},
		{"an empty piece", []string{first, "\x08\x07\x10\x01\x18\x01\x22\x00"}, errFragment, 0},
		{"a number past the last", []string{first, "\x08\x07\x10\x02\x18\x01\x22\x01\x00"}, errFragment, 0},
		{"no number", []string{first, "\x08\x07\x18\x01\x22\x01\x00"}, errFragment, 0},
		{"no protobuf", []string{first, "\x08"}, errProto, 0},
		{"doubled", []string{first, first}, nil, 0},
	} {
		var d Decoder
		var err error
		for _, p := range c.pieces {
			err = d.Decode(sealedBody(flagFragment, p), netip.AddrPort{}, time.Time{}, func(*Payload) error { return nil })
		}
		if err != c.err || d.LostFragments() != c.lost {
			t.Errorf("%s: %v, %d lost", c.name, err, d.LostFragments())
		}
	}
	var d Decoder
	at := time.Unix(1000, 0)
	for i, now := range []time.Time{at, at.Add(maxFragmentAge), at.Add(2*maxFragmentAge + 1)} {
		d.Decode(sealedBody(flagFragment, "\x08"+string(rune(i+1))+first[2:]), netip.AddrPort{}, now, nil)
		if i == 1 && d.LostFragments() != 0 {
			t.Errorf("as old as may be: %d lost", d.LostFragments())
		}
	}
	if d.LostFragments() != 2 || len(d.fragments.sets) != 1 {
		t.Errorf("by age: %d lost, %d held", d.LostFragments(), len(d.fragments.sets))
	}
}

func TestLabelsInPlaceOfOthers(t *testing.T) {
	own, set := Labels{1, 2, 3}, Labels{4, 5, 6}
	if own.Or(Labels{}) != own || own.Or(set) != set || own.Or(Labels{Operator: 9}) != (Labels{1, 9, 3}) {
		t.Error(own.Or(Labels{}), own.Or(set), own.Or(Labels{Operator: 9}))
	}
}
