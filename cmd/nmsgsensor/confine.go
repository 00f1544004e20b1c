package main

import (
	"maps"
	"net/netip"
	"os"
	"runtime"
	"slices"

	seccomp "github.com/elastic/go-seccomp-bpf"
	"github.com/elastic/go-seccomp-bpf/arch"
	"golang.org/x/sys/unix"
)

// confine has the kernel refuse every system call but those that the work needs,
// for all threads and for good (seccomp(2)). The call fails with EPERM, and the
// kernel's audit log tells of it: a libc that makes one that is not foreseen must
// not end a sensor.
func (o *options) confine() error {
	policy, err := o.policy()
	if err != nil {
		return err
	}
	// No new privileges (the condition for a filter) is of a thread, and the
	// filter of that thread is what all others get.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	// The processor's speculation is left as it is: it is switched off against code
	// that runs in a sandbox, of which there is none here, and costs speed.
	const flags = seccomp.FilterFlagTSync | seccomp.FilterFlagLog | unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW
	return seccomp.LoadFilter(seccomp.Filter{NoNewPrivs: true, Flag: flags, Policy: policy})
}

// policy is the list of what is allowed, as short as the options let it be.
func (o *options) policy() (seccomp.Policy, error) {
	known, err := arch.GetInfo("")
	if err != nil {
		return seccomp.Policy{}, err
	}
	var plain []string
	given := make(map[string][]seccomp.NameWithConditions)
	for _, c := range o.calls() {
		if _, found := known.SyscallNames[c.name]; !found {
			continue // of another architecture
		}
		if c.when == nil {
			plain = append(plain, c.name)
		} else {
			given[c.name] = append(given[c.name], seccomp.NameWithConditions{Name: c.name, Conditions: c.when})
		}
	}
	groups := []seccomp.SyscallGroup{
		{Names: plain, Action: seccomp.ActionAllow},
		// Its flags are in memory, where no filter sees them. Of a kernel that does
		// not have it libc uses clone, whose flags are in a register.
		{Names: []string{"clone3"}, Action: seccomp.ActionErrno | seccomp.Action(unix.ENOSYS)},
	}
	// Each is a group: the library gets jumps wrong in one of more than 255
	// instructions.
	for _, name := range slices.Sorted(maps.Keys(given)) {
		groups = append(groups, seccomp.SyscallGroup{NamesWithCondtions: given[name], Action: seccomp.ActionAllow})
	}
	return seccomp.Policy{DefaultAction: seccomp.ActionErrno, Syscalls: groups}, nil
}

// call is a system call that is allowed, with all of its conditions met; one that
// is there more than once is allowed for each.
type call struct {
	name string
	when []seccomp.Condition
}

// calls are those that the work needs with these options.
func (o *options) calls() (all []call) {
	add := func(names ...string) {
		for _, name := range names {
			all = append(all, call{name: name})
		}
	}
	given := func(name string, when ...seccomp.Condition) { all = append(all, call{name, when}) }
	add(dataCalls...)
	add(runtimeCalls...)
	add(lookCalls...)
	given("mmap", without(2, unix.PROT_EXEC))
	given("mprotect", without(2, unix.PROT_EXEC))
	given("clone", with(0, unix.CLONE_THREAD), without(0, namespaces))
	given("tgkill", equal(0, os.Getpid()))
	given("prlimit64", equal(2, 0)) // to read a limit
	given("prctl", equal(0, unix.PR_SET_VMA))
	for _, request := range ioctlRequests {
		given("ioctl", equal(1, request))
	}
	if o.keys {
		given("ioctl", equal(1, unix.TCSETS))
	}
	if len(o.files()) > 0 {
		given("openat", without(2, unix.O_RDWR))
		given("open", without(1, unix.O_RDWR))
	} else {
		const writes = unix.O_WRONLY | unix.O_RDWR | unix.O_CREAT | unix.O_TRUNC
		given("openat", without(2, writes))
		given("open", without(1, writes))
	}
	if o.rotation != nil {
		add("renameat", "renameat2", "rename", "unlinkat", "unlink")
	}
	if o.kicker != nil {
		add("waitid", "wait4") // it ends by itself
	}
	sockets := o.socketKinds()
	for _, s := range sockets {
		given("socket", s.conditions()...)
	}
	if len(sockets) > 0 || o.metrics != "" || !o.filesAlone() {
		add(networkCalls...)
	}
	if o.metrics != "" {
		add("accept4", "accept", "shutdown")
	}
	return all
}

// socketKind is a kind of socket that is opened again and again. Protocols are
// told apart for netlink alone.
type socketKind struct{ family, kind, protocol int }

// conditions are those of socket(2), whose second argument also has flags.
func (s socketKind) conditions() []seccomp.Condition {
	when := []seccomp.Condition{equal(0, s.family), without(1, ^uint32(s.kind|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK))}
	for bit := 1; bit <= s.kind; bit <<= 1 {
		if s.kind&bit != 0 {
			when = append(when, with(1, bit))
		}
	}
	if s.family == unix.AF_NETLINK {
		when = append(when, equal(2, s.protocol))
	}
	return when
}

