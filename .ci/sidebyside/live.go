package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	namespace  = "nmsgcompare"
	liveRate   = 200_000 // packets a second
	livePacket = 1_000_000
)

// live captures on a veth pair in a network namespace: CPU time a packet at a
// steady rate, and what is lost at the highest.
func (b *bench) live() error {
	for _, program := range []string{"ip", "tcpreplay"} {
		if !isThere(program) {
			fmt.Printf("\nlive: no %s on PATH\n", program)
			return nil
		}
	}
	if out, err := exec.Command("ip", "netns", "add", namespace).CombinedOutput(); err != nil {
		fmt.Printf("\nlive: %s", out)
		return nil
	}
	defer exec.Command("ip", "netns", "del", namespace).Run()
	for _, args := range []string{"link set lo up", "link add name tx type veth peer name rx", "link set dev tx up", "link set dev rx up"} {
		if out, err := exec.Command("ip", append([]string{"-n", namespace}, strings.Fields(args)...)...).CombinedOutput(); err != nil {
			return fmt.Errorf("ip %s: %s", args, out)
		}
	}
	for _, port := range []int{9430, 9440} {
		conn, err := listenInside(port)
		if err != nil {
			return err
		}
		defer conn.Close()
	}
	fmt.Printf("\n| live at %d packets/s | CPU a packet |\n|---|---|\n", liveRate)
	tuples := []string{b.sensor, "-q", "-i", "rx", "-s", "127.0.0.1/9430", "--engine"}
	commands := [][]string{
		slices.Concat(tuples, []string{"libpcap"}), slices.Concat(tuples, []string{"afpacket"}),
		slices.Concat(tuples, []string{"afpacket", "--mtu", "8192"}),
	}
	if isThere("nmsgtool") {
		commands = append(commands, []string{"nmsgtool", "-i", "rx", "-V", "base", "-T", "packet", "-w", "/dev/null"})
	}
	took := make([][]time.Duration, len(commands))
	for range b.rounds {
		for i, args := range commands {
			cpu, _, err := b.capture(args, "--pps="+strconv.Itoa(liveRate))
			if err != nil {
				return err
			}
			took[i] = append(took[i], cpu)
		}
	}
	for i, args := range commands {
		fmt.Printf("| %s | %d ns |\n", strings.Join(append([]string{filepath.Base(args[0])}, args[1:]...), " "), median(took[i]).Nanoseconds()/livePacket)
	}
	for _, engine := range []string{"libpcap", "afpacket"} {
		all := []string{b.sensor, "--engine", engine, "-q", "-i", "rx", "-s", "127.0.0.1/9430", "--packet-socket", "127.0.0.1/9440",
			"-w", "/dev/null", "-W", "/dev/null", "-J", "/dev/null"}
		_, said, err := b.capture(all, "--topspeed")
		if err != nil {
			return err
		}
		fmt.Printf("\nall outputs but text, %s, as fast as tcpreplay sends:\n%s", engine, said)
	}
	return nil
}

// listenInside opens a socket of the namespace. It is not read: who reads on this
// machine has the kernel of the sender wake it.
func listenInside(port int) (conn net.PacketConn, err error) {
	ns, err := os.Open("/run/netns/" + namespace)
	if err != nil {
		return nil, err
	}
	defer ns.Close()
	var inside sync.WaitGroup
	inside.Go(func() {
		runtime.LockOSThread() // never unlocked: the thread ends here
		if err = unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err == nil {
			conn, err = net.ListenPacket("udp4", "127.0.0.1:"+strconv.Itoa(port))
		}
	})
	inside.Wait()
	return conn, err
}

// capture runs a command in the namespace while packets come, and returns the CPU
// time that it took for them, and what it and tcpreplay said of them.
func (b *bench) capture(args []string, speed string) (cpu time.Duration, said string, err error) {
	var stderr strings.Builder
	cmd := exec.Command("ip", append([]string{"netns", "exec", namespace}, args...)...)
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		return 0, "", err
	}
	defer cmd.Process.Kill() // nmsgtool hears no signal while nothing comes
	time.Sleep(time.Second)  // there is nothing to see of when it captures
	before := schedule(cmd.Process.Pid)
	loops := strconv.Itoa(max(livePacket/b.part(), 1))
	out, err := exec.Command("ip", "netns", "exec", namespace, "tcpreplay", "-q", "-K", "-i", "tx", speed, "--loop="+loops, b.file("part.pcap")).CombinedOutput()
	if err != nil {
		return 0, "", fmt.Errorf("tcpreplay: %s", out)
	}
	time.Sleep(time.Second) // until the last block is read
	cpu = schedule(cmd.Process.Pid) - before
	if cpu <= 0 {
		return 0, "", errors.New(stderr.String())
	}
	cmd.Process.Signal(os.Interrupt)
	timer := time.AfterFunc(2*time.Second, func() { cmd.Process.Kill() })
	defer timer.Stop()
	cmd.Wait()
	counters := regexp.MustCompile(`read=\d+|in.rx.\w+_dropped=\d+`).FindAllString(stderr.String(), -1)
	sent := regexp.MustCompile(`Actual: .*|[0-9.]+ pps`).FindAllString(string(out), -1)
	return cpu, strings.Join(append(sent, counters...), " ") + "\n", nil
}

// schedule is how long the threads of a process have run (proc(5), schedstat).
func schedule(pid int) (sum time.Duration) {
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	for _, name := range files {
		text, _ := os.ReadFile(name)
		first, _, _ := strings.Cut(string(text), " ")
		n, _ := strconv.ParseInt(first, 10, 64)
		sum += time.Duration(n)
	}
	return sum
}
