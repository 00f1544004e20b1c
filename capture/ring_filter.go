package capture

import (
	"errors"
	"fmt"
	"os"

	"github.com/google/gopacket/pcap"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// errUnasked says that a filter can't be compiled now, which is not its fault: the
// interface is down or gone, or the right to open it was given up.
var errUnasked = errors.New("the interface can't be asked how to filter")

// setFilter implements handle. The kernel changes from one filter to the other at
// once.
func (r *ring) setFilter(expr string) error {
	// By a handle of the interface, so that VLAN tags are looked for where the
	// kernel has them.
	p, err := probe(r.name)
	if err != nil {
		return fmt.Errorf("%w: %w", errUnasked, err)
	}
	defer p.Close()
	compiled, err := p.CompileBPFFilter(expr)
	if err != nil {
		return err
	}
	return r.attach(joined(compiled, r.room))
}

// attach has the kernel run a program, which it looks through first.
func (r *ring) attach(program []unix.SockFilter) error {
	if len(program) > unix.BPF_MAXINSNS { // whose length need not fit below
		return fmt.Errorf("attach filter: %d instructions, of which the kernel takes %d", len(program), unix.BPF_MAXINSNS)
	}
	fprog := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	return os.NewSyscallError("attach filter", unix.SetsockoptSockFprog(r.fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &fprog))
}

// joined is a program for the kernel that runs a compiled filter and then, on
// what that accepts, another program.
func joined(compiled []pcap.BPFInstruction, then []bpf.RawInstruction) []unix.SockFilter {
	var program []unix.SockFilter
	for i, in := range compiled {
		if in.Code == unix.BPF_RET|unix.BPF_K && in.K != 0 {
			in = pcap.BPFInstruction{Code: unix.BPF_JMP | unix.BPF_JA, K: uint32(len(compiled) - i - 1)}
		}
		program = append(program, unix.SockFilter{Code: in.Code, Jt: in.Jt, Jf: in.Jf, K: in.K})
	}
	for _, in := range then {
		program = append(program, unix.SockFilter{Code: in.Op, Jt: in.Jt, Jf: in.Jf, K: in.K})
	}
	return program
}

// shortSnaplen has 14 bytes of Ethernet, 60 of IPv4 or 40 of IPv6, and ports.
const shortSnaplen = 80

// roomFor is a program that says how much of a frame goes into the ring: as many
// bytes as the snaplen. Where the choice is ours and nobody wants more than
// headers, of nearly all frames shortSnaplen is enough. The ring then holds twice
// as many of them, and reading it takes a sixth less.
func roomFor(cfg *LiveConfig, link LinkType) []bpf.RawInstruction {
	all := bpf.RetConstant{Val: uint32(cfg.snaplen())}
	program := []bpf.Instruction{all}
	if cfg.Snaplen == 0 && cfg.HeadersOnly && link == linkEthernet {
		// What is loaded must be there: the kernel drops other frames.
		const typeOffset, proto4, next6 = 12, 14 + 9, 14 + 6
		program = []bpf.Instruction{
			bpf.LoadExtension{Num: bpf.ExtLen},
			bpf.JumpIf{Cond: bpf.JumpLessThan, Val: shortSnaplen, SkipTrue: 8},
			bpf.LoadAbsolute{Off: typeOffset, Size: 2},
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: etherIPv6, SkipTrue: 3},
			bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: etherIPv4, SkipTrue: 5},
			bpf.LoadAbsolute{Off: proto4, Size: 1},
			bpf.Jump{Skip: 1},
			bpf.LoadAbsolute{Off: next6, Size: 1},
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.IPPROTO_TCP, SkipTrue: 2},
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.IPPROTO_UDP, SkipTrue: 1},
			all,
			bpf.RetConstant{Val: shortSnaplen},
		}
	}
	raw, err := bpf.Assemble(program)
	if err != nil {
		panic(err) // it is the same every time
	}
	return raw
}
