package tuple_test

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"nmsgsensor/tuple"
)

// join concatenates the fields of a packet.
func join(fields ...[]byte) []byte { return slices.Concat(fields...) }

// v4 is an IPv4 header of 20 bytes with these first bytes of its fields.
func v4(ihl byte, total uint16, frag uint16, proto byte) []byte {
	return []byte{
		4<<4 | ihl, 0, // version, header length; type of service
		byte(total >> 8), byte(total),
		0, 1, // identification
		byte(frag >> 8), byte(frag),
		64, proto,
		0, 0, // checksum
		192, 0, 2, 1,
		198, 51, 100, 2,
	}
}

// v6 is an IPv6 header.
func v6(payload uint16, next byte) []byte {
	return join(
		[]byte{6 << 4, 0, 0, 0, byte(payload >> 8), byte(payload), next, 64},
		netip.MustParseAddr("2001:db8::1").AsSlice(),
		netip.MustParseAddr("2001:db8::2").AsSlice())
}

var (
	ports = []byte{0x04, 0xd2, 0x00, 0x35} // 1234, 53
	rest  = make([]byte, 16)               // of a transport header
	want4 = tuple.Tuple{Src: netip.MustParseAddr("192.0.2.1"), Dst: netip.MustParseAddr("198.51.100.2"), SrcPort: 1234, DstPort: 53, Proto: 17}
	want6 = tuple.Tuple{Src: netip.MustParseAddr("2001:db8::1"), Dst: netip.MustParseAddr("2001:db8::2"), SrcPort: 1234, DstPort: 53, Proto: 17}
)

