package capture

import (
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"nmsgsensor/encode"
)

// send gives a Listener these datagrams, in this order, and returns how many
// payloads of each type came, and the counters.
func send(t *testing.T, datagrams [][]byte, want int) (types []uint8, st Stats) {
	t.Helper()
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := conn.LocalAddr().(*net.UDPAddr).AddrPort().Port()
	conn.Close()
	l, err := Listen("127.0.0.1", port, Config{Log: quiet})
	if err != nil {
		t.Skip("the port was taken meanwhile: ", err)
	}
	out, err := net.Dial("udp4", l.conn.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	for _, b := range datagrams {
		if _, err := out.Write(b); err != nil {
			t.Fatal(err)
		}
	}
	last, err := os.ReadFile("../testdata/nmsg/ipconn.nmsg")
	if err != nil {
		t.Fatal(err)
	}
	out.Write(last) // six tuples at the end say that all has come
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	err = l.Run(ctx, func(batch []Packet) error {
		for _, p := range batch {
			typ := uint8(encode.TypePacket)
			if p.Tuple != nil {
				typ = encode.TypeIPConn
			}
			types = append(types, typ)
		}
		if len(types) >= want+6 {
			cancel()
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return types[:len(types)-6], l.Stats()
}

func golddatagrams(t *testing.T, name string) (all [][]byte) {
	t.Helper()
	b, err := os.ReadFile("../testdata/dgrams/" + name + ".dgrams")
	if err != nil {
		t.Fatal(err)
	}
	for len(b) > 0 {
		n := binary.BigEndian.Uint32(b)
		all, b = append(all, b[4:4+n]), b[4+n:]
	}
	return all
}

func TestListenGivesWhatWentIn(t *testing.T) {
	for _, c := range []struct {
		name string
		typ  uint8
		n    int
		bad  uint64
	}{
		{"ipconn_unbuffered", encode.TypeIPConn, 6, 0},
		{"ipconn_buffered_512_zlib", encode.TypeIPConn, 6, 0},
		{"packet_1280", encode.TypePacket, 28, 0},
		{"packet_fragmented_1280", encode.TypePacket, 2, 0},
		{"packet_zlib_fragmented_1280", encode.TypePacket, 3, 0},
		{"headerless_zlib_bug", 0, 0, 2},
	} {
		types, st := send(t, golddatagrams(t, c.name), c.n)
		if !slices.Equal(types, slices.Repeat([]uint8{c.typ}, c.n)) || st.BadContainers != c.bad || st.LostContainers != 0 || st.KernelDropped != 0 {
			t.Errorf("%s: %v, %+v", c.name, types, st)
		}
	}
}

// TestListenCountsLossAsNmsgtoolDoes: a number that comes again or late is, to
// nmsgtool, an implausible gap, which counts nothing; the one behind it starts
// from there.
func TestListenCountsLossAsNmsgtoolDoes(t *testing.T) {
	d := golddatagrams(t, "ipconn_unbuffered")
	for _, c := range []struct {
		name  string
		order []int
		lost  uint64
	}{
		{"in order", []int{0, 1, 2, 3}, 0},
		{"lost", []int{0, 3, 4}, 2},
		{"doubled", []int{0, 1, 1, 2}, 0},
		{"reordered", []int{0, 2, 1, 3}, 2},
	} {
		var datagrams [][]byte
		for _, i := range c.order {
			datagrams = append(datagrams, d[i])
		}
		types, st := send(t, datagrams, len(c.order))
		if len(types) != len(c.order) || st.LostContainers != c.lost {
			t.Errorf("%s: %d payloads, lost %d, want %d", c.name, len(types), st.LostContainers, c.lost)
		}
	}
}

// received describes what these datagrams give, as a Listener takes them.
func received(datagrams [][]byte) (all []string) {
	s := newNMSG("memory", 0, Config{Log: quiet})
	r := inStep(func(batch []Packet) error {
		for i := range batch {
			all = append(all, describe(&batch[i]))
		}
		return nil
	})
	for _, b := range datagrams {
		s.decode(b, netip.AddrPort{}, time.Time{}, r)
	}
	return all
}

// TestEveryDatagramCutAndFlipped at every byte near its ends: what the others give
// comes, and no tuple that was not there.
func TestEveryDatagramCutAndFlipped(t *testing.T) {
	names, _ := filepath.Glob("../testdata/dgrams/*.dgrams")
	if len(names) < 6 {
		t.Fatal(names)
	}
	for _, name := range names {
		datagrams := golddatagrams(t, strings.TrimSuffix(filepath.Base(name), ".dgrams"))
		want := received(datagrams)
		for i, b := range datagrams {
			others := received(slices.Delete(slices.Clone(datagrams), i, i+1))
			broken := slices.Clone(datagrams)
			for _, n := range places(len(b), 300) {
				for how, bad := range map[string][]byte{
					"cut":     b[:n],
					"flipped": slices.Concat(b[:n], []byte{b[n] ^ 0xff}, b[n+1:]),
				} {
					broken[i] = bad
					got := received(broken)
					left := slices.Clone(got)
					for _, s := range others {
						if k := slices.Index(left, s); k >= 0 {
							left = slices.Delete(left, k, k+1)
						} else {
							t.Errorf("%s, datagram %d %s at %d: %s is lost", name, i, how, n, s)
						}
					}
					for _, s := range left {
						if strings.Contains(s, " > ") && !slices.Contains(want, s) {
							t.Errorf("%s, datagram %d %s at %d: %s was not there", name, i, how, n, s)
						}
					}
				}
			}
		}
	}
}
