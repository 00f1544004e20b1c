package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"nmsgsensor/output"
)

// confinedName is how the test binary is called, with the index of a
// confinement, to try attempts under it and print what each gave.
const confinedName = "confined"

// confinements are options, the attempts that must be refused with them, and
// those that must not; the rest must be refused too.
var confinements = []struct {
	name    string
	opt     options
	allowed string
}{
	{"an interface and a collector", options{inputs: []input{{kind: liveInput, name: "lo"}}, sockets: toCollector("192.0.2.1")},
		"read a file, UDP, a packet socket, netlink, a thread"},
	{"an interface, as another user", options{inputs: []input{{kind: liveInput, name: "lo"}}, sockets: toCollector("192.0.2.1"), user: &account{}},
		"read a file, UDP, netlink, a thread"},
	{"a collector by name", options{inputs: []input{{name: "file"}}, packets: toCollector("collector.example")},
		"read a file, UDP, netlink, TCP, a socket of the host, a thread"},
	{"from file to file", options{inputs: []input{{name: "file"}}, write: "file"},
		"read a file, create a file, truncate a file, a thread"},
	{"files that are rotated", options{inputs: []input{{name: "file"}}, json: "file", rotation: &output.Rotation{}},
		"read a file, create a file, truncate a file, rename, delete, a thread"},
	{"from file to text", options{inputs: []input{{name: "file"}}},
		"read a file, a thread"},
	{"from file to the screen", options{inputs: []input{{name: "file"}}, keys: true},
		"read a file, a thread, set the terminal"},
}

func toCollector(host string) []output.Sockspec {
	return []output.Sockspec{{Host: host, First: 9430, Last: 9430}}
}

// attempts are system calls that would do nothing, or fail otherwise, if they
// were let.
var attempts = []struct {
	name string
	call func() error
}{
	{"read a file", raw(unix.SYS_OPENAT, at, path("/"), unix.O_RDONLY|unix.O_CLOEXEC)},
	{"create a file", raw(unix.SYS_OPENAT, at, path("/nowhere/file"), unix.O_WRONLY|unix.O_CREAT)},
	{"truncate a file", raw(unix.SYS_OPENAT, at, path("/nowhere/file"), unix.O_RDONLY|unix.O_TRUNC)},
	{"write a file", raw(unix.SYS_OPENAT, at, path("/nowhere/file"), unix.O_RDWR)},
	{"openat2", raw(unix.SYS_OPENAT2, at, path("/nowhere/file"), 0, 0)},
	{"rename", raw(unix.SYS_RENAMEAT, at, path("/nowhere/file"), at, path("/nowhere/another"))},
	{"delete", raw(unix.SYS_UNLINKAT, at, path("/nowhere/file"))},
	{"link", raw(unix.SYS_LINKAT, at, path("/nowhere/file"), at, path("/nowhere/another"))},
	{"make a directory", raw(unix.SYS_MKDIRAT, at, path("/nowhere/file"), 0o777)},
	{"change a mode", raw(unix.SYS_FCHMODAT, at, path("/nowhere/file"), 0o777)},
	{"change an owner", raw(unix.SYS_FCHOWNAT, at, path("/nowhere/file"), 0, 0)},
	{"change the directory", raw(unix.SYS_CHDIR, path("/"))},
	{"change the root", raw(unix.SYS_CHROOT, path("/nowhere"))},
	{"execute", raw(unix.SYS_EXECVE, path("/nowhere/file"))},
	{"execute from memory", raw(unix.SYS_MEMFD_CREATE, path("/"), unix.MFD_CLOEXEC)},
	{"executable memory", raw(unix.SYS_MMAP, 0, 4096, unix.PROT_READ|unix.PROT_EXEC, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS, ^uintptr(0))},
	{"make memory executable", raw(unix.SYS_MPROTECT, 0, 0, unix.PROT_READ|unix.PROT_EXEC)},
	{"a process", raw(unix.SYS_CLONE, unix.CLONE_SIGHAND)},
	{"a namespace", raw(unix.SYS_CLONE, unix.CLONE_THREAD|unix.CLONE_NEWNET)},
	{"another namespace", raw(unix.SYS_UNSHARE, 0)},
	{"enter a namespace", raw(unix.SYS_SETNS, ^uintptr(0), 0)},
	{"a signal", raw(unix.SYS_KILL, uintptr(os.Getppid()), 0)},
	{"a signal to another's thread", raw(unix.SYS_TGKILL, uintptr(os.Getppid()), uintptr(os.Getppid()), 0)},
	{"trace", raw(unix.SYS_PTRACE, unix.PTRACE_ATTACH, ^uintptr(0))},
	{"read another's memory", raw(unix.SYS_PROCESS_VM_READV, uintptr(os.Getpid()))},
	{"write another's memory", raw(unix.SYS_PROCESS_VM_WRITEV, uintptr(os.Getpid()))},
	{"another's descriptors", raw(unix.SYS_PIDFD_OPEN, uintptr(os.Getpid()), 0)},
	{"UDP", raw(unix.SYS_SOCKET, unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)},
	{"TCP", raw(unix.SYS_SOCKET, unix.AF_INET, unix.SOCK_STREAM, 0)},
	{"a raw socket", raw(unix.SYS_SOCKET, unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP)},
	{"a packet socket", raw(unix.SYS_SOCKET, unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)},
	{"netlink", raw(unix.SYS_SOCKET, unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_ROUTE)},
	{"netlink for the firewall", raw(unix.SYS_SOCKET, unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_NETFILTER)},
	{"a socket of the host", raw(unix.SYS_SOCKET, unix.AF_UNIX, unix.SOCK_STREAM, 0)},
	{"listen", raw(unix.SYS_LISTEN, ^uintptr(0), 1)},
	{"set the terminal", raw(unix.SYS_IOCTL, ^uintptr(0), unix.TCSETS, 0)},
	{"type on the terminal", raw(unix.SYS_IOCTL, 0, unix.TIOCSTI, 0)},
	{"bpf", raw(unix.SYS_BPF, unix.BPF_MAP_CREATE, 0, 0)},
	{"io_uring", raw(unix.SYS_IO_URING_SETUP, 1, 0)},
	{"perf", raw(unix.SYS_PERF_EVENT_OPEN, 0, 0, ^uintptr(0), ^uintptr(0), 0)},
	{"userfaultfd", raw(unix.SYS_USERFAULTFD, 1<<30)},
	{"keys", raw(unix.SYS_KEYCTL, 99999)},
	{"mount", raw(unix.SYS_MOUNT, path("none"), path("/nowhere"), path("tmpfs"))},
	{"a module", raw(unix.SYS_FINIT_MODULE, ^uintptr(0))},
	{"another kernel", raw(unix.SYS_KEXEC_LOAD, 0, 0, 0, 1)},
	{"another user", raw(unix.SYS_SETRESUID, ^uintptr(0), ^uintptr(0), ^uintptr(0))},
	{"capabilities", raw(unix.SYS_CAPSET, 0, 0)},
	{"a limit", raw(unix.SYS_PRLIMIT64, 0, 99, 1)},
	{"the clock", raw(unix.SYS_CLOCK_SETTIME, 99, 0)},
	{"the host's name", raw(unix.SYS_SETHOSTNAME, path("host"), ^uintptr(0))},
	{"a core dump", raw(unix.SYS_PRCTL, unix.PR_SET_DUMPABLE, 99)},
	{"a thread", func() error {
		done := make(chan struct{}) // closed by a thread of its own; nothing is sent
		go func() {
			runtime.LockOSThread() // never unlocked: it ends
			close(done)
		}()
		<-done
		return nil
	}},
}

