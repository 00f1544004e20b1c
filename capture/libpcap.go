package capture

import (
	"errors"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/google/gopacket/pcap"
	"golang.org/x/sys/unix"
)

// libpcap is an interface being captured with libpcap. Its methods crash after
// close.
type libpcap struct {
	p     *pcap.Handle
	frame [1]frame

	filtered bool
	drops    struct{ kernel, iface wrapping }
}

func openLibpcap(cfg *LiveConfig, log *slog.Logger) (handle, LinkType, error) {
	p, err := activate(cfg, log)
	if err != nil {
		return nil, 0, err
	}
	return &libpcap{p: p}, liveLink(p), nil
}

// read implements handle. It returns frames one by one, as each read may take
// back the bytes of the last one.
func (h *libpcap) read() ([]frame, error) {
	data, ci, err := h.p.ZeroCopyReadPacketData()
	switch err {
	case nil:
		h.frame[0] = frame{ci.Timestamp, data, uint32(ci.Length)}
		return h.frame[:], nil
	case pcap.NextErrorTimeoutExpired:
		return nil, errNothing
	case pcap.NextErrorReadError:
		err = h.p.Error()
	}
	// gopacket has libpcap never wait, and waits itself when there is nothing.
	// NFLOG calls that an error.
	if strings.HasSuffix(strings.ToLower(err.Error()), unix.EAGAIN.Error()) {
		time.Sleep(readTimeout / 10)
		return nil, errNothing
	}
	return nil, err
}

// setFilter implements handle.
func (h *libpcap) setFilter(expr string) error {
	if expr == "" && !h.filtered {
		return nil
	}
	h.filtered = true
	return h.p.SetBPFFilter(expr)
}

// dropped implements handle. Of an interface that is gone, nothing is known.
func (h *libpcap) dropped() (kernel, iface uint64) {
	s, err := h.p.Stats()
	if err != nil {
		return 0, 0
	}
	return h.drops.kernel.add(s.PacketsDropped), h.drops.iface.add(s.PacketsIfDropped)
}

func (h *libpcap) close() { h.p.Close() }

// wrapping is a counter of 32 bits that wraps.
type wrapping uint32

// add returns by how much the counter grew, and keeps it.
func (w *wrapping) add(now int) uint64 {
	grown := uint32(now) - uint32(*w)
	*w = wrapping(now)
	return uint64(grown)
}

// activate opens a handle as the configuration says.
func activate(cfg *LiveConfig, log *slog.Logger) (*pcap.Handle, error) {
	handle, err := activateAs(cfg, cfg.Promiscuous)
	if err == nil || !cfg.Promiscuous || errors.Is(err, os.ErrPermission) || errors.Is(err, errNotUp) {
		return handle, err
	}
	// The device "any" knows no promiscuous mode, which some versions of libpcap
	// warn of and gopacket makes an error.
	if handle, err = activateAs(cfg, false); err == nil {
		log.Warn("captured without promiscuous mode, which the interface refused", "interface", cfg.Interface)
	}
	return handle, err
}

func activateAs(cfg *LiveConfig, promiscuous bool) (*pcap.Handle, error) {
	inactive, err := pcap.NewInactiveHandle(cfg.Interface)
	if err != nil {
		return nil, err
	}
	defer inactive.CleanUp()
	// None of these fails before activation.
	err = errors.Join(inactive.SetSnapLen(cfg.snaplen()), inactive.SetPromisc(promiscuous),
		inactive.SetTimeout(readTimeout), inactive.SetBufferSize(cfg.buffer()))
	if err != nil {
		return nil, err
	}
	handle, err := inactive.Activate()
	if err != nil {
		return nil, activateError(err)
	}
	return handle, nil
}

func (c *LiveConfig) snaplen() int {
	switch {
	case c.Snaplen > 0:
		return c.Snaplen
	case c.HeadersOnly:
		return headerSnaplen
	}
	return maxCapture
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

func (c *LiveConfig) buffer() int {
	if c.Buffer == 0 {
		return DefaultBuffer
	}
	return c.Buffer
}
