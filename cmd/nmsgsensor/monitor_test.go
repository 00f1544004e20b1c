package main

import (
	"bytes"
	"log/slog"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcap"

	"nmsgsensor/capture"
	"nmsgsensor/output"
	"nmsgsensor/tuple"
)

func TestLossesAboveTheShareAreToldByStage(t *testing.T) {
	input := func(kind inputKind, read uint64, st capture.Stats) inputReport {
		return inputReport{label: st.Name, kind: kind, tally: tally{read: read}, Stats: st}
	}
	sink := func(payloads, dropped uint64) outputReport {
		return outputReport{label: "10.0.0.1/9430", Stats: output.Stats{Payloads: payloads, Dropped: dropped}}
	}
	eth0 := func(kernel, iface uint64) capture.Stats {
		return capture.Stats{Name: "eth0", KernelDropped: kernel, InterfaceDropped: iface}
	}
	for _, c := range []struct {
		name        string
		before, now report
		share       float64
		want        []string
	}{
		{"nothing was lost",
			report{inputs: []inputReport{input(liveInput, 0, eth0(5, 5))}},
			report{inputs: []inputReport{input(liveInput, 100, eth0(5, 5))}},
			0, nil},
		{"the share itself is not above it",
			report{inputs: []inputReport{input(liveInput, 0, eth0(0, 0))}},
			report{inputs: []inputReport{input(liveInput, 99, eth0(1, 0))}},
			0.01, nil},
		{"ring and interface",
			report{inputs: []inputReport{input(liveInput, 100, eth0(100, 0))}},
			report{inputs: []inputReport{input(liveInput, 190, eth0(110, 30))}},
			0.01, []string{"eth0: packets lost in the kernel's ring: 10 of 100", "eth0: packets lost by the interface: 30 of 120"}},
		{"a socket, and its senders",
			report{inputs: []inputReport{input(listenInput, 0, capture.Stats{Name: "::1/9430"})}},
			report{inputs: []inputReport{input(listenInput, 700, capture.Stats{Name: "::1/9430", Containers: 90, KernelDropped: 10, LostContainers: 30})}},
			0.01, []string{"::1/9430: datagrams lost in the socket's buffer: 10 of 100", "::1/9430: containers lost before they came here: 30 of 120"}},
		{"a destination, all of it",
			report{outputs: []outputReport{sink(50, 0)}},
			report{outputs: []outputReport{sink(50, 7)}},
			0.5, []string{"10.0.0.1/9430: payloads could not leave: 7 of 7"}},
	} {
		var got []string
		for _, l := range losses(&c.before, &c.now, c.share) {
			if l.remedy == "" {
				t.Errorf("%s: no remedy", c.name)
			}
			got = append(got, l.where+": "+l.what+": "+strconv.FormatUint(l.lost, 10)+" of "+strconv.FormatUint(l.of, 10))
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: -want +got:\n%s", c.name, diff)
		}
	}
}

func TestProblems(t *testing.T) {
	now := time.Unix(1000, 0)
	up := outputReport{destination: true}
	down := outputReport{destination: true, Stats: output.Stats{Down: true}}
	for _, c := range []struct {
		name string
		r    report
		want []string
	}{
		{"an interface that is read, no destinations", report{inputs: []inputReport{{label: "eth0", Stats: capture.Stats{Seen: now.Add(-time.Second)}}}}, nil},
		{"an interface that is away", report{inputs: []inputReport{{label: "eth0", Stats: capture.Stats{Seen: now, Down: true}}}}, []string{"interface eth0 is away"}},
		{"one that does not come round", report{inputs: []inputReport{{label: "eth0", Stats: capture.Stats{Seen: now.Add(-time.Minute)}}}}, []string{"input eth0 has stalled"}},
		{"one destination of two", report{outputs: []outputReport{up, down, {}}}, nil},
		{"all destinations", report{outputs: []outputReport{down, down, {}}}, []string{"no destination takes datagrams"}},
	} {
		c.r.when = now
		if diff := cmp.Diff(c.want, problems(&c.r)); diff != "" {
			t.Errorf("%s: -want +got:\n%s", c.name, diff)
		}
	}
}

