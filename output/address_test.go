package output

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// nameServer has all names be at one address. It answers once it has been asked
// so many questions, and each one from then on.
type nameServer struct {
	conn    net.PacketConn
	address atomic.Pointer[netip.Addr]
	needs   int
	asked   atomic.Int64
}

// resolveWith has names resolved by a server of the test.
func resolveWith(t *testing.T, address string, needs int) *nameServer {
	t.Helper()
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &nameServer{conn: conn, needs: needs}
	s.moveTo(address)
	was := net.DefaultResolver
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, conn.LocalAddr().String())
	}}
	done := make(chan struct{}) // closed when the server has ended; nothing is sent
	go func() {
		defer close(done)
		s.serve()
	}()
	t.Cleanup(func() {
		net.DefaultResolver = was
		conn.Close()
		<-done
	})
	return s
}

func (s *nameServer) moveTo(address string) {
	addr := netip.MustParseAddr(address)
	s.address.Store(&addr)
}

func (s *nameServer) serve() {
	var waiting []func()
	buf := make([]byte, 512)
	for {
		n, from, err := s.conn.ReadFrom(buf)
		if err != nil {
			return
		}
		var m dnsmessage.Message
		if m.Unpack(buf[:n]) != nil {
			continue
		}
		waiting = append(waiting, func() { s.answer(m, from) })
		if s.asked.Add(1) < int64(s.needs) {
			continue
		}
		for _, answer := range waiting {
			answer()
		}
		waiting = nil
	}
}

func (s *nameServer) answer(m dnsmessage.Message, to net.Addr) {
	m.Response, m.Additionals = true, nil
	if q := m.Questions[0]; q.Type == dnsmessage.TypeA {
		m.Answers = []dnsmessage.Resource{{
			Header: dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class},
			Body:   &dnsmessage.AResource{A: s.address.Load().As4()},
		}}
	}
	if b, err := m.Pack(); err == nil {
		s.conn.WriteTo(b, to)
	}
}

// TestNameIsResolvedAgainWhenItFails: a collector moves to another address.
func TestNameIsResolvedAgainWhenItFails(t *testing.T) {
	names := resolveWith(t, "127.0.0.1", 0)
	there, err := net.ListenPacket("udp4", "127.0.0.2:0")
	if err != nil {
		t.Skip("no second loopback address: ", err)
	}
	defer there.Close()
	u := dialTo(t, silent, fmt.Sprintf("collector.example/%d", there.LocalAddr().(*net.UDPAddr).Port))
	defer u.Close()
	r := records(t, "nmsg/ipconn.nmsg")[0]
	u.Write(&r)
	u.Push()
	asked := names.asked.Load()
	names.moveTo("127.0.0.2")
	buf := make([]byte, 1<<16)
	for end := time.Now().Add(20 * time.Second); ; {
		u.Write(&r)
		u.Push()
		there.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
		if n, _, err := there.ReadFrom(buf); err == nil {
			(&law{mtu: DefaultMTU}).judge(t, buf[:n])
			break
		}
		if time.Now().After(end) {
			t.Fatalf("asked %d times, then %d: %+v", asked, names.asked.Load(), u.Stats())
		}
	}
	if u.Stats()[0].Errors["refused"] == 0 {
		t.Errorf("%+v", u.Stats())
	}
}

// TestNameIsResolvedAtOnceWhenItHadWorked: for how long it failed before does not
// count any more.
func TestNameIsResolvedAtOnceWhenItHadWorked(t *testing.T) {
	names := resolveWith(t, "127.0.0.1", 0)
	var a address
	a.start("collector.example", 9430)
	defer a.stop()
	asks := func() bool {
		before := names.asked.Load()
		a.again()
		a.done.Wait()
		return names.asked.Load() > before
	}
	a.done.Wait()
	a.next, a.wait = time.Now().Add(time.Hour), longestWait
	if asks() {
		t.Error("asked before it was time")
	}
	if a.settled(); !asks() {
		t.Error("not asked at once")
	}
}

// TestNamesAreResolvedTogether: a server that answers nobody costs the start one
// timeout, not one for each name.
func TestNamesAreResolvedTogether(t *testing.T) {
	var to []string
	for i := range 10 {
		to = append(to, fmt.Sprintf("collector%d.example/9430", i))
	}
	resolveWith(t, "127.0.0.1", len(to))
	u := dialTo(t, silent, to...)
	defer u.Close()
	for _, d := range u.dests {
		if d.socket.fd < 0 {
			t.Error(d.name, d.address.err)
		}
	}
}
