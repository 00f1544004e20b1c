package tuple

import "encoding/binary"

// Length returns how long the packet in ip is, captured or not, as its header
// says; where that says nothing of use, as of a packet longer than the field can
// say, the length of ip.
func Length(ip []byte) int {
	switch {
	case len(ip) >= 4 && ip[0]>>4 == 4:
		if n := int(binary.BigEndian.Uint16(ip[2:])); n >= 20 {
			return n
		}
	case len(ip) >= 6 && ip[0]>>4 == 6:
		if n := int(binary.BigEndian.Uint16(ip[4:])); n != 0 {
			return 40 + n
		}
	}
	return len(ip)
}