func TestRepeatedMessagesAreHeldBack(t *testing.T) {
	var out bytes.Buffer
	h := newLog(&out, "text").Handler()
	say := func(after time.Duration, words, object string) string {
		out.Reset()
		r := slog.NewRecord(time.Unix(1000, 0).Add(after), slog.LevelWarn, words, 0)
		r.AddAttrs(slog.String("object", object), slog.Duration("at", after))
		if err := h.Handle(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	for i := range 9 {
		if s := say(time.Duration(i), "bad", "a"); !strings.Contains(s, "msg=bad object=a") || strings.Contains(s, "next") {
			t.Errorf("%d: %q", i, s)
		}
	}
	if s := say(10, "bad", "a"); !strings.Contains(s, "next=") {
		t.Errorf("the last that passes does not say so: %q", s)
	}
	for range 5 {
		if s := say(20*time.Second, "bad", "a"); s != "" {
			t.Errorf("not held back: %q", s)
		}
	}
	if say(20*time.Second, "bad", "b") == "" || say(20*time.Second, "worse", "a") == "" {
		t.Error("another object or other words are held back")
	}
	if s := say(61*time.Second, "bad", "a"); !strings.Contains(s, "repeated=5") {
		t.Errorf("%q", s)
	}
}

// TestMessagesAtOnceAreCountedOnce: as many as there may be pass, and one of them
// says that it is the last.
func TestMessagesAtOnceAreCountedOnce(t *testing.T) {
	var out bytes.Buffer
	log := newLog(&out, "text")
	var saying sync.WaitGroup
	for range 4 * repeatsPassed {
		saying.Go(func() { log.Warn("bad", "object", "a") })
	}
	saying.Wait()
	if passed, last := strings.Count(out.String(), "msg=bad"), strings.Count(out.String(), "next="); passed != repeatsPassed || last != 1 {
		t.Errorf("%d passed, %d were the last: %s", passed, last, &out)
	}
}

// TestLabelsDiffer, also from names that look like them, and are text that the
// metrics can carry.
func TestLabelsDiffer(t *testing.T) {
	l := labels{}
	var got []string
	for _, name := range []string{"eth0", "-", "eth0", "eth1", "eth0", "eth0#2", "stdout", "a\xffb", "a\xfeb"} {
		got = append(got, l.of(name))
	}
	want := []string{"eth0", "stdout", "eth0#2", "eth1", "eth0#3", "eth0#2#2", "stdout#2", "a_b", "a_b#2"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestFilterOfOwnTraffic holds libpcap's view of the filter against frames.
func TestFilterOfOwnTraffic(t *testing.T) {
	var own ownTraffic
	opened := func(local, remote string) {
		own.opened(netip.MustParseAddrPort(local), netip.MustParseAddrPort(remote))
	}
	opened("192.0.2.1:40000", "198.51.100.2:9430")
	opened("[fe80::1%eth0]:40001", "[fe80::2%eth0]:9430")
	opened("[::ffff:192.0.2.1]:40002", "[::ffff:198.51.100.3]:9431")
	bpf, err := pcap.NewBPF(layers.LinkTypeEthernet, 65536, own.filter())
	if err != nil {
		t.Fatal(err, own.filter())
	}
	frame := func(src, dst string, sport, dport uint16, proto byte, offset uint16) []byte {
		s, d := netip.MustParseAddr(src), netip.MustParseAddr(dst)
		var b []byte
		if s.Is4() {
			b = append(make([]byte, 12), 8, 0, 0x45, 0, 0, 28, 0, 0, byte(offset>>8), byte(offset), 64, proto, 0, 0)
		} else {
			b = append(make([]byte, 12), 0x86, 0xdd, 0x60, 0, 0, 0, 0, 8, proto, 64)
		}
		b = append(append(b, s.AsSlice()...), d.AsSlice()...)
		return append(b, byte(sport>>8), byte(sport), byte(dport>>8), byte(dport), 0, 8, 0, 0)
	}
	for _, c := range []struct {
		name  string
		frame []byte
		own   bool
	}{
		{"ours", frame("192.0.2.1", "198.51.100.2", 40000, 9430, 17, 0), true},
		{"a later fragment of ours", frame("192.0.2.1", "198.51.100.2", 1, 2, 17, 185), true},
		{"the answer", frame("198.51.100.2", "192.0.2.1", 9430, 40000, 17, 0), false},
		{"another socket to the collector", frame("192.0.2.1", "198.51.100.2", 40003, 9430, 17, 0), false},
		{"TCP", frame("192.0.2.1", "198.51.100.2", 40000, 9430, 6, 0), false},
		{"another host", frame("192.0.2.9", "198.51.100.2", 40000, 9430, 17, 0), false},
		{"the second socket, IPv6", frame("fe80::1", "fe80::2", 40001, 9430, 17, 0), true},
		{"IPv6 of others", frame("fe80::1", "fe80::3", 40001, 9430, 17, 0), false},
		{"the third socket, an IPv4 address as IPv6", frame("192.0.2.1", "198.51.100.3", 40002, 9431, 17, 0), true},
		{"the third socket's ports to the first's collector", frame("192.0.2.1", "198.51.100.2", 40002, 9431, 17, 0), false},
	} {
		if bpf.Matches(gopacket.CaptureInfo{CaptureLength: len(c.frame), Length: len(c.frame)}, c.frame) != c.own {
			t.Errorf("%s: want %v", c.name, c.own)
		}
	}
	others, err := pcap.NewBPF(layers.LinkTypeEthernet, 65536, "not ("+own.filter()+")")
	if err != nil {
		t.Fatal(err)
	}
	for _, whole := range [][]byte{
		frame("192.0.2.9", "198.51.100.9", 1, 2, 17, 0), frame("fe80::9", "fe80::8", 1, 2, 17, 0), make([]byte, 100),
	} {
		for n := 14; n <= len(whole); n++ {
			if !others.Matches(gopacket.CaptureInfo{CaptureLength: n, Length: n}, whole[:n]) {
				t.Errorf("%x: the first %d bytes are lost", whole, n)
			}
		}
	}
	ours := tuple.Tuple{Src: netip.MustParseAddr("fe80::1"), Dst: netip.MustParseAddr("fe80::2"), SrcPort: 40001, DstPort: 9430, Proto: 17}
	other := ours
	other.SrcPort++
	if !own.has(&ours) || own.has(&other) || (*ownTraffic)(nil).has(&ours) {
		t.Error("the stage takes other traffic for its own")
	}
}
