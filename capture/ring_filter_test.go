package capture

import (
	"math/rand/v2"
	"testing"

	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcap"
	"golang.org/x/net/bpf"

	"nmsgsensor/tuple"
)

// ringFilter returns how many bytes of a frame the kernel puts into the ring.
func ringFilter(t *testing.T, expr string, cfg *LiveConfig, link LinkType) func(frame []byte) int {
	compiled, err := pcap.CompileBPFFilter(layers.LinkTypeEthernet, maxCapture, expr)
	if err != nil {
		t.Fatal(err)
	}
	var program []bpf.Instruction
	for _, in := range joined(compiled, roomFor(cfg, link)) {
		program = append(program, bpf.RawInstruction{Op: in.Code, Jt: in.Jt, Jf: in.Jf, K: in.K}.Disassemble())
	}
	vm, err := bpf.NewVM(program)
	if err != nil {
		t.Fatal(err)
	}
	return func(frame []byte) int {
		n, err := vm.Run(frame)
		if err != nil {
			t.Fatal(err)
		}
		return min(n, len(frame))
	}
}

func TestRoomInTheRing(t *testing.T) {
	frame := func(head string, n int) []byte {
		return append(hexa(t, "020000000002 020000000001 "+head), make([]byte, n)...)
	}
	const v6 = "86dd 60000000 0400"
	for _, c := range []struct {
		name  string
		cfg   LiveConfig
		link  LinkType
		expr  string
		frame []byte
		want  int
	}{
		{"TCP", LiveConfig{HeadersOnly: true}, linkEthernet, "", frame("0800 4500 0400 0000 0000 4006", 990), shortSnaplen},
		{"UDP", LiveConfig{HeadersOnly: true}, linkEthernet, "", frame("0800 4500 0400 0000 0000 4011", 990), shortSnaplen},
		{"TCP6", LiveConfig{HeadersOnly: true}, linkEthernet, "", frame(v6+"06 40", 990), shortSnaplen},
		{"UDP6", LiveConfig{HeadersOnly: true}, linkEthernet, "", frame(v6+"11 40", 990), shortSnaplen},
		{"hop by hop", LiveConfig{HeadersOnly: true}, linkEthernet, "", frame(v6+"00 40", 990), headerSnaplen},
		{"AH", LiveConfig{HeadersOnly: true}, linkEthernet, "", frame("0800 4500 0400 0000 0000 4033", 990), headerSnaplen},
		{"VLAN tag", LiveConfig{HeadersOnly: true}, linkEthernet, "", frame("8100 0001 0800 4500 0400 0000 0000 4006", 990), headerSnaplen},
		{"shortest", LiveConfig{HeadersOnly: true}, linkEthernet, "", frame("0800", 0), 14},
		{"not Ethernet", LiveConfig{HeadersOnly: true}, linkRaw, "", frame("0800 4500 0400 0000 0000 4006", 990), headerSnaplen},
		{"whole packets", LiveConfig{}, linkEthernet, "", frame("0800 4500 0400 0000 0000 4006", 990), 1014},
		{"a snaplen", LiveConfig{HeadersOnly: true, Snaplen: 100}, linkEthernet, "", frame("0800 4500 0400 0000 0000 4006", 990), 100},
		{"filtered", LiveConfig{HeadersOnly: true}, linkEthernet, "tcp or ip6", frame("0800 4500 0400 0000 0000 4006", 990), shortSnaplen},
		{"filtered out", LiveConfig{HeadersOnly: true}, linkEthernet, "tcp or ip6", frame("0800 4500 0400 0000 0000 4011", 990), 0},
	} {
		if got := ringFilter(t, c.expr, &c.cfg, c.link)(c.frame); got != c.want {
			t.Errorf("%s: %d bytes, want %d", c.name, got, c.want)
		}
	}
}

// TestShortSnaplenIsEnough: what is read of a frame is the same as if the ring
// had room for the headers of any.
func TestShortSnaplenIsEnough(t *testing.T) {
	room := ringFilter(t, "", &LiveConfig{HeadersOnly: true}, linkEthernet)
	read := func(frame []byte) (tp tuple.Tuple, skip Reason, err error) {
		ip, skip := decodeEthernet(frame)
		if skip == 0 {
			tp, err = tuple.Parse(ip)
		}
		return tp, skip, err
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	shortened := 0
	for _, name := range captures(t) {
		h, err := pcap.OpenOffline(name)
		if err != nil {
			continue
		}
		for link := h.LinkType(); link == layers.LinkTypeEthernet; {
			frame, _, err := h.ReadPacketData()
			if err != nil {
				break
			}
			for range 200 {
				n := room(frame)
				tp, skip, err := read(frame[:n])
				wantTuple, wantSkip, wantErr := read(frame[:min(len(frame), headerSnaplen)])
				if tp != wantTuple || skip != wantSkip || err != wantErr {
					t.Fatalf("%x: %v %v %v of %d bytes, %v %v %v of all", frame, tp, skip, err, n, wantTuple, wantSkip, wantErr)
				}
				if n == shortSnaplen && n < len(frame) {
					shortened++
				}
				if len(frame) > 0 {
					frame[rnd.IntN(min(len(frame), 100))] = byte(rnd.Uint32() >> rnd.IntN(25))
				}
			}
		}
		h.Close()
	}
	if shortened < 1000 {
		t.Errorf("only %d frames were shortened", shortened)
	}
}
