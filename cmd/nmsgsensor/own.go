package main

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"nmsgsensor/tuple"
)

// ownTraffic is what the sensor itself sends, which it must not capture: it
// would send that too. The kernel's filter saves the work; it comes a moment
// late for a new socket, and passes over VLAN tags, so the stage looks as well.
type ownTraffic struct {
	tuples  atomic.Pointer[[]tuple.Tuple]
	mu      sync.Mutex
	exclude []func(filter string) // of each interface that is captured
}

// maxOwn bounds the tuples that are kept: the last of sockets that were opened
// again and again.
const maxOwn = 256

// opened adds a socket. It has the form of output.UDPConfig.Opened.
func (o *ownTraffic) opened(local, remote netip.AddrPort) {
	o.mu.Lock()
	defer o.mu.Unlock()
	var all []tuple.Tuple
	if old := o.tuples.Load(); old != nil {
		all = slices.Clone(*old)
	}
	all = append(all, tuple.Tuple{
		Src: local.Addr().Unmap().WithZone(""), Dst: remote.Addr().Unmap().WithZone(""),
		SrcPort: local.Port(), DstPort: remote.Port(), Proto: 17,
	})
	all = all[max(len(all)-maxOwn, 0):]
	o.tuples.Store(&all)
	for _, exclude := range o.exclude {
		exclude(ownFilter(all))
	}
}

// filter is a libpcap filter for this traffic as far as it is known now.
func (o *ownTraffic) filter() string {
	if all := o.tuples.Load(); all != nil {
		return ownFilter(*all)
	}
	return ""
}

// keepOut has exclude called whenever the filter is no longer the one that is
// known.
func (o *ownTraffic) keepOut(exclude func(filter string), known string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.exclude = append(o.exclude, exclude)
	if now := o.filter(); now != known {
		exclude(now)
	}
}

// has says whether t is the sensor's own. A nil ownTraffic has none.
func (o *ownTraffic) has(t *tuple.Tuple) bool {
	if o == nil || t.Proto != 17 {
		return false
	}
	all := o.tuples.Load()
	if all == nil {
		return false
	}
	for i := range *all {
		if own := &(*all)[i]; own.DstPort == t.DstPort && *own == *t {
			return true
		}
	}
	return false
}

// ownFilter is a libpcap filter for these tuples. Later fragments, which have no
// ports, are known by their addresses (pcap-filter(7) knows no later fragments
// of IPv6: any fragment is taken). A frame that ends where the filter looks would
// be rejected, "not" or not, and nobody would count it: so it looks only at those
// that have an IP header, behind whatever link header.
func ownFilter(all []tuple.Tuple) string {
	var terms []string
	for _, t := range all {
		ip, fragment := "greater 40 and ip", "ip[6:2] & 0x1fff != 0"
		if t.Src.Is6() {
			ip, fragment = "greater 60 and ip6", "ip6[6] = 44"
		}
		terms = append(terms, fmt.Sprintf("(%s src host %v and dst host %v and ((udp src port %d and udp dst port %d) or %s))",
			ip, t.Src, t.Dst, t.SrcPort, t.DstPort, fragment))
	}
	return strings.Join(terms, " or ")
}
