package capture

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
)

// errNotUp is an interface that exists and is down.
var errNotUp = errors.New("the interface is not up")

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
