package capture

import (
	"bytes"
	"encoding/binary"
	"os"
	"testing"
	"time"
)

// TestDamageTakesNoTime: of many broken blocks in a row, each is passed over
// without a look at all that may be behind it.
func TestDamageTakesNoTime(t *testing.T) {
	file, err := os.ReadFile("../testdata/pcap/one_iface.pcapng")
	if err != nil {
		t.Fatal(err)
	}
	block := func(first, second uint32) []byte {
		b := binary.LittleEndian.AppendUint32(nil, blockNames)
		return binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(b, first), second)
	}
	const n, most = 40_000, 2 * time.Second
	for name, pair := range map[string][]byte{
		"first length":  append(block(1<<31, 0), block(minBlock, minBlock)...),
		"second length": append(block(minBlock, 0), block(minBlock, minBlock)...),
	} {
		start := time.Now()
		got, st, err := readBytes(append(file[:len(file):len(file)], bytes.Repeat(pair, n)...))
		if took := time.Since(start); err != nil || st.Damaged != n || len(got) != 3 || took > most {
			t.Errorf("%s: %d packets, %d damaged places, %v, in %v", name, len(got), st.Damaged, err, took)
		} else {
			t.Log(name, took)
		}
	}
}
