package capture

import (
	"bytes"
	"slices"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcap"

	"nmsgsensor/tuple/guard"
)

// noIP stands for the place of a packet where there is none, unsure for one that
// nobody knows.
const (
	noIP   = -1
	unsure = -2
)

// peerLayers are the first layers of the link types that gopacket knows. Behind
// radiotap it moves bytes, so that no place can be told.
var peerLayers = map[LinkType]gopacket.LayerType{
	linkNull:     layers.LayerTypeLoopback,
	linkEthernet: layers.LayerTypeEthernet,
	linkPPP:      layers.LayerTypePPP,
	linkPPPHDLC:  layers.LayerTypePPP,
	linkWiFi:     layers.LayerTypeDot11,
	linkLoop:     layers.LayerTypeLoopback,
	linkSLL:      layers.LayerTypeLinuxSLL,
}

// placeByPeer is where in a frame gopacket sees the outermost IP header.
func placeByPeer(link LinkType, frame []byte) int {
	first, known := peerLayers[link]
	if !known {
		return unsure
	}
	// Some of its decoders can panic on bad bytes (recovered by default).
	frame = slices.Clip(slices.Clone(frame)) // to which some of them write
	p := gopacket.NewPacket(frame, first, gopacket.DecodeOptions{NoCopy: true})
	for _, l := range p.Layers() {
		switch l := l.(type) {
		case *layers.IPv4, *layers.IPv6:
			if l.LayerContents() == nil {
				return unsure // cut inside
			}
			// Layers are parts of the frame, which ends at its capacity.
			return len(frame) - cap(l.LayerContents())
		case *layers.Ethernet, *layers.Dot1Q, *layers.MPLS, *layers.PPPoE, *layers.PPP, *layers.LLC, *layers.SNAP,
			*layers.Loopback, *layers.LinuxSLL, *layers.Dot11, *layers.Dot11Data, *layers.Dot11DataQOSData:
		case *layers.ARP, *layers.EAPOL, *layers.LinkLayerDiscovery, *layers.CiscoDiscovery, *layers.Dot11MgmtBeacon:
			return noIP
		default:
			return unsure
		}
	}
	return unsure
}

// linkSeen is a frame as we and others see it.
type linkSeen struct {
	link  LinkType
	frame []byte
	skip  Reason
	at    int  // of the packet, or noIP
	peer  int  // gopacket's
	hasIP bool // libpcap's
}

func isWiFi(t LinkType) bool { return t == linkWiFi || t == linkRadiotap || t == linkPPI }

// linkDifferences are the cases in which we rightly see something else than
// gopacket or libpcap, each with the document that decides.
var linkDifferences = []struct {
	document string
	applies  func(linkSeen) bool
}{
	{"pcap-linktype(7): the link header is cut or bad; libpcap looks at the protocol alone", func(s linkSeen) bool {
		return (s.skip == LinkCut || s.skip == LinkBad) && s.peer == unsure
	}},
	{"IEEE 802.11-2020 sections 9.2.4 and 9.3.2: encrypted, later fragment, A-MSDU or mesh", func(s linkSeen) bool {
		return isWiFi(s.link) && s.skip == NotIP
	}},
	{"RFC 1547 section 4.3.1: addresses of C_HDLC; 0xff is PPP's (RFC 1662 section 3.1)", func(s linkSeen) bool {
		return s.link == linkCHDLC && s.frame[0] != 0x0f && s.frame[0] != 0x8f
	}},
	{"RFC 1661 section 6.6: address and control of PPP may be left out, which libpcap does not know", func(s linkSeen) bool {
		at := map[LinkType]int{linkPPP: 0, linkPPPHDLC: 0, linkPPPWithDir: 1}
		i, isPPP := at[s.link]
		return isPPP && !bytes.HasPrefix(s.frame[i:], []byte{0xff, 3})
	}},
	{"LINKTYPE_LINUX_SLL, _SLL2: the device's type says whether the protocol is an ethertype", func(s linkSeen) bool {
		return (s.link == linkSLL || s.link == linkSLL2) && s.skip == NotIP
	}},
	{"packet(7): Linux tells the protocol behind all VLAN tags, and takes the outermost alone off; gopacket takes the tag for IP", func(s linkSeen) bool {
		return (s.link == linkSLL || s.link == linkSLL2) && s.peer == headerOf[s.link] && s.at == s.peer+4
	}},
	{"RFC 1042: what is not AA-AA-03 is no SNAP; another OUI than 0 has no ethertype", func(s linkSeen) bool {
		for i := range s.frame[1:] { // gopacket leaves the lowest bits of both out
			if s.frame[i]|1 == 0xab && s.frame[i+1]|1 == 0xab && !bytes.HasPrefix(s.frame[i:], []byte{0xaa, 0xaa, 3, 0, 0, 0}) {
				return s.skip == NotIP && s.peer >= 0
			}
		}
		return false
	}},
	{"RFC 2516 section 4: version and type 1, code 0", func(s linkSeen) bool {
		return s.skip == LinkBad && s.peer >= 0
	}},
	{"RFC 2516 section 4: ethertype 0x8863 is discovery", func(s linkSeen) bool {
		return s.skip == NotIP && s.peer >= 0 && bytes.Contains(s.frame, []byte{0x88, 0x63})
	}},
	{"IEEE 802.3-2018 section 3.2.6: 1501 to 1535 is neither a length nor an ethertype", func(s linkSeen) bool {
		return s.link == linkEthernet && s.skip == NotIP && s.frame[12] == 5 && s.frame[13] > 0xdc
	}},
}

