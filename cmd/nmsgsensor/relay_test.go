package main

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// goldenDatagrams are those that nmsgtool sent.
func goldenDatagrams(t *testing.T, name string) (all [][]byte) {
	t.Helper()
	b := golden(t, "dgrams/"+name)
	for len(b) > 0 {
		n := binary.BigEndian.Uint32(b)
		all, b = append(all, b[4:4+n]), b[4+n:]
	}
	return all
}

// sendDatagrams sends them to port 9430, from a port of their own.
func sendDatagrams(t *testing.T, datagrams [][]byte) {
	t.Helper()
	conn, err := net.Dial("udp4", "127.0.0.1:9430")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, b := range datagrams {
		if _, err := conn.Write(b); err != nil {
			t.Fatal(err)
		}
	}
}

// TestGoldenDatagramsGiveWhatWentIn: each file of datagrams, sent to -l, gives
// the bytes that the file gives from which nmsgtool made them.
func TestGoldenDatagramsGiveWhatWentIn(t *testing.T) {
	sources := map[string]struct {
		source   string // "" where there is nothing to read
		payloads int
		bad      int
	}{
		"ipconn_unbuffered.dgrams":           {"nmsg/ipconn.nmsg", 6, 0},
		"ipconn_buffered_512_zlib.dgrams":    {"nmsg/ipconn.nmsg", 6, 0},
		"packet_1280.dgrams":                 {"nmsg/plain.nmsg", 28, 0},
		"packet_fragmented_1280.dgrams":      {"nmsg/jumbo.nmsg", 2, 0},
		"packet_zlib_fragmented_1280.dgrams": {"nmsgtool/incompressible.pcap.nmsg", 3, 0},
		"headerless_zlib_bug.dgrams":         {"", 0, 2},
	}
	files, err := filepath.Glob("../../testdata/dgrams/*")
	if err != nil || len(files) != len(sources) {
		t.Fatal(files, err)
	}
	outputs := func(dir string) []string {
		return []string{"-q", "-w", filepath.Join(dir, "packets"), "-W", filepath.Join(dir, "ipconn"), "-J", filepath.Join(dir, "json")}
	}
	for _, file := range files {
		name := filepath.Base(file)
		t.Run(name, func(t *testing.T) {
			enterNamespace(t)
			c, dir := sources[name], t.TempDir()
			sensor := startSensor(t, append(outputs(dir), "--flush", "1h", "-l", "127.0.0.1/9430")...)
			sendDatagrams(t, goldenDatagrams(t, name))
			sensor.awaits("read", c.payloads)
			if c.bad > 0 {
				sensor.awaits("in.127.0.0.1/9430.bad_containers", c.bad)
			}
			line := sensor.stop(os.Interrupt)
			for _, no := range []string{"lost_", "kernel_dropped", "damaged", "bad_crc", "bad_payload"} {
				if strings.Contains(line, no) && !strings.Contains(line, no+"=0") {
					t.Error(line)
				}
			}
			if c.source == "" {
				return
			}
			want := t.TempDir()
			if out, err := exec.Command("nmsgsensor", append(outputs(want), "../../testdata/"+c.source)...).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			for _, part := range []string{"packets", "ipconn", "json"} {
				g, gerr := os.ReadFile(filepath.Join(dir, part))
				w, werr := os.ReadFile(filepath.Join(want, part))
				if string(g) != string(w) || os.IsNotExist(gerr) != os.IsNotExist(werr) {
					t.Errorf("%s: %d bytes, want %d; %v, %v", part, len(g), len(w), gerr, werr)
				}
			}
		})
	}
}

// TestLossIsCountedAsNmsgtoolCountsIt: the same datagrams, lost, doubled and in
// another order, are given to nmsgtool where there is one.
func TestLossIsCountedAsNmsgtoolCountsIt(t *testing.T) {
	type order struct {
		numbers []int
		lost    int // what nmsgtool 1.3.3 says
	}
	orders := []order{
		{[]int{0, 1, 2, 3, 4, 5}, 0},
		{[]int{2, 3}, 0},
		{[]int{0, 3, 4}, 2},
		{[]int{0, 1, 1, 2}, 0},
		{[]int{0, 2, 1, 3}, 2},
		{[]int{5, 4, 3, 2, 1, 0}, 0},
		{[]int{0, 5, 0, 5}, 8},
	}
	datagrams := goldenDatagrams(t, "ipconn_unbuffered.dgrams")
	_, err := exec.LookPath("nmsgtool")
	if err == nil {
		for range 5 {
			numbers := rand.Perm(len(datagrams))
			orders = append(orders, order{append(numbers, rand.Perm(len(datagrams))...)[:1+rand.IntN(12)], -1})
		}
	}
	for _, o := range orders {
		t.Run(fmt.Sprint(o.numbers), func(t *testing.T) {
			enterNamespace(t)
			var sent [][]byte
			for _, i := range o.numbers {
				sent = append(sent, datagrams[i])
			}
			if err == nil {
				collector := startCollector(t)
				sendDatagrams(t, sent)
				words := strings.Fields(collector.end())
				drops := -1
				if i := slices.Index(words, "container_drops"); i >= 0 && i+1 < len(words) {
					fmt.Sscan(words[i+1], &drops)
				}
				if o.lost == -1 {
					o.lost = drops
				}
				if drops != o.lost || drops < 0 {
					t.Errorf("nmsgtool says %d, not %d: %s", drops, o.lost, words)
				}
			}
			sensor := startSensor(t, "-q", "-o", "/dev/null", "-l", "127.0.0.1/9430")
			sendDatagrams(t, sent)
			sensor.awaits("read", len(sent))
			line := sensor.stop(os.Interrupt) + " "
			lost := 0
			if key := "in.127.0.0.1/9430.lost_containers"; strings.Contains(line, key) {
				lost = number(t, line, key)
			}
			if lost != o.lost {
				t.Errorf("lost %d, want %d: %s", lost, o.lost, line)
			}
		})
	}
}