func TestParse(t *testing.T) {
	ah4 := []byte{17, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1} // (1 + 2) * 4 bytes
	opts := []byte{17, 0, 0, 0, 0, 0, 0, 0}            // (0 + 1) * 8 bytes
	for _, c := range []struct {
		name string
		ip   []byte
		want tuple.Tuple
		err  error
	}{
		{"IPv4 with whole UDP header", join(v4(5, 28, 0, 17), ports, rest[:4]), want4, nil},
		{"IPv4 with the ports alone", join(v4(5, 24, 0, 17), ports), want4, nil},
		{"IPv4 with options", join(v4(6, 28, 0, 17), rest[:4], ports), want4, nil},
		{"IPv4 with AH", join(v4(5, 36, 0, 51), ah4, ports), want4, nil},
		{"IPv4 with AH behind AH", join(v4(5, 48, 0, 51), []byte{51}, ah4[1:], ah4, ports), want4, nil},
		{"IPv4 first fragment", join(v4(5, 24, 0x2000, 17), ports), want4, nil},
		{"IPv4 later fragment", join(v4(5, 24, 0x2001, 17), ports), tuple.Tuple{}, tuple.LaterFragment},
		{"IPv4 last fragment", join(v4(5, 24, 0x1fff, 17), ports), tuple.Tuple{}, tuple.LaterFragment},
		{"IPv4 later fragment of another protocol", join(v4(5, 24, 0x0001, 1), ports), tuple.Tuple{}, tuple.LaterFragment},
		{"IPv4 with do-not-fragment and the reserved bit", join(v4(5, 24, 0xc000, 17), ports), want4, nil},
		{"IPv4 total length 0", join(v4(5, 0, 0, 17), ports), want4, nil},
		{"IPv4 total length 0, cut", join(v4(5, 0, 0, 17), ports[:3]), tuple.Tuple{}, tuple.Truncated},
		{"IPv4 total length past the capture", join(v4(5, 1500, 0, 17), ports), want4, nil},
		{"IPv4 total length past the capture, cut", join(v4(5, 1500, 0, 17), ports[:3]), tuple.Tuple{}, tuple.Truncated},
		{"IPv4 total length below its header", join(v4(5, 19, 0, 17), ports), tuple.Tuple{}, tuple.Malformed},
		{"IPv4 total length below its header, past the capture", v4(15, 59, 0, 17), tuple.Tuple{}, tuple.Malformed},
		{"IPv4 total length that ends in the ports: padding is no port", join(v4(5, 23, 0, 17), ports, rest), tuple.Tuple{}, tuple.Malformed},
		{"IPv4 header length below 5", join(v4(4, 24, 0, 17), ports), tuple.Tuple{}, tuple.Malformed},
		{"IPv4 header alone, a later fragment", v4(5, 20, 1, 17), tuple.Tuple{}, tuple.LaterFragment},
		{"IPv4 header alone, another protocol", v4(5, 20, 0, 1), tuple.Tuple{}, tuple.OtherProtocol},
		{"IPv4 header alone of more, another protocol", v4(5, 99, 0, 1), tuple.Tuple{}, tuple.OtherProtocol},
		{"IPv4 header alone, cut in the options", v4(15, 60, 0, 17), tuple.Tuple{}, tuple.Truncated},
		{"IPv4 options cut", join(v4(8, 100, 0, 17), rest[:11]), tuple.Tuple{}, tuple.Truncated},
		{"IPv4 header cut", v4(5, 28, 0, 17)[:19], tuple.Tuple{}, tuple.Truncated},
		{"IPv4 AH longer than the packet", join(v4(5, 28, 0, 51), []byte{17, 9}, ah4[2:8]), tuple.Tuple{}, tuple.Malformed},
		{"IPv4 AH cut", join(v4(5, 99, 0, 51), ah4[:11]), tuple.Tuple{}, tuple.Truncated},
		{"IPv4 in IPv4 is not entered", join(v4(5, 48, 0, 4), v4(5, 28, 0, 17), ports), tuple.Tuple{}, tuple.OtherProtocol},
		{"IPv6 extension in IPv4 is another protocol", join(v4(5, 36, 0, 60), opts, ports), tuple.Tuple{}, tuple.OtherProtocol},
		{"IPv6", join(v6(4, 17), ports), want6, nil},
		{"IPv6 payload length 0", join(v6(0, 17), ports), want6, nil},
		{"IPv6 payload length past the capture", join(v6(9000, 17), ports), want6, nil},
		{"IPv6 payload length that ends in the ports", join(v6(3, 17), ports), tuple.Tuple{}, tuple.Malformed},
		{"IPv6 header cut", v6(4, 17)[:39], tuple.Tuple{}, tuple.Truncated},
		{"IPv6 hop-by-hop", join(v6(12, 0), opts, ports), want6, nil},
		{"IPv6 hop-by-hop where it may not stand", join(v6(20, 60), []byte{0}, opts[1:], opts, ports), want6, nil},
		{"IPv6 AH", join(v6(16, 51), ah4, ports), want6, nil},
		{"IPv6 first fragment", join(v6(12, 44), []byte{17, 0, 0, 1, 0, 0, 0, 7}, ports), want6, nil},
		{"IPv6 later fragment", join(v6(12, 44), []byte{17, 0, 0, 8, 0, 0, 0, 7}, ports), tuple.Tuple{}, tuple.LaterFragment},
		{"IPv6 fragment with reserved bits", join(v6(12, 44), []byte{17, 255, 0, 6, 0, 0, 0, 7}, ports), want6, nil},
		{"IPv6 mobility, HIP and shim6 in a row", join(v6(28, 135), []byte{139}, opts[1:], []byte{140}, opts[1:], opts, ports), want6, nil},
		{"IPv6 extension cut", join(v6(99, 0), opts[:7]), tuple.Tuple{}, tuple.Truncated},
		{"IPv6 extension cut before its length", join(v6(99, 0), opts[:1]), tuple.Tuple{}, tuple.Truncated},
		{"IPv6 fragment header cut", join(v6(99, 44), opts[:7]), tuple.Tuple{}, tuple.Truncated},
		{"IPv6 extension longer than the packet", join(v6(8, 0), []byte{17, 1}, opts[2:]), tuple.Tuple{}, tuple.Malformed},
		{"IPv6 hop-by-hop and nothing behind it", join(v6(8, 0), []byte{59}, opts[1:]), tuple.Tuple{}, tuple.OtherProtocol},
		{"IPv6 fragment header and nothing behind it", join(v6(8, 44), []byte{59, 0, 0, 1, 0, 0, 0, 7}), tuple.Tuple{}, tuple.OtherProtocol},
		{"IPv6 AH and nothing behind it", join(v6(12, 51), []byte{59}, ah4[1:]), tuple.Tuple{}, tuple.OtherProtocol},
		{"IPv6 ESP", join(v6(4, 50), ports), tuple.Tuple{}, tuple.OtherProtocol},
		{"IPv6 no next header", join(v6(0, 59)), tuple.Tuple{}, tuple.OtherProtocol},
		{"version 5", []byte{5 << 4, 0, 0, 0}, tuple.Tuple{}, tuple.NotIP},
		{"nothing", nil, tuple.Tuple{}, tuple.Truncated},
	} {
		got, err := tuple.Parse(slices.Clip(c.ip))
		if got != c.want || err != c.err {
			t.Errorf("%s: got %v, %v", c.name, got, err)
		}
	}
}

