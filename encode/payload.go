// Package encode knows NMSG: base:packet and base:ipconn messages, payloads,
// containers and fragments, in both directions. It opens no sockets and no files.
package encode

import "time"

// Vendor and message type numbers (nmsg/vendors.h, nmsg/base/defs.h).
const (
	VendorBase = 1
	TypeIPConn = 5
	TypePacket = 12
)

// Labels are the optional marks of a payload; zero means that it has none.
type Labels struct {
	Source, Operator, Group uint32
}

// Payload is one NmsgPayload as read from a container (nmsg.proto).
type Payload struct {
	Vendor, Type uint32
	Time         time.Time
	Labels       Labels
	Data         []byte // the message; borrowed from whoever handed out the Payload
}
