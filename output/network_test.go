package output

import (
	"bytes"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"nmsgsensor/encode"
)

// enterNetwork moves the test to a network of its own, with a loopback and a link
// from va to vb, and sets it up with ip(8).
func enterNetwork(t *testing.T, setup ...string) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root for a network namespace")
	}
	runtime.LockOSThread() // never unlocked: the thread is of no use to others
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Skip("no network namespace to be had: ", err)
	}
	// The ICMP of all of the host's networks is limited together, else: other tests
	// would have none left for this one.
	if err := os.WriteFile("/proc/sys/net/ipv4/icmp_ratemask", []byte("0"), 0); err != nil {
		t.Skip("no say over ICMP: ", err)
	}
	for _, args := range append([]string{
		"link set lo up", "link add va type veth peer name vb", "link set vb up", "link set va up",
	}, setup...) {
		ip(t, args)
	}
}

func ip(t *testing.T, args string) {
	t.Helper()
	if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
		t.Skipf("ip %s: %s", args, out)
	}
}

// silent is where a sink's log goes that nobody reads.
var silent = slog.New(slog.DiscardHandler)

// dialTo returns a sink of single ipconns to these places.
func dialTo(t *testing.T, log *slog.Logger, to ...string) *UDP {
	t.Helper()
	var specs []Sockspec
	for _, s := range to {
		spec, err := ParseSockspec(s)
		if err != nil {
			t.Fatal(err)
		}
		specs = append(specs, spec)
	}
	return sinkTo(t, UDPConfig{Mirror: true, Payloads: Payloads{Kind: IPConn, Single: true}, Log: log}, specs...)
}

// TestHostThatIsNotThereIsTold: the kernel takes datagrams for it, and says only
// later that nobody is there.
func TestHostThatIsNotThereIsTold(t *testing.T) {
	enterNetwork(t, "addr add 192.0.2.1/24 dev va", "addr add 2001:db8::1/64 dev va nodad")
	var log bytes.Buffer
	u := dialTo(t, slog.New(slog.NewTextHandler(&log, nil)), "192.0.2.9/9430", "2001:db8::9/9430")
	r := records(t, "nmsg/ipconn.nmsg")[0]
	told := func(st Stats) bool { return st.Errors["refused"] > 0 }
	n := uint64(0)
	for end := time.Now().Add(20 * time.Second); !told(u.Stats()[0]) || !told(u.Stats()[1]); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%+v", u.Stats())
		}
		u.Write(&r)
		u.Push()
		n++
	}
	for _, st := range u.Stats() {
		if st.Payloads != n || st.Dropped != 0 || !st.Down {
			t.Errorf("%d: %+v", n, st)
		}
	}
	if words := log.String(); strings.Count(words, "no route to host") != 2 || strings.Count(words, "\n") != 2 {
		t.Error(words)
	}
	u.Close()
}

// TestOwnAddressChanges: a sensor gets another one, as from DHCP, and sends on.
func TestOwnAddressChanges(t *testing.T) {
	enterNetwork(t, "addr add 192.0.2.1/24 dev va", "neigh add 192.0.2.9 lladdr 02:00:00:00:00:09 dev va")
	u := dialTo(t, silent, "192.0.2.9/9430")
	r := records(t, "nmsg/ipconn.nmsg")[0]
	send := func(n int) (dropped uint64) {
		before := u.Stats()[0].Dropped
		for range n {
			u.Write(&r)
			u.Push()
		}
		return u.Stats()[0].Dropped - before
	}
	if n := send(10); n != 0 {
		t.Errorf("%d dropped before", n)
	}
	was := u.dests[0].socket.local()
	ip(t, "addr del 192.0.2.1/24 dev va")
	if n := send(10); n != 10 || u.Stats()[0].Errors["unreachable"] != n {
		t.Errorf("%d dropped without an address: %+v", n, u.Stats()[0])
	}
	ip(t, "addr add 192.0.2.1/24 dev va")
	ip(t, "neigh add 192.0.2.9 lladdr 02:00:00:00:00:09 dev va")
	// It is the same address: to the collector it is the same sender, that lost some.
	if n := send(10); n != 0 || u.dests[0].socket.local() != was {
		t.Errorf("%d dropped with the address back, at %v, was %v", n, u.dests[0].socket.local(), was)
	}
	ip(t, "addr del 192.0.2.1/24 dev va")
	ip(t, "addr add 192.0.2.7/24 dev va")
	ip(t, "neigh add 192.0.2.9 lladdr 02:00:00:00:00:09 dev va")
	if n := send(10); n > 1 || u.dests[0].socket.local().Addr() != netip.MustParseAddr("192.0.2.7") {
		t.Errorf("%d dropped with another address", n)
	}
	u.Close()
}

