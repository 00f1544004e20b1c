package tuple

// Reason says why a packet has no 5-tuple.
type Reason uint8

// The reasons, in the order in which Parse meets them.
const (
	NotIP         Reason = iota + 1 // the version is neither 4 nor 6
	Truncated                       // the capture ends before the ports
	Malformed                       // a length contradicts itself or the packet
	LaterFragment                   // not the first fragment, so without ports
	OtherProtocol                   // neither TCP nor UDP
	NumReasons                      // array size for counters: one more than the last reason
)

// Error returns the reason in words.
func (r Reason) Error() string {
	switch r {
	case NotIP:
		return "not IP"
	case Truncated:
		return "truncated before the ports"
	case Malformed:
		return "malformed header"
	case LaterFragment:
		return "later fragment"
	case OtherProtocol:
		return "neither TCP nor UDP"
	}
	return "unknown reason"
}
