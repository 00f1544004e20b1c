package capture

/*
#cgo LDFLAGS: -lpcap
#include <pcap/pcap.h>
#include <stdlib.h>

static int matches(const struct bpf_program *program, const unsigned char *frame, bpf_u_int32 caplen, bpf_u_int32 len) {
	struct pcap_pkthdr h = { .caplen = caplen, .len = len };
	return pcap_offline_filter(program, &h, frame);
}
*/
import "C"

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"unsafe"
)

// filter is a libpcap filter, compiled for one link type. It is run by libpcap
// too: gopacket's link types have 8 bits, and golang.org/x/net/bpf takes the
// captured length for the length on the wire.
type filter struct {
	program *C.struct_bpf_program
}

// ErrFilter is a filter that libpcap does not take.
var ErrFilter = errors.New("filter")

// compileMu: pcap_compile of libpcap before 1.8 is not safe for concurrent use.
var compileMu sync.Mutex

// compileFilter compiles expr, nil for "". The error has libpcap's words.
func compileFilter(expr string, t LinkType) (*filter, error) {
	if expr == "" {
		return nil, nil
	}
	compileMu.Lock()
	defer compileMu.Unlock()
	p := C.pcap_open_dead(C.int(dlt(t)), maxCapture)
	if p == nil {
		return nil, errors.New("compile filter: out of memory")
	}
	defer C.pcap_close(p)
	text := C.CString(expr)
	defer C.free(unsafe.Pointer(text))
	program := new(C.struct_bpf_program)
	if C.pcap_compile(p, program, text, 1, C.PCAP_NETMASK_UNKNOWN) != 0 {
		return nil, fmt.Errorf("%w %q: %s", ErrFilter, expr, C.GoString(C.pcap_geterr(p)))
	}
	f := &filter{program}
	runtime.AddCleanup(f, func(program *C.struct_bpf_program) { C.pcap_freecode(program) }, program)
	return f, nil
}

// dlt returns libpcap's number for a link type, where they differ on Linux
// (pcap-linktype(7)).
func dlt(t LinkType) LinkType {
	switch t {
	case linkRaw, linkRaw14:
		return C.DLT_RAW
	case 100:
		return C.DLT_ATM_RFC1483
	case 102:
		return C.DLT_SLIP_BSDOS
	case 103:
		return C.DLT_PPP_BSDOS
	case 106:
		return C.DLT_ATM_CLIP
	}
	return t
}

// datalinkName returns libpcap's name for a link type, "" if it has none.
func datalinkName(t LinkType) string {
	// nil makes "".
	return C.GoString(C.pcap_datalink_val_to_name(C.int(dlt(t))))
}

// match says whether the filter lets through a frame that had wireLen bytes.
func (f *filter) match(frame []byte, wireLen uint32) bool {
	n := C.matches(f.program, (*C.uchar)(unsafe.SliceData(frame)), C.bpf_u_int32(len(frame)), C.bpf_u_int32(wireLen))
	runtime.KeepAlive(f) // else the program could be freed while it runs
	return n != 0
}