// TestDeadAndFullCollectorsCostTheOthersNothing: of three that get the same, one
// is not there, one is behind a link that takes nearly nothing, so that the
// socket is full, and the third gets everything.
func TestDeadAndFullCollectorsCostTheOthersNothing(t *testing.T) {
	enterNetwork(t, "addr add 192.0.2.1/24 dev va", "neigh add 192.0.2.9 lladdr 02:00:00:00:00:09 dev va")
	if out, err := exec.Command("tc", strings.Fields("qdisc add dev va root tbf rate 8kbit burst 2k limit 100m")...).CombinedOutput(); err != nil {
		t.Skipf("no slow link to be had: %s", out)
	}
	good := listen(t)
	u := dialTo(t, silent, "127.0.0.1/9", "192.0.2.9/9430", good.spec.String())
	r := records(t, "nmsg/ipconn.nmsg")[0]
	const n = 30_000
	var d encode.Decoder
	got := 0
	for i := range n {
		u.Write(&r)
		if i%1000 == 999 {
			u.Flush()
			for _, b := range good.drain(t) {
				d.Decode(b, netip.AddrPort{}, time.Time{}, func(*encode.Payload) error { got++; return nil })
			}
		}
	}
	u.Close()
	if got != n || d.Lost() != 0 {
		t.Errorf("%d of %d, lost %d", got, n, d.Lost())
	}
	all := u.Stats()
	for _, st := range all {
		if st.Payloads+st.Dropped != n {
			t.Errorf("%+v", st)
		}
	}
	if all[0].Errors["refused"] == 0 || all[1].Errors["full"] == 0 || all[2].Dropped > 0 {
		t.Errorf("%+v", all)
	}
}

// TestOneDatagramThatFailsCostsNoOther: of datagrams in one system call, those
// that are too large for the link fail, and the others arrive.
func TestOneDatagramThatFailsCostsNoOther(t *testing.T) {
	enterNetwork(t, "link set lo mtu 1500")
	c := listen(t)
	u := sinkTo(t, UDPConfig{MTU: 8192, Payloads: Payloads{Kind: Packet, Single: true}, Log: silent}, c.spec)
	if err := unix.SetsockoptInt(u.dests[0].socket.fd, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DO); err != nil {
		t.Fatal(err)
	}
	l := law{mtu: 1500}
	const n = 500
	large := 0
	for i := range n {
		size := 100
		if i%3 == 0 || i%7 == 0 {
			size = 2000
			large++
		}
		u.Write(&Record{Time: time.Unix(0, int64(i)), Packet: make([]byte, size)})
	}
	u.Close()
	for _, b := range c.drain(t) {
		l.judge(t, b)
	}
	st := u.Stats()[0]
	if st.Dropped != uint64(large) || st.Errors["too_large"] != st.Dropped || len(l.payloads) != n-large || st.Errors["refused"] != 0 {
		t.Errorf("%d came, %d were too large: %+v", len(l.payloads), large, st)
	}
}

