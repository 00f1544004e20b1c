package output

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
	"strconv"
)

// appendAddr appends an address as inet_ntop(3) writes it, which nmsgtool uses.
// That is RFC 5952 but for the IPv4-compatible addresses, ::192.0.2.1.
func appendAddr(b []byte, a *netip.Addr) []byte {
	if a.Is4() {
		v := a.As4()
		b = append(appendSmall(b, uint(v[0])), '.')
		b = append(appendSmall(b, uint(v[1])), '.')
		b = append(appendSmall(b, uint(v[2])), '.')
		return appendSmall(b, uint(v[3]))
	}
	v := a.As16()
	if a.Is4In6() {
		return a.AppendTo(b)
	}
	if isIPv4Compatible(&v) {
		return netip.AddrFrom4([4]byte(v[12:])).AppendTo(append(b, "::"...))
	}
	return appendAddr6(b, &v)
}

// appendAddr6 appends an address in groups (RFC 5952 section 4).
func appendAddr6(b []byte, v *[16]byte) []byte {
	from, to := 8, 8 // of the longest run of zeros, if it has more than one
	for i := 0; i < 8; i++ {
		start := i
		for i < 8 && v[2*i] == 0 && v[2*i+1] == 0 {
			i++
		}
		if i-start > max(to-from, 1) {
			from, to = start, i
		}
	}
	for i := 0; i < 8; i++ {
		if i == from {
			b = append(b, "::"...)
			if i = to; i == 8 {
				break
			}
		} else if i > 0 && i != to {
			b = append(b, ':')
		}
		high, low := uint32(hex[v[2*i]]), uint32(hex[v[2*i+1]])
		zeros := bits.LeadingZeros16(binary.BigEndian.Uint16(v[2*i:])|1) / 4
		b = binary.LittleEndian.AppendUint32(b, (high|low<<16)>>(8*zeros))[:len(b)+4-zeros]
	}
	return b
}

// hex has the two digits of each byte, as a little-endian number.
var hex = func() (hex [256]uint16) {
	const digits = "0123456789abcdef"
	for i := range hex {
		hex[i] = uint16(digits[i>>4]) | uint16(digits[i&15])<<8
	}
	return hex
}()

// isIPv4Compatible says whether the first six of the eight groups are 0 and the
// seventh is not.
func isIPv4Compatible(v *[16]byte) bool {
	return [12]byte(v[:12]) == [12]byte{} && (v[12] != 0 || v[13] != 0)
}

func appendHex8(b []byte, v uint32) []byte {
	const digits = "0123456789abcdef"
	for shift := 28; shift >= 0; shift -= 4 {
		b = append(b, digits[v>>shift&15])
	}
	return b
}

func appendPort(b []byte, v uint16) []byte {
	if v < 1000 {
		return appendSmall(b, uint(v))
	}
	return appendThree(appendSmall(b, uint(v/1000)), uint(v%1000))
}

// small has the decimals of the numbers below 1000, as a little-endian number, and
// how many they are in the byte behind; three has them with the zeros before.
// Numbers of one, two and three digits come as they like: where there is nothing
// to decide, the processor decides nothing wrong.
var small, three = func() (small, three [1000]uint32) {
	for i := range small {
		n := len(strconv.Itoa(i))
		three[i] = uint32('0'+i/100) | uint32('0'+i/10%10)<<8 | uint32('0'+i%10)<<16
		small[i] = three[i]>>(8*(3-n)) | uint32(n)<<24
	}
	return small, three
}()

// appendSmall appends a number below 1000.
func appendSmall(b []byte, v uint) []byte {
	digits := small[v]
	return binary.LittleEndian.AppendUint32(b, digits)[:len(b)+int(digits>>24)]
}

// appendThree appends a number below 1000 as three digits.
func appendThree(b []byte, v uint) []byte {
	return binary.LittleEndian.AppendUint32(b, three[v])[:len(b)+3]
}
