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
	family, to := unix.AF_INET, unix.Sockaddr(&unix.SockaddrInet4{Port: int(addr.Port()), Addr: v4(addr.Addr())})
	if !addr.Addr().Unmap().Is4() {
		family = unix.AF_INET6
		to = &unix.SockaddrInet6{Port: int(addr.Port()), Addr: addr.Addr().As16(), ZoneId: zone(addr.Addr().Zone())}
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	// The larger buffer needs a capability, the smaller is what the host allows;
	// neither is worth failing for.
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, sendBuffer) != nil {
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, sendBuffer)
	}
	err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BROADCAST, 1)
	if err == nil {
		err = unix.Connect(fd, to)
	}
	if err != nil {
		unix.Close(fd)
		return os.NewSyscallError("connect", err)
	}
	s.fd, s.addr = fd, addr
	return nil
}

// local returns the address that datagrams come from.
func (s *socket) local() netip.AddrPort {
	sa, _ := unix.Getsockname(s.fd) // can't fail on a socket that is open
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
