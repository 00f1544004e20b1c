package capture

import (
	"context"
	"errors"
	"os"
	"testing"
)

func TestOpenErrors(t *testing.T) {
	for name, want := range map[string]string{
		"not_a_capture.bin": "neither pcap, pcapng nor NMSG",
		"zero.bin":          "empty file",
		"usb.pcap":          "link type USB_LINUX (189): carries no IP that is known here",
	} {
		path := "../testdata/pcap/" + name
		_, err := Open(context.Background(), path, AnyFormat, Config{})
		if err == nil || err.Error() != path+": "+want {
			t.Errorf("%s: got %v, want %s", name, err, want)
		}
	}
	for _, c := range []struct {
		name string
		want Format
		err  string
	}{
		{"../testdata/nmsg/plain.nmsg", CaptureFormat, "is an NMSG stream, not a capture"},
		{"../testdata/pcap/ether4.pcap", NMSGFormat, "is a capture, not an NMSG stream"},
	} {
		_, err := Open(context.Background(), c.name, c.want, Config{})
		if err == nil || err.Error() != c.name+": "+c.err {
			t.Errorf("got %v, want %s", err, c.err)
		}
	}
	if _, err := Open(context.Background(), "nowhere.pcap", AnyFormat, Config{}); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	_, err := Open(context.Background(), "../testdata/pcap/one_iface.pcapng", AnyFormat, Config{Filter: "tcp port"})
	if !errors.Is(err, ErrFilter) {
		t.Errorf("bad filter: %v", err)
	}
}
