package output

import (
	"bytes"
	"math/rand/v2"
	"net"
	"testing"

	"golang.org/x/sys/unix"
)

// collector is a socket that keeps all it gets.
type collector struct {
	conn net.PacketConn
	spec Sockspec
}

func listen(t testing.TB) *collector {
	t.Helper()
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	raw, err := conn.(*net.UDPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	// It has to hold all that a test sends: 1 MiB in small datagrams takes much more.
	const want, needs = 16 << 20, 4 << 20
	raw.Control(func(fd uintptr) {
		if unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, want) != nil {
			unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, want)
		}
		if got, _ := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF); got < needs {
			t.Skipf("sockets get %d bytes to receive (net.core.rmem_max), %d are needed", got, needs)
		}
	})
	port := conn.LocalAddr().(*net.UDPAddr).AddrPort().Port()
	return &collector{conn, Sockspec{Host: "127.0.0.1", First: port, Last: port}}
}

// drain returns the datagrams that have come. On loopback, what was sent has.
func (c *collector) drain(t testing.TB) (all [][]byte) {
	raw, err := c.conn.(*net.UDPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 1<<16)
	for {
		var n int
		raw.Read(func(fd uintptr) bool {
			n, _, err = unix.Recvfrom(int(fd), buf, unix.MSG_DONTWAIT)
			return true
		})
		if err != nil {
			return all
		}
		all = append(all, bytes.Clone(buf[:n]))
	}
}

// sinkTo is DialUDP.
func sinkTo(t testing.TB, cfg UDPConfig, specs ...Sockspec) *UDP {
	t.Helper()
	u, err := DialUDP(specs, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestDatagramsAreFilled(t *testing.T) {
	for _, zlib := range []bool{false, true} {
		c := listen(t)
		u := sinkTo(t, UDPConfig{Payloads: Payloads{Kind: IPConn, Zlib: zlib}}, c.spec)
		all := records(t, "nmsg/ipconn.nmsg")
		for i := range 3000 {
			r := all[i%len(all)]
			r.Tuple.SrcPort = uint16(rand.Uint32())
			u.Write(&r)
		}
		u.Close()
		got := c.drain(t)
		for _, b := range got[:len(got)-1] {
			if len(b) < DefaultMTU*9/10 {
				t.Errorf("zlib %v: datagram of %d bytes", zlib, len(b))
			}
		}
	}
}

func TestRefusedDatagramsAreCountedAndTheNextIsTried(t *testing.T) {
	c := listen(t)
	c.conn.Close()
	u := sinkTo(t, UDPConfig{Payloads: Payloads{Kind: IPConn, Single: true}, Log: silent}, c.spec)
	r := records(t, "nmsg/ipconn.nmsg")[0]
	for range 100 {
		u.Write(&r)
		u.Push()
	}
	if n := u.Stats()[0].Errors["refused"]; n < 50 {
		t.Errorf("%d refused", n)
	}
	back, err := net.ListenPacket("udp4", c.conn.LocalAddr().String())
	if err != nil {
		t.Skip("the port was taken meanwhile: ", err)
	}
	defer back.Close()
	u.Write(&r)
	u.Close()
	if got := (&collector{conn: back}).drain(t); len(got) != 1 {
		t.Errorf("%d datagrams after it came back", len(got))
	}
	// What was refused had left.
	if st := u.Stats()[0]; st.Payloads != 101 || st.Dropped != 0 {
		t.Errorf("%+v", st)
	}
}

func TestMirrorAndShare(t *testing.T) {
	for _, mirror := range []bool{false, true} {
		a, b := listen(t), listen(t)
		dead := Sockspec{Host: "nowhere.invalid", First: 9, Last: 9}
		specs := []Sockspec{a.spec, b.spec}
		if mirror {
			specs = append(specs, dead)
		}
		u := sinkTo(t, UDPConfig{Mirror: mirror, Payloads: Payloads{Kind: IPConn, Single: true}, Log: silent}, specs...)
		r := records(t, "nmsg/ipconn.nmsg")[0]
		for range 100 {
			u.Write(&r)
		}
		u.Close()
		want := 50
		if mirror {
			want = 100
			if st := u.Stats()[2]; st.Dropped != 100 || st.Payloads != 0 || st.Errors["unresolved"] != 100 {
				t.Errorf("%+v", st)
			}
		}
		if x, y := len(a.drain(t)), len(b.drain(t)); x != want || y != want {
			t.Errorf("mirror %v: %d and %d", mirror, x, y)
		}
	}
}
