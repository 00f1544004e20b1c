package capture

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/google/gopacket/pcap"
)

// LiveConfig says what to capture on an interface and how.
type LiveConfig struct {
	Interface   string
	Snaplen     int  // bytes of each frame; 0 chooses
	Promiscuous bool // also what is addressed to others
	Buffer      int  // bytes of the kernel's ring; 0 for 16 MiB

	// HeadersOnly says that no output wants whole packets. Then a short snaplen
	// is chosen, so that the ring holds more of them.
	HeadersOnly bool
	Config
}

const (
	defaultBuffer = 16 << 20
	readTimeout   = 100 * time.Millisecond

	// headerSnaplen is enough for the headers that are read, far beyond what is
	// seen: 14 bytes of Ethernet, tags and labels, 40 of IPv6 and ten extension
	// headers, ports.
	headerSnaplen = 512

	// sampleEvery is how often the kernel is asked what it dropped.
	sampleEvery = 100 * time.Millisecond
)

func (c *LiveConfig) snaplen() int {
	switch {
	case c.Snaplen > 0:
		return c.Snaplen
	case c.HeadersOnly:
		return headerSnaplen
	}
	return maxCapture
}

// Live is a network interface being captured with libpcap.
type Live struct {
	name   string
	handle *pcap.Handle
	layer  layer
	log    *slog.Logger
	drops  drops
	mu     sync.Mutex
	stats  Stats
}

// OpenLive opens an interface. Packets are captured from then on.
func OpenLive(cfg LiveConfig) (*Live, error) {
	l := &Live{name: cfg.Interface, log: cfg.logger(), stats: Stats{Name: cfg.Interface}}
	var err error
	if l.handle, err = activate(cfg, cfg.Promiscuous); err != nil && cfg.Promiscuous && !errors.Is(err, os.ErrPermission) {
		// The device "any" knows no promiscuous mode, which some versions of
		// libpcap warn of and gopacket makes an error.
		if l.handle, err = activate(cfg, false); err == nil {
			l.log.Warn("captured without promiscuous mode, which the interface refused", "interface", cfg.Interface)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", cfg.Interface, err)
	}
	if l.layer, err = newLayer(liveLink(l.handle), ""); err != nil {
		l.handle.Close()
		return nil, fmt.Errorf("open %s: %w", cfg.Interface, err)
	}
	if cfg.Filter != "" {
		if err := l.handle.SetBPFFilter(cfg.Filter); err != nil {
			l.handle.Close()
			return nil, fmt.Errorf("%w %q: %w", ErrFilter, cfg.Filter, err)
		}
	}
	return l, nil
}

func activate(cfg LiveConfig, promiscuous bool) (*pcap.Handle, error) {
	inactive, err := pcap.NewInactiveHandle(cfg.Interface)
	if err != nil {
		return nil, err
	}
	defer inactive.CleanUp()
	buffer := cfg.Buffer
	if buffer == 0 {
		buffer = defaultBuffer
	}
	// None of these fails before activation.
	err = errors.Join(inactive.SetSnapLen(cfg.snaplen()), inactive.SetPromisc(promiscuous),
		inactive.SetTimeout(readTimeout), inactive.SetBufferSize(buffer))
	if err != nil {
		return nil, err
	}
	handle, err := inactive.Activate()
	if err != nil {
		return nil, activateError(err)
	}
	return handle, nil
}

// activateError puts libpcap's error in words that help.
func activateError(err error) error {
	text := strings.ToLower(err.Error())
	switch {
	case strings.Contains(text, "no such device"):
		return fmt.Errorf("no such interface; there are: %s", interfaceNames())
	case strings.Contains(text, "permission"):
		exe, _ := os.Executable()
		return fmt.Errorf("%w; run as root or: setcap cap_net_raw+ep %s", os.ErrPermission, exe)
	}
	return err
}

// interfaceNames returns the interfaces of the host, and libpcap's own "any".
func interfaceNames() string {
	names := []string{"any"}
	list, _ := net.Interfaces()
	for _, i := range list {
		names = append(names, i.Name)
	}
	return strings.Join(names, ", ")
}

// liveLink returns the link type of a handle. gopacket keeps its lower 8 bits:
// LINUX_SLL2 (276) comes as 20, a number that is never given to a new type.
func liveLink(h *pcap.Handle) LinkType {
	const sll2Cut = linkSLL2 & 0xff
	if t := LinkType(h.LinkType()); t != sll2Cut {
		return t
	}
	return linkSLL2
}

// Run implements Source. It hands on packets one by one, as each read may take
// back the bytes of the last one.
func (l *Live) Run(ctx context.Context, fn func([]Packet) error) error {
	// Only this goroutine touches the handle: its methods crash after Close.
	defer l.handle.Close()
	defer l.sample()
	batch := make([]Packet, 1)
	var sampled time.Time
	var bytes uint64
	for ctx.Err() == nil {
		frame, ci, err := l.handle.ZeroCopyReadPacketData()
		if err == nil {
			bytes += uint64(len(frame))
			batch[0] = Packet{Time: ci.Timestamp}
			l.layer.take(&batch[0], frame, uint32(ci.Length))
			if err := fn(batch); err != nil {
				return err
			}
		} else if err != pcap.NextErrorTimeoutExpired {
			return fmt.Errorf("read %s: %w", l.name, l.readError(err))
		}
		if err != nil || ci.Timestamp.Sub(sampled) >= sampleEvery {
			sampled = ci.Timestamp
			l.sample()
			l.mu.Lock()
			l.stats.Bytes = bytes
			l.mu.Unlock()
		}
	}
	return nil
}

func (l *Live) readError(err error) error {
	if err == pcap.NextErrorReadError {
		return l.handle.Error()
	}
	return err
}

// sample asks the kernel what it dropped.
func (l *Live) sample() {
	s, err := l.handle.Stats()
	if err != nil {
		return // the interface is gone; what was counted stays
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stats.KernelDropped += l.drops.kernel.add(s.PacketsDropped)
	l.stats.InterfaceDropped += l.drops.iface.add(s.PacketsIfDropped)
}

// drops are the kernel's counters as they last were.
type drops struct{ kernel, iface wrapping }

// wrapping is a counter of 32 bits that wraps.
type wrapping uint32

// add returns by how much the counter grew, and keeps it.
func (w *wrapping) add(now int) uint64 {
	grown := uint32(now) - uint32(*w)
	*w = wrapping(now)
	return uint64(grown)
}

// Stats implements Source.
func (l *Live) Stats() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.stats
}
