package capture

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Listener is a UDP socket on which NMSG containers come in.
type Listener struct {
	conn *net.UDPConn
	nmsg
	drops wrapping
}

// receiveBuffer is asked for; the kernel may give less. It holds half a second of
// what a busy sensor sends.
const receiveBuffer = 16 << 20

// Listen opens a socket at a host's port. A multicast address is joined on the
// interface that the system chooses.
func Listen(host string, port uint16, cfg Config) (*Listener, error) {
	name := fmt.Sprintf("%s/%d", host, port)
	ip, err := net.ResolveIPAddr("ip", host)
	if err != nil {
		return nil, fmt.Errorf("listen %s: %w", name, err)
	}
	addr := &net.UDPAddr{IP: ip.IP, Zone: ip.Zone, Port: int(port)}
	var conn *net.UDPConn
	if ip.IP.IsMulticast() {
		conn, err = net.ListenMulticastUDP("udp", nil, addr)
	} else {
		conn, err = net.ListenUDP("udp", addr)
	}
	if err != nil {
		return nil, fmt.Errorf("listen %s: %w", name, innermost(err))
	}
	l := &Listener{conn: conn, nmsg: newNMSG(name, 0, cfg)}
	if err := l.configure(); err != nil {
		conn.Close()
		return nil, fmt.Errorf("listen %s: %w", name, err)
	}
	return l, nil
}

// innermost takes off what package net puts around an error: the address, which
// is told already.
func innermost(err error) error {
	var call *os.SyscallError
	if errors.As(err, &call) {
		return call.Err
	}
	return err
}

// configure asks for a large buffer, and for the number of datagrams that did
// not fit into it to come with each that does (SO_RXQ_OVFL, socket(7)).
func (l *Listener) configure() error {
	raw, err := l.conn.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		// The first needs a capability, the second is what the host allows.
		if unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer) != nil {
			unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer)
		}
		failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RXQ_OVFL, 1)
	})
	return errors.Join(err, failed)
}

// Run implements Source.
func (l *Listener) Run(ctx context.Context, fn func([]Packet) error) error {
	defer l.conn.Close()
	defer func() {
		l.decoder.GiveUp()
		l.publish(nil)
	}()
	buf := make([]byte, 1<<16)
	oob := make([]byte, 64)
	r := inStep(fn)
	for ctx.Err() == nil && r.err == nil {
		now := time.Now()
		l.conn.SetReadDeadline(now.Add(readTimeout))
		n, k, _, from, err := l.conn.ReadMsgUDPAddrPort(buf, oob)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			l.received(0, nil, now)
			continue
		case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ENOMEM), errors.Is(err, syscall.ENOBUFS):
			// Of something sent from this port, not of what is read; or the kernel
			// has no room at the moment, and keeps what has come.
			continue
		case err != nil:
			return fmt.Errorf("read %s: %w", l.stats.Name, innermost(err))
		}
		l.received(n, oob[:k], now)
		if bad := l.decode(buf[:n], from, now, r); bad != nil {
			l.log.Warn("bad datagram", "input", l.stats.Name, "from", from, "cause", bad)
		}
	}
	return r.err
}

// received counts the bytes of a datagram, if one came, and what the kernel
// dropped before it.
func (l *Listener) received(n int, oob []byte, now time.Time) {
	lost := uint64(0)
	messages, _ := unix.ParseSocketControlMessage(oob)
	for _, m := range messages {
		if m.Header.Level == unix.SOL_SOCKET && m.Header.Type == unix.SO_RXQ_OVFL && len(m.Data) >= 4 {
			lost = l.drops.add(int(binary.NativeEndian.Uint32(m.Data)))
		}
	}
	l.mu.Lock()
	l.stats.Seen = now
	l.stats.Bytes += uint64(n)
	l.stats.KernelDropped += lost
	l.mu.Unlock()
}
