package encode

import (
	"encoding/binary"
	"errors"
)

// Wire types of protobuf fields (protobuf.dev, Encoding).
const (
	wireVarint  = 0
	wireFixed64 = 1
	wireBytes   = 2
	wireFixed32 = 5
)

var errProto = errors.New("no valid protobuf")

// eachField calls fn for each field of a protobuf message with its key (field
// number and wire type), its value (varint, fixed32 or fixed64) and its bytes
// (a part of b, never nil where the field is length-delimited). It ends where
// fn returns false. Groups, which no NMSG message uses and protobuf-c does not
// read, are an error, and so is a field number of 0.
func eachField(b []byte, fn func(key, v uint64, data []byte) bool) error {
	for len(b) > 0 {
		key, v, data, n := field(b)
		if n == 0 {
			return errProto
		}
		if !fn(key, v, data) {
			return nil
		}
		b = b[n:]
	}
	return nil
}

// field reads the first field of b and returns how many bytes it takes; 0 says
// that there is no valid field.
func field(b []byte) (key, v uint64, data []byte, n int) {
	key, n = uvarint(b)
	if n == 0 || key>>3 == 0 || key>>3 > 1<<29-1 {
		return 0, 0, nil, 0
	}
	rest := b[n:]
	switch key & 7 {
	case wireVarint:
		v, k := uvarint(rest)
		if k == 0 {
			return 0, 0, nil, 0
		}
		return key, v, nil, n + k
	case wireFixed32:
		if len(rest) < 4 {
			return 0, 0, nil, 0
		}
		return key, uint64(binary.LittleEndian.Uint32(rest)), nil, n + 4
	case wireFixed64:
		if len(rest) < 8 {
			return 0, 0, nil, 0
		}
		return key, binary.LittleEndian.Uint64(rest), nil, n + 8
	case wireBytes:
		size, k := uvarint(rest)
		if k == 0 || size > uint64(len(rest)-k) {
			return 0, 0, nil, 0
		}
		return key, 0, rest[k : k+int(size) : k+int(size)], n + k + int(size)
	}
	return 0, 0, nil, 0
}

// uvarint reads a varint of at most ten bytes and 64 bits; n is 0 where there is
// none.
func uvarint(b []byte) (v uint64, n int) {
	if len(b) > 0 && b[0] < 0x80 {
		return uint64(b[0]), 1
	}
	v, n = binary.Uvarint(b)
	return v, max(n, 0)
}
