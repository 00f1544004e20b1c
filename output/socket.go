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
	messages [maxQueue]message
	vectors  [maxQueue]unix.Iovec
}

// message is struct mmsghdr of sendmmsg(2).
type message struct {
	header unix.Msghdr
	_      uint32 // msg_len: what the kernel sent of it
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
	to = min(to, from+maxQueue)
	start := 0
	if from > 0 {
		start = ends[from-1]
	}
	for i, end := range ends[from:to] {
		s.vectors[i].Base = &queue[start]
		s.vectors[i].SetLen(end - start)
		s.messages[i].header.Iov = &s.vectors[i]
		s.messages[i].header.SetIovlen(1)
		start = end
	}
	for {
		n, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(s.fd), uintptr(unsafe.Pointer(&s.messages)),
			uintptr(to-from), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
		runtime.KeepAlive(queue)
		switch errno {
		case 0:
			return int(n), nil
		case unix.EINTR:
			continue
		}
		return 0, errno
	}
}

func (s *socket) close() error {
	if s.fd < 0 {
		return nil
	}
	err := unix.Close(s.fd)
	s.fd = -1
	return err
}
