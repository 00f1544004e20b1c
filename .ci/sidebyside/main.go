// Command sidebyside is .ci/compare: it runs the same work with nmsgsensor and
// with its peers, in turn, and prints medians and their ratios.
package main

import (
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"nmsgsensor/capture/imix"
)

func main() {
	packets := flag.Int("packets", 2_000_000, "in the capture")
	rounds := flag.Int("rounds", 5, "of each pair")
	flag.Parse()
	dir, err := os.MkdirTemp("", "compare")
	if err == nil {
		defer os.RemoveAll(dir)
		err = compare(dir, *packets, *rounds)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "compare:", err)
		os.Exit(1)
	}
}

// bench is what the jobs are run with.
type bench struct {
	dir     string // of the inputs
	sensor  string // the program
	packets int
	rounds  int
}

func (b *bench) file(name string) string { return filepath.Join(b.dir, name) }

func compare(dir string, packets, rounds int) error {
	b := &bench{dir: dir, sensor: filepath.Join(dir, "nmsgsensor"), packets: packets, rounds: rounds}
	if out, err := exec.Command("go", "build", "-o", b.sensor, "./cmd/nmsgsensor").CombinedOutput(); err != nil {
		return fmt.Errorf("build: %s", out)
	}
	if err := b.inputs(); err != nil {
		return err
	}
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0") // listens, and is not read
	if err != nil {
		return err
	}
	defer conn.Close()
	fmt.Printf("%d processors, %s, %s, %s\n\n", runtime.NumCPU(), version("uname", "-r"), runtime.Version(), version("nmsgtool", "--version"))
	fmt.Println("| job | here | on one processor | peer | ratio | CPU here | CPU peer | resident here |")
	fmt.Println("|---|---|---|---|---|---|---|---|")
	for _, j := range b.jobs(conn.LocalAddr().(*net.UDPAddr).Port) {
		if err := b.row(j); err != nil {
			return fmt.Errorf("%s: %w", j.name, err)
		}
	}
	return b.live()
}

// inputs makes a capture of all packets, and streams of the same and of a part of
// them, which slow peers read.
func (b *bench) inputs() error {
	for name, n := range map[string]int{"all.pcap": b.packets, "part.pcap": b.part()} {
		f, err := os.Create(b.file(name))
		if err != nil {
			return err
		}
		if err := imix.WritePcap(f, n); err != nil {
			return err
		}
		if err := f.Close(); err != nil {
			return err
		}
		stream := name[:len(name)-len("pcap")] + "nmsg"
		if out, err := exec.Command(b.sensor, "-q", "-w", b.file(stream), b.file(name)).CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %s", stream, out)
		}
	}
	return nil
}

func (b *bench) part() int { return min(b.packets, 50_000) }

// job is the same work for both.
type job struct {
	name        string
	ours, peers []string
	n           int // packets that the peer gets
}

func (b *bench) jobs(port int) []job {
	pcap, stream, part := b.file("all.pcap"), b.file("all.nmsg"), b.file("part.nmsg")
	slash := fmt.Sprintf("127.0.0.1/%d", port)
	return []job{
		{name: "pcap file to base:packet", ours: []string{"-q", "-w", "/dev/null", pcap}, peers: nmsgtool("-p", pcap, "-V", "base", "-T", "packet"), n: b.packets},
		{name: "pcap file to ipconn datagrams; the peer to base:packet", ours: []string{"-q", "-s", slash, pcap}, peers: nmsgtool("-p", pcap, "-V", "base", "-T", "packet"), n: b.packets},
		{name: "NMSG file to text and a collector", ours: []string{"-s", slash, stream}, peers: []string{"pynmsgpacket", "-s", slash, part}, n: b.part()},
		{name: "NMSG file to base:packet", ours: []string{"-q", "-w", "/dev/null", stream}, peers: nmsgtool("-r", stream), n: b.packets},
		{name: "pcap file to text", ours: []string{pcap}},
		{name: "pcap file to ipconn datagrams, --unbuffered", ours: []string{"-q", "--unbuffered", "-s", slash, pcap}},
		{name: "pcap file to an ipconn file", ours: []string{"-q", "-W", "/dev/null", pcap}},
		{name: "pcap file to an ipconn file, --zlib", ours: []string{"-q", "-z", "-W", "/dev/null", pcap}},
	}
}

func nmsgtool(args ...string) []string {
	return append([]string{"nmsgtool", "-w", "/dev/null"}, args...)
}

// row runs a job and prints it.
func (b *bench) row(j job) error {
	missing := len(j.peers) == 0 || !isThere(j.peers[0])
	var ours, alone, peers runs
	for range b.rounds {
		command := append([]string{b.sensor}, j.ours...)
		if err := ours.add(command); err != nil {
			return err
		}
		if isThere("taskset") {
			if err := alone.add(append([]string{"taskset", "-c", "0"}, command...)); err != nil {
				return err
			}
		}
		if missing {
			continue
		}
		if err := peers.add(j.peers); err != nil {
			return err
		}
	}
	here := ours.rate(b.packets)
	one := "no taskset on PATH"
	if len(alone.wall) > 0 {
		one = inWords(alone.rate(b.packets))
	}
	cells := []any{j.name, inWords(here), one, "", "", ours.perPacket(b.packets), "", fmt.Sprintf("%d MiB", slices.Max(ours.resident)>>10)}
	switch {
	case !missing:
		there := peers.rate(j.n)
		cells[3], cells[4], cells[6] = inWords(there), fmt.Sprintf("%.1f", here/there), peers.perPacket(j.n)
	case len(j.peers) > 0:
		cells[3] = "no " + j.peers[0] + " on PATH"
	}
	fmt.Printf("| %s | %s | %s | %s | %s | %s | %s | %s |\n", cells...)
	return nil
}

// runs are what the runs of one command took.
type runs struct {
	wall, cpu []time.Duration
	resident  []int64 // KiB
}

func wall(r *runs) []time.Duration { return r.wall }
func cpu(r *runs) []time.Duration  { return r.cpu }

func (r *runs) add(args []string) error {
	var stderr strings.Builder
	cmd := exec.Command(args[0], args[1:]...) // whose standard output is /dev/null
	cmd.Stderr = &stderr
	start := time.Now()
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%v: %w %s", args, err, &stderr)
	}
	r.wall = append(r.wall, time.Since(start))
	state := cmd.ProcessState
	r.cpu = append(r.cpu, state.UserTime()+state.SystemTime())
	r.resident = append(r.resident, state.SysUsage().(*syscall.Rusage).Maxrss)
	return nil
}

func (r *runs) median(of func(*runs) []time.Duration) time.Duration { return median(of(r)) }

// rate is how many of n packets a second they made.
func (r *runs) rate(n int) float64 { return float64(n) / r.median(wall).Seconds() }

func (r *runs) perPacket(n int) string {
	return fmt.Sprintf("%d ns", r.median(cpu).Nanoseconds()/int64(n))
}

func median(all []time.Duration) time.Duration {
	all = slices.Sorted(slices.Values(all))
	return all[len(all)/2]
}

func inWords(perSecond float64) string {
	if perSecond < 1e6 {
		return fmt.Sprintf("%.0f,000/s", perSecond/1e3)
	}
	return fmt.Sprintf("%.2f million/s", perSecond/1e6)
}

func isThere(program string) bool {
	_, err := exec.LookPath(program)
	return err == nil
}

// version is the first line that a command prints of itself.
func version(name string, args ...string) string {
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		return "no " + name
	}
	for i, c := range out {
		if c == '\n' {
			out = out[:i]
			break
		}
	}
	return string(out)
}