func (o *options) socketKinds() (all []socketKind) {
	isLive := slices.ContainsFunc(o.inputs, func(in input) bool { return in.kind == liveInput })
	toCollectors := len(o.sockets)+len(o.packets) > 0
	if isLive && (o.user == nil || o.keepRaw) { // what libpcap opens an interface with
		all = append(all, socketKind{unix.AF_PACKET, unix.SOCK_RAW, 0}, socketKind{unix.AF_UNIX, unix.SOCK_RAW, 0},
			socketKind{unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_GENERIC})
	}
	if isLive || toCollectors { // datagrams, ioctls to interfaces, their names
		all = append(all, socketKind{unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_ROUTE}, socketKind{unix.AF_INET, unix.SOCK_DGRAM, 0}, socketKind{unix.AF_INET6, unix.SOCK_DGRAM, 0})
	}
	if o.namesCollectors() { // DNS, and whatever else resolves names
		all = append(all, socketKind{unix.AF_INET, unix.SOCK_STREAM, 0}, socketKind{unix.AF_INET6, unix.SOCK_STREAM, 0}, socketKind{unix.AF_UNIX, unix.SOCK_STREAM, 0})
	}
	if os.Getenv("NOTIFY_SOCKET") != "" {
		all = append(all, socketKind{unix.AF_UNIX, unix.SOCK_DGRAM, 0})
	}
	return all
}

// namesCollectors says whether a collector is known by its name.
func (o *options) namesCollectors() bool {
	for _, spec := range slices.Concat(o.sockets, o.packets) {
		if _, err := netip.ParseAddr(spec.Host); err != nil {
			return true
		}
	}
	return false
}

// filesAlone says whether all inputs are files, pipes included.
func (o *options) filesAlone() bool {
	return !slices.ContainsFunc(o.inputs, func(in input) bool { return !in.kind.isFile() })
}

// equal is the condition that an argument has a value.
func equal[T int | uint64](argument uint32, value T) seccomp.Condition {
	return seccomp.Condition{Argument: argument, Operation: seccomp.Equal, Value: uint64(value)}
}

// with is the condition that an argument has one of these bits.
func with(argument uint32, bits int) seccomp.Condition {
	return seccomp.Condition{Argument: argument, Operation: seccomp.BitsSet, Value: uint64(bits)}
}

// without is the condition that an argument has none of these bits.
func without[T int | uint32](argument uint32, bits T) seccomp.Condition {
	return seccomp.Condition{Argument: argument, Operation: seccomp.BitsNotSet, Value: uint64(bits)}
}

const namespaces = unix.CLONE_NEWCGROUP | unix.CLONE_NEWIPC | unix.CLONE_NEWNET | unix.CLONE_NEWNS |
	unix.CLONE_NEWPID | unix.CLONE_NEWTIME | unix.CLONE_NEWUSER | unix.CLONE_NEWUTS

// The calls that are allowed without a condition.
var (
	// dataCalls are those that packets and bytes take, and what is done with an open
	// file.
	dataCalls = []string{
		"read", "pread64", "readv", "write", "pwrite64", "writev", "poll", "ppoll", "lseek", "ftruncate", "close", "fcntl",
		"epoll_create1", "epoll_ctl", "epoll_pwait", "epoll_wait", "eventfd2", "pipe2",
	}
	// runtimeCalls are what the Go runtime and libc do in threads, with memory, signals
	// and time.
	runtimeCalls = []string{
		"futex", "nanosleep", "clock_nanosleep", "clock_gettime", "gettimeofday", "sched_yield", "sched_getaffinity",
		"madvise", "munmap", "mremap", "brk", "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigaltstack",
		"restart_syscall", "set_robust_list", "rseq", "getpid", "getpgid", "getpgrp", "gettid", "getuid", "geteuid", "getgid", "getegid",
		"getrandom", "uname", "sysinfo", "exit", "exit_group",
	}
	// lookCalls are what looks at files: those of /proc for the metrics, of /sys for an
	// interface, of /etc for names.
	lookCalls = []string{
		"fstat", "newfstatat", "stat", "lstat", "statx", "fstatfs", "statfs", "getdents64", "readlinkat", "readlink",
		"access", "faccessat", "getcwd",
	}
	// networkCalls are what is done with an open socket.
	networkCalls = []string{
		"sendmmsg", "recvmsg", "recvfrom", "recvmmsg", "sendto", "sendmsg", "connect", "bind",
		"getsockname", "getpeername", "getsockopt", "setsockopt",
	}
	// ioctlRequests are what libpcap asks interfaces for, and what is asked of terminals.
	ioctlRequests = []int{
		unix.TCGETS, unix.TIOCGWINSZ, unix.TIOCGPGRP, unix.SIOCGIFNAME, unix.SIOCGIFINDEX, unix.SIOCGIFFLAGS, unix.SIOCGIFMTU, unix.SIOCGIFHWADDR,
		unix.SIOCGIFADDR, unix.SIOCGIFNETMASK, unix.SIOCETHTOOL,
	}
)
