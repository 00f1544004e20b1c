package capture

import (
	"encoding/hex"
	"slices"
	"strings"
	"testing"
)

// hexa is the bytes of hexadecimal text, in which "V4" and "V6" stand for IP
// packets.
func hexa(t testing.TB, s string) []byte {
	t.Helper()
	const (
		v4 = "45000024000100004011000 0c0000201c6336402 04d2162e00100000 0000000000000000"
		v6 = "6000000000101140 20010db8000000000000000000000001 20010db8000000000000000000000002 14e914e900100000 0000000000000000"
	)
	s = strings.NewReplacer("V4", v4, "V6", v6).Replace(s)
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		t.Fatal(err, s)
	}
	return b
}

const (
	tuple4 = "udp 192.0.2.1 1234 > 198.51.100.2 5678"
	tuple6 = "udp 2001:db8::1 5353 > 2001:db8::2 5353"

	// The parts of IEEE 802.11 headers: duration, addresses, sequence number.
	dur       = "0000"
	threeAddr = "020000000001 020000000002 020000000003"
	fourth    = "020000000004"
	snap4     = "aaaa03000000 0800 V4"
	snap6     = "aaaa03000000 86dd V6"
)

// linkFrames has frames of the link types that testdata/pcap has no files of.
var linkFrames = []struct {
	name  string
	link  LinkType
	frame string
	want  string
}{
	{"IPoIB of the list, IPv4", linkIPoIB, "0800 0000 V4", tuple4},
	{"IPoIB of the list, IPv6", linkIPoIB, "86dd 0000 V6", tuple6},
	{"IPoIB of files, IPv4", linkIPoIB, strings.Repeat("00", 20) + "80000550 fe80000000000000 0010e000664ab451 0800 0000 V4", tuple4},
	{"IPoIB of files, IPv6, with a sender", linkIPoIB, "00000048 fe80000000000000 f452140300790001 80000550 fe80000000000000 0010e000664ab451 86dd 0000 V6", tuple6},
	{"IPoIB of files, with a global route header", linkIPoIB, "60" + strings.Repeat("00", 39) + "0800 0000 V4", tuple4},
	{"IPoIB of files, ARP", linkIPoIB, strings.Repeat("00", 40) + "0806 0000 0020", "not_ip"},
	{"IPoIB of files, cut", linkIPoIB, strings.Repeat("00", 40) + "0800 00", "link_cut"},
	{"IPoIB, cut", linkIPoIB, "0800 00", "link_cut"},

	{"802.11 data", linkWiFi, "0802" + dur + threeAddr + "0000" + snap4, tuple4},
	{"802.11 data, IPv6", linkWiFi, "0801" + dur + threeAddr + "0000" + snap6, tuple6},
	{"802.11 QoS data", linkWiFi, "8801" + dur + threeAddr + "0000 0000" + snap4, tuple4},
	{"802.11 QoS data with HT control", linkWiFi, "8881" + dur + threeAddr + "0000 0000 00000000" + snap4, tuple4},
	{"802.11 four addresses", linkWiFi, "0803" + dur + threeAddr + "0000" + fourth + snap4, tuple4},
	{"802.11 QoS data, four addresses", linkWiFi, "8803" + dur + threeAddr + "0000" + fourth + "0000" + snap4, tuple4},
	{"802.11 QoS data in a mesh", linkWiFi, "8803" + dur + threeAddr + "0000" + fourth + "0001" + snap4, "not_ip"},
	{"802.11 aggregate", linkWiFi, "8801" + dur + threeAddr + "0000 8000" + snap4, "not_ip"},
	{"802.11 protected", linkWiFi, "0842" + dur + threeAddr + "0000" + snap4, "not_ip"},
	{"802.11 first fragment", linkWiFi, "0806" + dur + threeAddr + "1000" + snap4, tuple4},
	{"802.11 later fragment", linkWiFi, "0802" + dur + threeAddr + "1100" + snap4, "not_ip"},
	{"802.11 null data", linkWiFi, "4801" + dur + threeAddr + "0000", "not_ip"},
	{"802.11 QoS null", linkWiFi, "c801" + dur + threeAddr + "0000 0000", "not_ip"},
	{"802.11 beacon", linkWiFi, "8000" + dur + threeAddr + "0000" + snap4, "not_ip"},
	{"802.11 acknowledgement", linkWiFi, "d400" + dur + "020000000001", "not_ip"},
	{"802.11 ARP", linkWiFi, "0802" + dur + threeAddr + "0000 aaaa03000000 0806 0001", "not_ip"},
	{"802.11 cut in the header", linkWiFi, "0802" + dur + "020000000001", "link_cut"},
	{"802.11 cut in SNAP", linkWiFi, "0802" + dur + threeAddr + "0000 aaaa0300", "link_cut"},

	{"radiotap, empty", linkRadiotap, "0000 0800 00000000 0802" + dur + threeAddr + "0000" + snap4, tuple4},
	{"radiotap, flags behind a time", linkRadiotap, "0000 1100 03000000 0000000000000000 10 0802" + dur + threeAddr + "0000" + snap4, tuple4},
	{"radiotap, padding", linkRadiotap, "0000 0900 02000000 20 8801" + dur + threeAddr + "0000 0000 0000" + snap4, tuple4},
	{"radiotap, padding that is none", linkRadiotap, "0000 0900 02000000 20 0802" + dur + threeAddr + "0000" + snap4, tuple4},
	{"radiotap, padding, two present words", linkRadiotap, "0000 0d00 02000080 00000000 20 8801" + dur + threeAddr + "0000 0000 0000" + snap4, tuple4},
	{"radiotap, padding, time aligned", linkRadiotap, "0000 1900 03000080 00000000 00000000 0000000000000000 20 8801" + dur + threeAddr + "0000 0000 0000" + snap4, tuple4},
	{"radiotap of another version", linkRadiotap, "0100 0800 00000000 0802" + dur + threeAddr + "0000" + snap4, tuple4},
	{"radiotap, too short", linkRadiotap, "0000 0700 00000000 0802", "link_bad"},
	{"radiotap, cut", linkRadiotap, "0000 4000 00000000 0802", "link_cut"},

	{"PPI, Ethernet", linkPPI, "0000 0800 01000000 020000000001 020000000002 0800 V4", tuple4},
	{"PPI with a field, 802.11", linkPPI, "0000 1000 69000000 0200 0400 00000000 0802" + dur + threeAddr + "0000" + snap4, tuple4},
	{"PPI, raw", linkPPI, "0000 0800 65000000 V6", tuple6},
	{"PPI in PPI", linkPPI, "0000 0800 c0000000 0000 0800 65000000 V6", "other_link"},
	{"PPI, USB", linkPPI, "0000 0800 bd000000 00", "other_link"},
	{"PPI, too short", linkPPI, "0000 0700 01000000", "link_bad"},
	{"PPI, cut", linkPPI, "0000 1000 01000000", "link_cut"},

	{"NFLOG, IPv4", linkNFLOG, "02 00 0000 0800 0100 08000200 2800 0900 V4", tuple4},
	{"NFLOG, IPv6", linkNFLOG, "0a 00 0000 3c00 0900 V6", tuple6},
	{"NFLOG, a field of odd length", linkNFLOG, "02 00 0000 0500 0a00 00000000 2800 0900 V4", tuple4},
	{"NFLOG of a big-endian host", linkNFLOG, "02 00 0000 0008 0001 08000200 0028 0009 V4", tuple4},
	{"NFLOG, ARP", linkNFLOG, "03 00 0000 2800 0900 V4", "not_ip"},
	{"NFLOG of another version", linkNFLOG, "02 01 0000 2800 0900 V4", "link_bad"},
	{"NFLOG, field without a length", linkNFLOG, "02 00 0000 0000 0900 V4", "link_bad"},
	{"NFLOG without a packet", linkNFLOG, "02 00 0000 0800 0100 08000200", "link_cut"},

	{"PPP with direction", linkPPPWithDir, "00 ff03 0021 V4", tuple4},
	{"PPP with direction, short protocol", linkPPPWithDir, "01 57 V6", tuple6},
	{"PPP with direction, cut", linkPPPWithDir, "01", "link_cut"},
	{"PPP, MPLS", linkPPP, "ff03 0281 00001140 V4", tuple4},
	{"PPP, a Cisco address", linkPPP, "0f00 0800 V4", tuple4},
	{"PPP_HDLC, a Cisco multicast address", linkPPPHDLC, "8f00 86dd V6", tuple6},
	{"PPP_HDLC, a Cisco address, keepalive", linkPPPHDLC, "8f00 8035 00000002", "not_ip"},
	{"PPP_HDLC, a Cisco address, cut", linkPPPHDLC, "0f00 08", "link_cut"},
	{"C_HDLC, a PPP address", linkCHDLC, "ff03 0021 V4", tuple4},
	{"C_HDLC multicast", linkCHDLC, "8f00 86dd V6", tuple6},
	{"raw of OpenBSD", linkRaw14, "V6", tuple6},
	{"NULL of Linux", linkNull, "0a000000 V6", tuple6},
	{"NULL of NetBSD, other byte order", linkNull, "00000018 V6", tuple6},
	{"LOOP of macOS, other byte order", linkLoop, "1e000000 V6", tuple6},
	{"SLL, a GRE tunnel's device", linkSLL, "0000 030a 0000 0000000000000000 0800 V4", tuple4},
	{"SLL, LLC", linkSLL, "0000 0001 0006 0000000000000000 0004" + snap4, tuple4},
	{"SLL, netlink", linkSLL, "0000 0338 0006 0000000000000000 0800 V4", "not_ip"},
	{"SLL2, two tags", linkSLL2, "88a8 0000 00000001 0001 00 06 0000000000000000 0001 8100 0002 0800 V4", tuple4},
}

