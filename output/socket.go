package output

import (
	"net"
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// socket is a connected UDP socket that never blocks. It is a bare descriptor,
// because package net waits for room where we drop.
type socket struct {
	fd       int // -1 while it is closed
	addr     netip.AddrPort
	segments bool // the kernel cuts a message into datagrams
	messages [maxQueue]message
	vectors  [maxQueue]unix.Iovec
	controls [maxQueue]control
	carried  [maxQueue]int // datagrams in each message
}

// message is struct mmsghdr of sendmmsg(2).
type message struct {
	header unix.Msghdr
	_      uint32 // msg_len: what the kernel sent of it
}

// control is a control message of UDP_SEGMENT, see cmsg(3) and udp(7).
type control struct {
	header unix.Cmsghdr
	size   uint16 // of each datagram
	_      [6]byte
}

// open connects to addr, in place of where the socket was before.
func (s *socket) open(addr netip.AddrPort) error {
	s.close()
	fd, err := dial(addr)
	if err != nil {
		return err
	}
	// The larger buffer needs a capability, the smaller is what the host allows;
	// neither is worth failing for.
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, sendBuffer) != nil {
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, sendBuffer)
	}
	s.fd, s.addr = fd, addr
	// A kernel that does not know it would send all as one datagram.
	_, err = unix.GetsockoptInt(fd, unix.IPPROTO_UDP, unix.UDP_SEGMENT)
	s.segments = err == nil
	return nil
}

// dial returns a descriptor that is connected to addr.
func dial(addr netip.AddrPort) (int, error) {
	family, to := unix.AF_INET, unix.Sockaddr(&unix.SockaddrInet4{Port: int(addr.Port()), Addr: v4(addr.Addr())})
	level, hear := unix.IPPROTO_IP, unix.IP_RECVERR
	if !addr.Addr().Unmap().Is4() {
		family, level, hear = unix.AF_INET6, unix.IPPROTO_IPV6, unix.IPV6_RECVERR
		to = &unix.SockaddrInet6{Port: int(addr.Port()), Addr: addr.Addr().As16(), ZoneId: zone(addr.Addr().Zone())}
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	for _, option := range [][3]int{
		{unix.SOL_SOCKET, unix.SO_BROADCAST, 1},
		// ip(7): all that the network says of our datagrams, and what the queue
		// of an interface has no room for, is an error; else only that nobody
		// listens is.
		{level, hear, 1},
		// What comes, such errors too, is not read.
		{unix.SOL_SOCKET, unix.SO_RCVBUF, 1},
	} {
		if err == nil {
			err = os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, option[0], option[1], option[2]))
		}
	}
	if err == nil {
		err = os.NewSyscallError("connect", unix.Connect(fd, to))
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// local returns the address that datagrams come from.
func (s *socket) local() netip.AddrPort { return localOf(s.fd) }

// moved says whether datagrams would leave from another address now: a socket
// keeps the one it got, also when the host no longer has it.
func (s *socket) moved() bool {
	fd, err := dial(s.addr)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	return localOf(fd).Addr() != s.local().Addr()
}

func localOf(fd int) netip.AddrPort {
	sa, _ := unix.Getsockname(fd) // can't fail on a socket that is open
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr), uint16(sa.Port))
	}
	return netip.AddrPort{}
}

func v4(a netip.Addr) [4]byte {
	if a = a.Unmap(); a.Is4() {
		return a.As4()
	}
	return [4]byte{}
}

// zone returns the index of an IPv6 zone: an interface's name or number.
func zone(name string) uint32 {
	if i, err := net.InterfaceByName(name); err == nil {
		return uint32(i.Index)
	}
	n, _ := strconv.ParseUint(name, 10, 32)
	return uint32(n)
}

// send sends datagrams from to to-1 of the queue, whose datagram i ends at
// ends[i], in one system call, and returns how many went out. An error is that
// of the datagram behind these.
func (s *socket) send(queue []byte, ends []int, from, to int) (int, error) {
	for {
		k := s.fill(queue, ends, from, min(to, from+maxQueue))
		n, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(s.fd), uintptr(unsafe.Pointer(&s.messages)),
			uintptr(k), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
		runtime.KeepAlive(queue)
		switch {
		case errno == 0:
			sent := 0
			for _, c := range s.carried[:n] {
				sent += c
			}
			return sent, nil
		case errno == unix.EINTR:
		case s.carried[0] > 1 && (errno == unix.EMSGSIZE || errno == unix.EINVAL || errno == unix.EIO):
			// Datagrams that are longer than the link takes, or a device or a
			// transform (IPsec) that can't do it: one by one then.
			s.segments = false
		default:
			return 0, errno
		}
	}
}

// fill makes messages of datagrams from to to-1 and returns how many.
func (s *socket) fill(queue []byte, ends []int, from, to int) (messages int) {
	start := 0
	if from > 0 {
		start = ends[from-1]
	}
	for from < to {
		next := s.run(ends, start, from, to)
		s.vectors[messages].Base = &queue[start]
		s.vectors[messages].SetLen(ends[next-1] - start)
		header := &s.messages[messages].header
		*header = unix.Msghdr{Iov: &s.vectors[messages]}
		header.SetIovlen(1)
		if next > from+1 {
			c := &s.controls[messages]
			*c = control{header: unix.Cmsghdr{Level: unix.IPPROTO_UDP, Type: unix.UDP_SEGMENT}, size: uint16(ends[from] - start)}
			c.header.SetLen(unix.CmsgLen(2))
			header.Control = (*byte)(unsafe.Pointer(c))
			header.SetControllen(unix.CmsgSpace(2))
		}
		s.carried[messages] = next - from
		start, from = ends[next-1], next
		messages++
	}
	return messages
}

// run returns the index behind the datagrams, from from on, that make up one
// message: of one length, but for a last one that may be shorter. The kernel takes
// it down to the device as one, which is most of what sending costs, and cuts it
// up there.
func (s *socket) run(ends []int, start, from, to int) int {
	size, next := ends[from]-start, from+1
	for s.segments && next < to && ends[next-1]-start == (next-from)*size &&
		ends[next]-ends[next-1] <= size && ends[next]-start <= MaxMTU {
		next++
	}
	return next
}

func (s *socket) close() error {
	if s.fd < 0 {
		return nil
	}
	err := unix.Close(s.fd)
	s.fd = -1
	return err
}
