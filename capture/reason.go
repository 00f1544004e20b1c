package capture

// Reason says why something that was read is no IP packet.
type Reason uint8

// The reasons.
const (
	Filtered     Reason = iota + 1 // the filter said no
	NotIP                          // the link header says something other than IPv4 or IPv6
	LinkCut                        // the capture ends inside the link header
	LinkBad                        // the link header contradicts itself
	OtherLink                      // a link type that carries no IP or that is not known
	OtherPayload                   // an NMSG payload that is neither base:packet nor base:ipconn
	BadPayload                     // a base:packet or base:ipconn that can't be decoded
	BadCRC                         // an NMSG payload with a wrong checksum
	NumReasons                     // array size for counters: one more than the last reason
)

// String returns the reason as it stands in counters: one word.
func (r Reason) String() string {
	return [NumReasons]string{"", "filtered", "not_ip", "link_cut", "link_bad", "other_link",
		"other_payload", "bad_payload", "bad_crc"}[r]
}

// IsPayload says whether what was skipped is an NMSG payload, which counts as
// one that was read, and not a frame without IP.
func (r Reason) IsPayload() bool {
	return r == OtherPayload || r == BadPayload || r == BadCRC
}