func TestFramesOfEachLinkType(t *testing.T) {
	tried := map[LinkType]bool{linkEthernet: true, linkRaw: true, linkRaw12: true, linkIPv4: true, linkIPv6: true}
	for _, c := range linkFrames {
		tried[c.link] = true
		frame := hexa(t, c.frame)
		var p Packet
		l, err := newLayer(c.link, "")
		if err != nil {
			t.Fatal(err)
		}
		l.take(&p, frame, uint32(len(frame)))
		if got := describe(&p); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
		// Cut at every byte it is the same, or says that it is cut.
		for n := range frame {
			l.take(&p, frame[:n:n], uint32(len(frame)))
			got := strings.TrimSuffix(describe(&p), ", cut")
			if !slices.Contains([]string{c.want, "link_cut", "truncated"}, got) {
				t.Errorf("%s cut at %d: %s", c.name, n, got)
			}
			p = Packet{}
		}
	}
	for link := range linkLayers {
		if !tried[link] {
			t.Errorf("no frames of %v", link)
		}
	}
}

// TestTagsThatTheKernelLeft: on "any", some kernels tell the protocol behind two
// tags and take one off.
func TestTagsThatTheKernelLeft(t *testing.T) {
	const sll2 = " 0000 00000001 0001 03 06 0200000000020000 "
	for frame, want := range map[string]string{
		"0800" + sll2 + "0002 0800 V4":           tuple4,
		"86dd" + sll2 + "0002 86dd V6":           tuple6,
		"0800" + sll2 + "0002 86dd V6":           "not IP",
		"0800" + sll2 + "0002 0800":              "not IP",
		"0800" + sll2 + "V4":                     tuple4,
		"0800" + sll2 + "6000 0800 V4":           tuple4,
		"86dd" + sll2 + "0002 0800 V4":           "not IP",
		"0800" + sll2 + "0002 8100 0003 0800 V4": "not IP",
	} {
		var p Packet
		l, err := newLayer(linkSLL2, "")
		if err != nil {
			t.Fatal(err)
		}
		b := hexa(t, frame)
		if l.take(&p, b, uint32(len(b))); describe(&p) != want {
			t.Errorf("%s: %s, want %s", frame, describe(&p), want)
		}
	}
}