const at = ^uintptr(0) - 99 // AT_FDCWD

func path(name string) uintptr {
	p := append([]byte(name), 0)
	paths.Store(&p[0], p) // the kernel is given the number alone
	return uintptr(unsafe.Pointer(&p[0]))
}

var paths sync.Map

func raw(number uintptr, args ...uintptr) func() error {
	var a [6]uintptr
	copy(a[:], args)
	return func() error {
		_, _, errno := unix.Syscall6(number, a[0], a[1], a[2], a[3], a[4], a[5])
		if errno != 0 {
			return errno
		}
		return nil
	}
}

// confined is the program of that name. Attempts are made on a thread that was
// there before.
func confined() {
	index := len(confinements)
	fmt.Sscan(os.Args[1], &index)
	begin, done := make(chan struct{}), make(chan struct{}) // closed when the filter is there, and when all is printed
	go func() {
		runtime.LockOSThread()
		<-begin
		for _, a := range attempts {
			fmt.Printf("%s: %v\n", a.name, a.call() == unix.EPERM)
		}
		close(done)
	}()
	if index < len(confinements) {
		if err := confinements[index].opt.confine(); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
	}
	close(begin)
	<-done
	threads, _ := filepath.Glob("/proc/self/task/*/status")
	for _, name := range threads {
		if b, err := os.ReadFile(name); err == nil && !strings.Contains(string(b), "\nSeccomp:\t2\n") && index < len(confinements) {
			fmt.Println("a thread without filter:", name)
		}
	}
}

// TestConfined tries what a parser that is taken over might.
func TestConfined(t *testing.T) {
	if out, err := exec.Command(confinedName, "none").Output(); err != nil || os.Getuid() == 0 && strings.Contains(string(out), "true") {
		t.Errorf("without filter: %v: %s", err, out)
	}
	for i, c := range confinements {
		out, err := exec.Command(confinedName, fmt.Sprint(i)).Output()
		if err != nil {
			t.Skipf("%v: %s", err, out)
		}
		want := ""
		for _, a := range attempts {
			want += fmt.Sprintf("%s: %v\n", a.name, !strings.Contains(", "+c.allowed+",", ", "+a.name+","))
		}
		if diff := differing(want, string(out)); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
	}
}

// differing are the lines of got that are not those of want.
func differing(want, got string) string {
	var all []string
	for line := range strings.Lines(got) {
		if !strings.Contains("\n"+want, "\n"+line) {
			all = append(all, line)
		}
	}
	if len(all) == 0 && want != got {
		return "nothing but " + got
	}
	return strings.Join(all, "")
}
