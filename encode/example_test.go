package encode_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"time"

	"nmsgsensor/encode"
	"nmsgsensor/tuple"
)

// Reads the tuples of an NMSG file, whatever its containers are: plain,
// compressed or in fragments.
func ExampleReader() {
	f, err := os.Open("../testdata/nmsg/ipconn_zlib.nmsg")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer f.Close()
	containers := encode.NewReader(f)
	var decoder encode.Decoder
	for {
		container, err := containers.Next()
		var damage *encode.DamageError
		switch {
		case err == io.EOF:
			return
		case errors.As(err, &damage): // told once; what is behind it comes next
			fmt.Println(damage)
			continue
		case err != nil:
			fmt.Println(err)
			return
		}
		// Only a socket knows who sent a container.
		err = decoder.Decode(container, netip.AddrPort{}, time.Time{}, func(p *encode.Payload) error {
			if !p.Sound() || p.Vendor != encode.VendorBase || p.Type != encode.TypeIPConn {
				return nil
			}
			t, err := encode.ParseIPConn(p.Data)
			fmt.Println(p.Time.Unix(), t.Src, t.SrcPort, t.Dst, t.DstPort, t.Proto, err)
			return nil
		})
		if err != nil {
			fmt.Println(err)
		}
	}
	// Output:
	// 1424638447 192.0.2.1 51512 198.51.100.2 443 6 <nil>
	// 1424638448 192.0.2.1 17500 255.255.255.255 53 17 <nil>
	// 1424638449 2001:db8::1 40000 2001:db8::2 22 6 <nil>
	// 1424638450 2001:db8::1 0 2001:db8::2 65535 17 <nil>
	// 1424638451 0.0.0.0 1 10.0.0.1 128 6 <nil>
	// 1424638452 203.0.113.9 127 203.0.113.10 16384 17 <nil>
}

// Makes a container as it stands in a file. With a Sequence it would be one for
// a datagram.
func ExampleContainer() {
	var c encode.Container
	c.AppendIPConn(time.Unix(1424588307, 573210000), encode.Labels{Operator: 5}, &tuple.Tuple{
		Src: netip.MustParseAddr("192.0.2.1"), SrcPort: 51512,
		Dst: netip.MustParseAddr("198.51.100.2"), DstPort: 53, Proto: 17,
	}, 0)
	sealed := c.Seal(nil, false)
	fmt.Printf("%d payload, %d bytes: %q\n", c.Len(), len(sealed), sealed[:encode.HeaderSize])
	c.Reset() // what was sealed is no longer valid

	_, err := encode.NewReader(bytes.NewReader([]byte("no container"))).Next()
	fmt.Println(err)
	// Output:
	// 1 payload, 57 bytes: "NMSG\x00\x02\x00\x00\x00/"
	// offset 0: no NMSG header, 12 bytes passed over
}
