package output

import "strconv"

// appendJSON appends the line that nmsgtool prints: source in hexadecimal,
// operator and group as numbers (a name would be an alias, of which we have
// none), absent where they are not set.
func (l *Lines) appendJSON(b []byte, r *Record) []byte {
	b = append(b, `{"time":"`...)
	b = l.clock.append(b, l.payloads.time(r))
	b = append(b, `","vname":"base","mname":"ipconn"`...)
	labels := r.Labels.Or(l.payloads.Labels)
	if labels.Source != 0 {
		b = append(b, `,"source":"`...)
		b = append(appendHex8(b, labels.Source), '"')
	}
	if labels.Operator != 0 {
		b = append(b, `,"operator":`...)
		b = strconv.AppendUint(b, uint64(labels.Operator), 10)
	}
	if labels.Group != 0 {
		b = append(b, `,"group":`...)
		b = strconv.AppendUint(b, uint64(labels.Group), 10)
	}
	b = append(b, `,"message":{"proto":`...)
	b = appendSmall(b, uint(r.Tuple.Proto))
	b = append(b, `,"srcip":"`...)
	b = appendAddr(b, &r.Tuple.Src)
	b = append(b, `","srcport":`...)
	b = appendPort(b, r.Tuple.SrcPort)
	b = append(b, `,"dstip":"`...)
	b = appendAddr(b, &r.Tuple.Dst)
	b = append(b, `","dstport":`...)
	b = appendPort(b, r.Tuple.DstPort)
	return append(b, "}}\n"...)
}
