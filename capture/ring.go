package capture

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"github.com/google/gopacket/pcap"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// ring is an interface being captured from a packet socket whose ring is shared
// with the kernel, in blocks (packet(7), TPACKET_V3; the kernel's
// Documentation/networking/packet_mmap.rst). A block is handed on as it is, where
// libpcap hands on each packet with a call of C. libpcap still says what the
// interface is, and compiles filters.
type ring struct {
	fd        int // of file
	file      *os.File
	conn      syscall.RawConn // of file
	name      string
	index     int
	room      []bpf.RawInstruction
	mem       []byte // the blocks
	blockSize int
	block     int    // that is being read, or will be next
	next      uint32 // offset of the next packet in it
	left      uint32 // packets of it that are to come
	open      bool   // it is ours
	wentDown  bool   // the interface, at some time
	frames    [batchSize]frame
	touched   byte
	missed    *sysfsCounters
}

// openRing opens an interface; what it carries must be frames that a packet
// socket gives as libpcap does.
func openRing(cfg *LiveConfig) (handle, LinkType, error) {
	p, err := probe(cfg.Interface)
	if err != nil {
		return nil, 0, err
	}
	link := liveLink(p)
	p.Close()
	if link != linkEthernet && link != linkRaw && link != linkRaw12 {
		return nil, 0, fmt.Errorf("%v: is for the libpcap engine alone", link)
	}
	iface, err := net.InterfaceByName(cfg.Interface)
	if err != nil {
		return nil, 0, err
	}
	r := &ring{name: cfg.Interface, index: iface.Index, room: roomFor(cfg, link)}
	r.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, 0, os.NewSyscallError("socket", err)
	}
	r.file, r.missed = os.NewFile(uintptr(r.fd), cfg.Interface), newSysfsCounters(cfg.Interface)
	if r.conn, err = r.file.SyscallConn(); err == nil {
		err = r.configure(cfg, iface)
	}
	if err != nil {
		r.close()
		return nil, 0, err
	}
	return r, link, nil
}

// probe opens an interface with libpcap, to ask it something.
func probe(name string) (*pcap.Handle, error) {
	return activateAs(&LiveConfig{Interface: name, Snaplen: 64, Buffer: 1 << 16}, false)
}

// configure sets up the ring and has the socket belong to the interface.
func (r *ring) configure(cfg *LiveConfig, iface *net.Interface) error {
	if err := unix.SetsockoptInt(r.fd, unix.SOL_PACKET, unix.PACKET_VERSION, unix.TPACKET_V3); err != nil {
		return os.NewSyscallError("packet version", err)
	}
	if iface.Flags&net.FlagLoopback != 0 { // where all comes twice
		if err := unix.SetsockoptInt(r.fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1); err != nil {
			return os.NewSyscallError("ignore outgoing", err)
		}
	}
	if cfg.Promiscuous {
		m := unix.PacketMreq{Ifindex: int32(iface.Index), Type: unix.PACKET_MR_PROMISC}
		if err := unix.SetsockoptPacketMreq(r.fd, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP, &m); err != nil {
			return os.NewSyscallError("promiscuous mode", err)
		}
	}
	if err := r.mapBlocks(cfg.buffer(), cfg.snaplen()); err != nil {
		return err
	}
	if err := r.attach([]unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K}}); err != nil {
		return err
	}
	all := uint16(unix.ETH_P_ALL)
	return os.NewSyscallError("bind", unix.Bind(r.fd, &unix.SockaddrLinklayer{Protocol: all<<8 | all>>8, Ifindex: iface.Index}))
}