func TestReasonsHaveWords(t *testing.T) {
	seen := map[string]bool{}
	for r := tuple.Reason(0); r <= tuple.NumReasons; r++ {
		seen[r.Error()] = true
	}
	if len(seen) != int(tuple.NumReasons) { // those, and one for all others
		t.Errorf("%v", seen)
	}
}

func TestParseDoesNotAllocate(t *testing.T) {
	good, bad := join(v6(12, 0), []byte{17, 0, 0, 0, 0, 0, 0, 0}, ports), join(v4(5, 24, 0, 1), ports)
	if n := testing.AllocsPerRun(100, func() { tuple.Parse(good); tuple.Parse(bad) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func ExampleParse() {
	packet := []byte{
		0x45, 0, 0, 28, 0, 0, 0x40, 0, 64, 17, 0, 0, // IPv4, UDP
		192, 0, 2, 1, 198, 51, 100, 2, // addresses
		0x04, 0xd2, 0, 53, 0, 8, 0, 0, // UDP: ports, length, checksum
	}
	t, err := tuple.Parse(packet)
	fmt.Println(t.Src, t.SrcPort, t.Dst, t.DstPort, t.Proto, err)
	_, err = tuple.Parse(packet[:22])
	fmt.Println(errors.Is(err, tuple.Truncated), err)
	// Output:
	// 192.0.2.1 1234 198.51.100.2 53 17 <nil>
	// true truncated before the ports
}

func BenchmarkParse(b *testing.B) {
	for _, c := range []struct {
		name string
		ip   []byte
	}{
		{"IPv4", join(v4(5, 24, 0, 17), ports)},
		{"IPv6", join(v6(4, 17), ports)},
		{"IPv6/hop-by-hop", join(v6(12, 0), []byte{17, 0, 0, 0, 0, 0, 0, 0}, ports)},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				tuple.Parse(c.ip)
			}
		})
	}
}

// within runs Parse on a slice that ends at its capacity, between guards, and on
// a tuple that was there before, which an error leaves as it was.
func within(ip []byte) (tuple.Tuple, error) {
	guarded := join([]byte{0xa5}, ip, []byte{0x5a})
	b := guarded[1 : 1+len(ip) : 1+len(ip)]
	got, err := tuple.Parse(b)
	before := want6
	switch again := before.Parse(b); {
	case again != err, err == nil && before != got, err != nil && before != want6:
		panic("not the same in place of another tuple")
	}
	if guarded[0] != 0xa5 || guarded[len(guarded)-1] != 0x5a || !bytes.Equal(b, ip) {
		panic("Parse wrote")
	}
	return got, err
}