// TestPacketFilterIsNotTriedAgain: what it takes out is lost, and no collector has
// refused it.
func TestPacketFilterIsNotTriedAgain(t *testing.T) {
	enterNetwork(t)
	c := listen(t)
	every := "-A OUTPUT -p udp -m statistic --mode nth --every 2 --packet 0 -j DROP"
	if out, err := exec.Command("iptables", strings.Fields(every)...).CombinedOutput(); err != nil {
		t.Skipf("no packet filter to be had: %s", out)
	}
	u := dialTo(t, silent, c.spec.String())
	r := records(t, "nmsg/ipconn.nmsg")[0]
	const n = 100
	for range n {
		u.Write(&r)
		u.Push()
	}
	u.Close()
	came := len(c.drain(t))
	if st := u.Stats()[0]; came != n/2 || st.Payloads != n/2 || st.Dropped != n/2 || st.Errors["other"] != n/2 || st.Errors["refused"] != 0 {
		t.Errorf("%d came: %+v", came, st)
	}
}

// TestDatagramsOfOneLengthArriveByThemselves: the kernel gets many as one message,
// but where the link takes none of them whole.
func TestDatagramsOfOneLengthArriveByThemselves(t *testing.T) {
	enterNetwork(t, "link set lo mtu 1500")
	for _, size := range []int{40, 1400, 1500, 3000} {
		c := listen(t)
		u := sinkTo(t, UDPConfig{MTU: 8192, Payloads: Payloads{Kind: Packet, Single: true}, Log: silent}, c.spec)
		could := u.dests[0].socket.segments
		const n = 500
		for i := range n {
			u.Write(&Record{Time: time.Unix(0, int64(i)), Packet: make([]byte, size)})
		}
		u.Close()
		l := law{mtu: size + 100}
		for _, b := range c.drain(t) {
			l.judge(t, b)
		}
		if st := u.Stats()[0]; len(l.payloads) != n || !rising(l.payloads) || st.Payloads != n || st.Errors["refused"] != 0 {
			t.Errorf("%d bytes: %d came: %+v", size, len(l.payloads), st)
		}
		if still := u.dests[0].socket.segments; still != (could && size < 1450) {
			t.Errorf("%d bytes: as one message: first %v, at the end %v", size, could, still)
		}
	}
}

// TestBroadcastAndMulticast sends to everyone on a link and to groups, as nmsgtool
// does: with the kernel's time to live of one hop, on the interface of the route or
// of the address's zone.
func TestBroadcastAndMulticast(t *testing.T) {
	enterNetwork(t, "addr add 192.0.2.1/24 brd + dev va", "addr add fe80::1/64 dev va nodad", "route add default dev va")
	va, err := net.InterfaceByName("va")
	if err != nil {
		t.Fatal(err)
	}
	group := func(network, addr string) func() (*net.UDPConn, error) {
		return func() (*net.UDPConn, error) {
			return net.ListenMulticastUDP(network, va, net.UDPAddrFromAddrPort(netip.MustParseAddrPort(addr)))
		}
	}
	for to, open := range map[string]func() (*net.UDPConn, error){
		"192.0.2.255/9430":     func() (*net.UDPConn, error) { return net.ListenUDP("udp4", &net.UDPAddr{Port: 9430}) },
		"255.255.255.255/9431": func() (*net.UDPConn, error) { return net.ListenUDP("udp4", &net.UDPAddr{Port: 9431}) },
		"239.1.2.3/9432":       group("udp4", "239.1.2.3:9432"),
		"ff02::1234%va/9433":   group("udp6", "[ff02::1234%va]:9433"),
	} {
		conn, err := open()
		if err != nil {
			t.Fatal(to, err)
		}
		defer conn.Close()
		u := dialTo(t, silent, to)
		u.Write(&records(t, "nmsg/ipconn.nmsg")[0])
		u.Close()
		conn.SetReadDeadline(time.Now().Add(5 * time.Second))
		buf := make([]byte, 1<<16)
		n, err := conn.Read(buf)
		if err != nil {
			t.Errorf("%s: %v, %+v", to, err, u.Stats()[0])
			continue
		}
		(&law{mtu: DefaultMTU}).judge(t, buf[:n])
	}
}
