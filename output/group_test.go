package output

import (
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestBroadcastAndMulticast sends to everyone on a link and to groups, as nmsgtool
// does: with the kernel's time to live of one hop, on the interface of the route or
// of the address's zone.
func TestBroadcastAndMulticast(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root for a network namespace")
	}
	runtime.LockOSThread() // never unlocked: the thread is of no use to others
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Skip("no network namespace to be had: ", err)
	}
	for _, args := range []string{
		"link set lo up", "link add va type veth peer name vb", "link set vb up", "link set va up",
		"addr add 192.0.2.1/24 brd + dev va", "addr add fe80::1/64 dev va nodad", "route add default dev va",
	} {
		if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
			t.Skipf("ip %s: %s", args, out)
		}
	}
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
		spec, err := ParseSockspec(to)
		if err != nil {
			t.Fatal(err)
		}
		u, err := DialUDP([]Sockspec{spec}, UDPConfig{Payloads: Payloads{Kind: IPConn}})
		if err != nil {
			t.Fatal(err)
		}
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
