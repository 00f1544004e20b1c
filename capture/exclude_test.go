package capture

import (
	"context"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestExcludeWhileDown changes what is excluded while the interface is down, as
// a sensor does whose collector goes away with it. Capturing must not end.
func TestExcludeWhileDown(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root for a network namespace")
	}
	runtime.LockOSThread() // never unlocked: the thread is of no use to others
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Skip("no network namespace to be had: ", err)
	}
	ip := func(args string) {
		if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
			t.Skipf("ip %s: %v: %s", args, err, out)
		}
	}
	ip("link add va type veth peer name vb")
	ip("link set va up")
	ip("link set vb up")
	for _, engine := range []Engine{Libpcap, AFPacket} {
		live, err := OpenLive(LiveConfig{Interface: "va", Engine: engine, Buffer: 1 << 20})
		if err != nil {
			t.Fatal(err)
		}
		ip("link set va down")
		live.Exclude("udp port 9")
		ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
		if err := live.Run(ctx, func([]Packet) error { return nil }); err != nil || ctx.Err() == nil {
			t.Errorf("engine %d: ended before the stop, with %v", engine, err)
		}
		cancel()
		ip("link set va up")
	}
}