// mapBlocks has the kernel make a ring of about so many bytes, and maps it. A
// block takes many packets, so that it is handed over seldom, but is no large
// part of the ring, and holds the longest packet if it can.
func (r *ring) mapBlocks(bytes, snaplen int) error {
	const largest, header = 1 << 20, 4096
	page := os.Getpagesize()
	size := min(max(bytes/16, snaplen+header), bytes/2, largest)
	r.blockSize = max(size/page, 1) * page
	req := unix.TpacketReq3{Block_size: uint32(r.blockSize), Block_nr: uint32(max(bytes/r.blockSize, 2)),
		Frame_size: uint32(page), Retire_blk_tov: uint32(readTimeout / time.Millisecond)}
	req.Frame_nr = req.Block_nr * (req.Block_size / req.Frame_size)
	if err := unix.SetsockoptTpacketReq3(r.fd, unix.SOL_PACKET, unix.PACKET_RX_RING, &req); err != nil {
		return os.NewSyscallError("make a ring", err)
	}
	var err error
	r.mem, err = unix.Mmap(r.fd, 0, r.blockSize*int(req.Block_nr), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	return os.NewSyscallError("mmap", err)
}

// Parts of a block's descriptor: struct tpacket_block_desc and tpacket_hdr_v1 of
// linux/if_packet.h.
const (
	blockStatus  = 8
	blockPackets = 12
	blockFirst   = 16
)

// word returns 32 bits of the block that is at hand.
func (r *ring) word(offset int) *uint32 {
	return (*uint32)(unsafe.Pointer(&r.mem[r.block*r.blockSize+offset]))
}

// read implements handle.
func (r *ring) read() ([]frame, error) {
	if r.open && r.left == 0 {
		r.release()
	}
	for waited := false; !r.open; waited = true {
		switch {
		case r.isReady():
			r.open, r.left, r.next = true, *r.word(blockPackets), *r.word(blockFirst)
			if r.left == 0 {
				r.release()
			}
		case waited:
			return nil, errNothing
		default:
			if err := r.wait(); err != nil {
				return nil, err
			}
		}
	}
	n, touched := 0, byte(0)
	for n < len(r.frames) && r.left > 0 {
		at := r.block*r.blockSize + int(r.next)
		h := (*unix.Tpacket3Hdr)(unsafe.Pointer(&r.mem[at]))
		start := at + int(h.Mac)
		end := start + int(h.Snaplen)
		f := &r.frames[n]
		f.time, f.data, f.wireLen = time.Unix(int64(h.Sec), int64(h.Nsec)).UTC(), r.mem[start:end:end], h.Len
		// Another processor wrote the headers, and they take long to come from
		// it: those of this frame can come while the next one is looked for.
		touched |= r.mem[min(start+24, end-1)] | r.mem[min(start+64, end-1)]
		r.next += h.Next_offset
		r.left--
		n++
	}
	r.touched = touched // else the compiler would leave it out
	return r.frames[:n], nil
}

// isReady says whether the kernel has handed over the block.
func (r *ring) isReady() bool {
	return atomic.LoadUint32(r.word(blockStatus))&unix.TP_STATUS_USER != 0
}

// release gives the block back to the kernel.
func (r *ring) release() {
	atomic.StoreUint32(r.word(blockStatus), unix.TP_STATUS_KERNEL)
	r.open = false
	r.block = (r.block + 1) % (len(r.mem) / r.blockSize)
}

var errGone = errors.New("the interface disappeared")

// wait waits for the kernel to hand over a block. The runtime's poller does that:
// it takes a thread that waits in poll(2) for one that is at work, and looks after
// it fifty thousand times a second.
func (r *ring) wait() error {
	r.file.SetReadDeadline(time.Now().Add(readTimeout))
	var errno int
	var failed error
	err := r.conn.Read(func(fd uintptr) bool {
		if r.isReady() {
			return true
		}
		// This also takes the error away.
		errno, failed = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR)
		return errno != 0 || failed != nil
	})
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
	case err != nil || failed != nil:
		return errors.Join(err, failed)
	case errno == int(unix.ENETDOWN):
		r.wentDown = true
	case errno != 0:
		return unix.Errno(errno)
	}
	// One that went down still has the socket, and may come up again; that it is
	// gone altogether is not told any more.
	if r.wentDown {
		if _, err := net.InterfaceByIndex(r.index); err != nil {
			return errGone
		}
	}
	return nil
}

// dropped implements handle.
func (r *ring) dropped() (kernel, iface uint64) {
	// The kernel begins anew with each call.
	if s, err := unix.GetsockoptTpacketStatsV3(r.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS); err == nil {
		kernel = uint64(s.Drops)
	}
	return kernel, r.missed.grown()
}

func (r *ring) close() {
	if r.mem != nil {
		unix.Munmap(r.mem)
	}
	r.file.Close()
	r.missed.close()
}

// sysfsCounters are what an interface counts as missed, where libpcap takes it
// from too. The files stay open, as opening them for each look was a twentieth of
// what a sensor does at 200,000 packets/s; so they are those of this interface
// whatever name it has.
type sysfsCounters struct {
	files []*os.File
	last  uint64
}

func newSysfsCounters(name string) *sysfsCounters {
	var c sysfsCounters
	for _, counter := range []string{"rx_missed_errors", "rx_fifo_errors"} {
		if f, err := os.Open("/sys/class/net/" + name + "/statistics/" + counter); err == nil {
			c.files = append(c.files, f)
		}
	}
	c.grown()
	return &c
}

// grown returns by how much they grew since the last call. Of an interface that
// is gone, nothing is known.
func (c *sysfsCounters) grown() uint64 {
	sum := uint64(0)
	for _, f := range c.files {
		var b [24]byte // 64 bits in decimal, and a newline
		n, _ := f.ReadAt(b[:], 0)
		v, err := strconv.ParseUint(strings.TrimSpace(string(b[:n])), 10, 64)
		if err != nil {
			return 0
		}
		sum += v
	}
	grown := sum - min(sum, c.last)
	c.last = sum
	return grown
}

func (c *sysfsCounters) close() {
	for _, f := range c.files {
		f.Close()
	}
}
