package output_test

import (
	"fmt"
	"net"
	"net/netip"
	"time"

	"nmsgsensor/encode"
	"nmsgsensor/output"
	"nmsgsensor/tuple"
)

// record is a packet that gave a tuple, and is not kept whole.
var record = output.Record{
	Time: time.Unix(1424588307, 573210000),
	Type: encode.TypePacket,
	Tuple: tuple.Tuple{Src: netip.MustParseAddr("192.0.2.1"), SrcPort: 51512,
		Dst: netip.MustParseAddr("198.51.100.2"), DstPort: 53, Proto: 17},
	HasTuple: true,
}

// Writes to standard output what a sink of lines makes of a record.
func ExampleNewJSON() {
	lines := output.NewJSON("-", output.Payloads{Labels: encode.Labels{Source: 0xa1b2c3d4}}, false, output.FileConfig{})
	if err := lines.Write(&record); err != nil {
		fmt.Println(err)
	}
	if err := lines.Close(); err != nil { // writes what waits
		fmt.Println(err)
	}
	// Output:
	// {"time":"2015-02-22 06:58:27.573210000","vname":"base","mname":"ipconn","source":"a1b2c3d4","message":{"proto":17,"srcip":"192.0.2.1","srcport":51512,"dstip":"198.51.100.2","dstport":53}}
}

// Sends a tuple to a collector, which is here.
func ExampleDialUDP() {
	collector, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer collector.Close()
	spec, err := output.ParseSockspec(fmt.Sprintf("127.0.0.1/%d", collector.LocalAddr().(*net.UDPAddr).Port))
	if err != nil {
		fmt.Println(err)
		return
	}
	sink, err := output.DialUDP([]output.Sockspec{spec}, output.UDPConfig{Payloads: output.Payloads{Kind: output.IPConn}})
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := sink.Write(&record); err != nil {
		fmt.Println(err)
	}
	if err := sink.Close(); err != nil { // else Flush sends it, when it has waited long enough
		fmt.Println(err)
	}
	st := sink.Stats()[0]
	fmt.Println(st.Payloads, "payload,", st.Dropped, "dropped")

	buf := make([]byte, output.MaxMTU)
	collector.SetReadDeadline(time.Now().Add(5 * time.Second))
	n, from, err := collector.ReadFromUDPAddrPort(buf)
	if err != nil {
		fmt.Println(err)
		return
	}
	var decoder encode.Decoder
	decoder.Decode(buf[:n], from, time.Now(), func(p *encode.Payload) error {
		t, err := encode.ParseIPConn(p.Data)
		fmt.Println(t.Src, t.SrcPort, t.Dst, t.DstPort, t.Proto, err)
		return nil
	})
	// Output:
	// 1 payload, 0 dropped
	// 192.0.2.1 51512 198.51.100.2 53 17 <nil>
}
