package output

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// Sockspec is a UDP address as nmsgtool writes it: ADDR/PORT[..PORT][,RATE[,FREQ]].
type Sockspec struct {
	Host        string // an IPv4 or IPv6 address or a host name
	First, Last uint16 // ports
	Rate        int    // datagrams a second; 0 for no limit
	Freq        int    // how many of these may go out at once
}

// ParseSockspec reads a Sockspec. IPv6 addresses may stand in brackets.
func ParseSockspec(s string) (Sockspec, error) {
	bad := func(what string) (Sockspec, error) {
		return Sockspec{}, fmt.Errorf("%s; the form is ADDR/PORT[..PORT][,RATE[,FREQ]], such as 127.0.0.1/9430", what)
	}
	fields := strings.Split(s, ",")
	host, ports, found := strings.Cut(fields[0], "/")
	if host, port, err := net.SplitHostPort(fields[0]); !found && err == nil {
		return bad("a slash stands before the port, " + host + "/" + port)
	}
	if !found {
		return bad("no port")
	}
	spec := Sockspec{Host: host}
	if strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]") {
		spec.Host = host[1 : len(host)-1]
	}
	if spec.Host == "" {
		return bad("no address")
	}
	// No name ends with a number (RFC 3696 section 2): it would be a mistyped address.
	numeric := strings.Trim(spec.Host, "0123456789.") == "" && strings.Contains(spec.Host, ".")
	if _, err := netip.ParseAddr(spec.Host); err != nil && (numeric || strings.ContainsAny(spec.Host, ":[] \t")) {
		return bad("no address and no host name")
	}
	first, last, isRange := strings.Cut(ports, "..")
	var ok bool
	if spec.First, ok = parsePort(first); !ok {
		return bad("no port from 1 to 65535")
	}
	spec.Last = spec.First
	if isRange {
		if spec.Last, ok = parsePort(last); !ok || spec.Last < spec.First {
			return bad("no range of ports, which has the lower first")
		}
	}
	for i, field := range fields[1:] {
		n, err := strconv.Atoi(field)
		if err != nil || n < 1 || i > 1 {
			return bad("RATE and FREQ are numbers from 1")
		}
		if i == 0 {
			spec.Rate = n
		} else {
			spec.Freq = n
		}
	}
	return spec, nil
}

func parsePort(s string) (uint16, bool) {
	n, err := strconv.ParseUint(s, 10, 16)
	return uint16(n), err == nil && n > 0
}

// String returns the form that ParseSockspec reads.
func (s Sockspec) String() string {
	b := s.Host + "/" + strconv.Itoa(int(s.First))
	if s.Last != s.First {
		b += ".." + strconv.Itoa(int(s.Last))
	}
	if s.Rate != 0 {
		b += "," + strconv.Itoa(s.Rate)
	}
	if s.Freq != 0 {
		b += "," + strconv.Itoa(s.Freq)
	}
	return b
}
