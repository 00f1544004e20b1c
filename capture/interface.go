package capture

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"

	"github.com/google/gopacket/pcap"
)

// errNotUp is an interface that exists and is down.
var errNotUp = errors.New("the interface is not up")

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
	buffer := cfg.Buffer
	if buffer == 0 {
		buffer = DefaultBuffer
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

func (c *LiveConfig) snaplen() int {
	switch {
	case c.Snaplen > 0:
		return c.Snaplen
	case c.HeadersOnly:
		return headerSnaplen
	}
	return maxCapture
}

// activateError puts libpcap's error in words that help.
func activateError(err error) error {
	text := strings.ToLower(err.Error())
	switch {
	case strings.Contains(text, "no such device"):
		return fmt.Errorf("no such interface; there are: %s", strings.Join(interfaceNames(), ", "))
	case strings.Contains(text, "not up"):
		return errNotUp
	case strings.Contains(text, "permission"):
		exe, _ := os.Executable()
		return fmt.Errorf("%w; run as root or: setcap cap_net_raw+ep %s", os.ErrPermission, exe)
	}
	return err
}

// interfaceNames returns the interfaces of the host, and libpcap's own "any".
func interfaceNames() []string {
	names := []string{"any"}
	list, _ := net.Interfaces()
	for _, i := range list {
		names = append(names, i.Name)
	}
	return names
}

// Interface is what can be captured.
type Interface struct {
	Name      string
	Up        bool
	Link      string   // its link type; "" where that can't be had
	Addresses []string // with the lengths of their prefixes
	Err       error    // why it can't be captured now; nil where it can
}

// Interfaces returns those of the host, and "any". It opens each for a moment,
// as only a handle knows the link type.
func Interfaces() []Interface {
	var all []Interface
	for _, name := range interfaceNames() {
		i := Interface{Name: name, Up: name == "any"}
		if dev, err := net.InterfaceByName(name); err == nil {
			i.Up = dev.Flags&net.FlagUp != 0
			addresses, _ := dev.Addrs()
			for _, a := range addresses {
				i.Addresses = append(i.Addresses, a.String())
			}
		}
		handle, err := activateAs(&LiveConfig{Interface: name, HeadersOnly: true, Buffer: 1 << 20}, false)
		if err == nil {
			link := liveLink(handle)
			if i.Link = link.name(); decoderFor(link) == nil {
				i.Err = fmt.Errorf("%v carries no IP that is found here", link)
			}
			handle.Close()
		} else {
			i.Err = err
		}
		all = append(all, i)
	}
	return all
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