func linkDifference(s linkSeen) string {
	for _, d := range linkDifferences {
		if d.applies(s) {
			return d.document
		}
	}
	return ""
}

// headerOf has the link types with a header of one length, and that length:
// where IP stands right behind it, libpcap has to see it as well.
var headerOf = map[LinkType]int{
	linkEthernet: 14, linkSLL: 16, linkSLL2: 20, linkCHDLC: 4, linkRaw: 0, linkRaw12: 0, linkRaw14: 0,
}

// FuzzLink holds the link decoders against gopacket, which says where the
// packet is, and libpcap, which says whether there is one. What is found is the
// rest of the frame, and nothing is allocated.
func FuzzLink(f *testing.F) {
	types := []LinkType{linkPPI}
	for t := range linkLayers {
		types = append(types, t)
	}
	slices.Sort(types)
	for _, c := range linkFrames {
		f.Add(uint16(slices.Index(types, c.link)), hexa(f, c.frame))
	}
	addFrames(f, types)
	filters := map[LinkType]*filter{}
	for _, t := range types {
		// libpcap cannot tell for all.
		filters[t], _ = compileFilter("ip or ip6", t)
	}
	f.Fuzz(func(t *testing.T, which uint16, b []byte) {
		link := types[int(which)%len(types)]
		frame := slices.Clip(b)
		decode := decoderFor(link)
		guard.Bytes(t, b, func(b []byte) { decode(b) })
		ip, skip := decode(frame)
		s := linkSeen{link: link, frame: frame, skip: skip, at: noIP, peer: placeByPeer(link, frame)}
		if ip != nil {
			s.at = len(frame) - cap(ip)
		}
		switch {
		case (ip == nil) != (skip != 0):
			t.Fatalf("%v: %d bytes and reason %v", link, len(ip), skip)
		case link != linkNFLOG && ip != nil && !bytes.HasSuffix(frame, ip):
			t.Fatalf("%v: not the rest of the frame", link)
		case s.peer != unsure && s.peer != s.at && linkDifference(s) == "":
			t.Fatalf("%v: %d, %v; gopacket says %d", link, s.at, skip, s.peer)
		}
		guard.NoAllocation(t, func() { decode(frame) })
		if filters[link] == nil || len(frame) == 0 {
			return
		}
		s.hasIP = filters[link].match(frame, uint32(len(frame)))
		n, fixed := headerOf[link]
		if (s.hasIP && s.at == noIP || fixed && s.at == n && !s.hasIP) && linkDifference(s) == "" {
			t.Fatalf("%v: %d, %v; libpcap says %v", link, s.at, skip, s.hasIP)
		}
	})
}

// addFrames adds the frames of the captures.
func addFrames(f *testing.F, types []LinkType) {
	const long = 300
	for _, name := range captures(f) {
		h, err := pcap.OpenOffline(name)
		if err != nil {
			continue
		}
		link := LinkType(h.LinkType())
		if link == linkSLL2&0xff {
			link = linkSLL2
		}
		for range 100 {
			frame, _, err := h.ReadPacketData()
			if err != nil {
				break
			}
			if i := slices.Index(types, link); i >= 0 && len(frame) < long {
				f.Add(uint16(i), frame)
			}
		}
		h.Close()
	}
}
