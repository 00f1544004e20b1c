package capture

import "encoding/binary"

// decodeRadiotap is an IEEE 802.11 frame behind a radiotap header
// (www.radiotap.org): version, which readers do not look at, a byte of padding,
// the length of it all.
func decodeRadiotap(b []byte) ([]byte, Reason) {
	const headerLen = 8
	if len(b) < headerLen {
		return nil, LinkCut
	}
	n := int(binary.LittleEndian.Uint16(b[2:]))
	if n < headerLen {
		return nil, LinkBad
	}
	if len(b) < n {
		return nil, LinkCut
	}
	padded := radiotapFlags(b[:n])&0x20 != 0 // between 802.11 header and data
	return decodeWiFiFrame(b[n:], padded)
}

// radiotapFlags returns the Flags field of a radiotap header, 0 if it has none.
// Only TSFT, of 8 bytes aligned to 8, comes before it.
func radiotapFlags(header []byte) byte {
	const (
		hasTSFT  = 1 << 0
		hasFlags = 1 << 1
		hasMore  = 1 << 31
	)
	present := binary.LittleEndian.Uint32(header[4:])
	if present&hasFlags == 0 {
		return 0
	}
	at := 8
	for word := present; word&hasMore != 0; at += 4 {
		if len(header) < at+4 {
			return 0
		}
		word = binary.LittleEndian.Uint32(header[at:])
	}
	if present&hasTSFT != 0 {
		at = (at+7)&^7 + 8
	}
	if len(header) <= at {
		return 0
	}
	return header[at]
}

// decodeWiFi is a bare IEEE 802.11 frame.
func decodeWiFi(b []byte) ([]byte, Reason) { return decodeWiFiFrame(b, false) }

// decodeWiFiFrame takes data frames in the clear (IEEE 802.11-2020 section
// 9.2.4 and 9.3.2), first fragments included; later ones, aggregates (A-MSDU)
// and mesh frames are passed over.
func decodeWiFiFrame(b []byte, padded bool) ([]byte, Reason) {
	if len(b) < 2 {
		return nil, LinkCut
	}
	const (
		typeMask, typeData = 0x0f, 0x08 // of the first byte: version 0, type data
		subtypeNull        = 0x40       // no data in it
		subtypeQoS         = 0x80
		toDS, fromDS       = 0x01, 0x02 // of the second
		protected, order   = 0x40, 0x80
	)
	if b[0]&typeMask != typeData || b[0]&subtypeNull != 0 || b[1]&protected != 0 {
		return nil, NotIP
	}
	headerLen := 24
	if b[1]&toDS != 0 && b[1]&fromDS != 0 {
		headerLen += 6 // a fourth address
	}
	qos := headerLen
	if b[0]&subtypeQoS != 0 {
		headerLen += 2
		if b[1]&order != 0 {
			headerLen += 4 // HT control
		}
	}
	data := headerLen
	if padded {
		data = (headerLen + 3) &^ 3
	}
	if len(b) < data {
		return nil, LinkCut
	}
	const fragmentNumber, aggregate, mesh = 0x0f, 0x80, 0x01
	if b[22]&fragmentNumber != 0 {
		return nil, NotIP
	}
	if b[0]&subtypeQoS != 0 && (b[qos]&aggregate != 0 || b[qos+1]&mesh != 0 && headerLen-qos == 2 && b[1]&(toDS|fromDS) == toDS|fromDS) {
		return nil, NotIP
	}
	return decodeLLC(b[data:])
}
