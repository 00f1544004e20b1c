package tuple

import "testing"

func TestLength(t *testing.T) {
	padded := make([]byte, 60)
	copy(padded, []byte{0x45, 0, 0, 28})
	for name, test := range map[string]struct {
		ip   []byte
		want int
	}{
		"nothing":                       {nil, 0},
		"IPv4 cut short":                {[]byte{0x45, 0, 0x05, 0xdc}, 1500},
		"IPv4 with padding":             {padded, 28},
		"IPv4 without a length":         {[]byte{0x45, 0, 0, 0, 1}, 5},
		"IPv4 shorter than its header":  {[]byte{0x45, 0, 0, 19}, 4},
		"IPv4 without its length field": {[]byte{0x45, 0, 5}, 3},
		"IPv4 header alone":             {[]byte{0x45, 0, 0, 20}, 20},
		"IPv6 cut short":                {[]byte{0x60, 0, 0, 0, 0x05, 0xb4}, 1500},
		"IPv6 jumbogram":                {[]byte{0x60, 0, 0, 0, 0, 0, 0}, 7},
		"IPv6 without its length field": {[]byte{0x60, 0, 0, 0, 5}, 5},
		"neither":                       {[]byte{0x50, 0, 5, 5, 5, 5}, 6},
	} {
		if got := Length(test.ip); got != test.want {
			t.Errorf("%s: %d, want %d", name, got, test.want)
		}
	}
}
