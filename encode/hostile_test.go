package encode

import (
	"encoding/binary"
	"net/netip"
	"runtime"
	"testing"
	"time"

	nmsg "github.com/farsightsec/go-nmsg"
	"google.golang.org/protobuf/proto"
)

// TestHostileContainersInConstantMemory: claims of gigabytes, a bomb of a
// gigabyte, and millions of fragments take a few megabytes.
func TestHostileContainersInConstantMemory(t *testing.T) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	var d Decoder
	decode := func(b []byte) error {
		return d.Decode(b, netip.AddrPort{}, time.Time{}, func(*Payload) error { return nil })
	}
	var bomb Container
	bombBody := binary.BigEndian.AppendUint32(nil, 1<<20)
	bombBody = bomb.deflate.append(bombBody, make([]byte, 64<<20))
	if err := decode(patchLength(append([]byte("NMSG\x01\x02\x00\x00\x00\x00"), bombBody...))); err != errInflate {
		t.Errorf("bomb: %v", err)
	}
	binary.BigEndian.PutUint32(bombBody, 1<<32-1)
	if err := decode(patchLength(append([]byte("NMSG\x01\x02\x00\x00\x00\x00"), bombBody...))); err != errTooLong {
		t.Errorf("4 GiB: %v", err)
	}
	runtime.ReadMemStats(&before)
	for i := range 200_000 {
		f := &nmsg.NmsgFragment{Id: proto.Uint32(uint32(i)), Current: proto.Uint32(0), Last: proto.Uint32(maxPieces - 1), Fragment: make([]byte, 64)}
		body, _ := proto.Marshal(f)
		if err := decode(patchLength(append([]byte("NMSG\x02\x02\x00\x00\x00\x00"), body...))); err != nil {
			t.Fatal(err)
		}
	}
	if len(d.fragments.sets) > maxFragmentSets || d.fragments.bytes > maxFragmentBytes {
		t.Errorf("%d sets, %d bytes", len(d.fragments.sets), d.fragments.bytes)
	}
	if want := uint64(200_000 - maxFragmentSets); d.LostFragments() != want {
		t.Errorf("%d fragments lost, want %d", d.LostFragments(), want)
	}
	// As many sets as may be, all growing at the same time, with the smallest pieces.
	small := &nmsg.NmsgFragment{Id: new(uint32), Current: new(uint32), Last: proto.Uint32(maxPieces - 1), Fragment: []byte{1}}
	for i := range uint32(maxFragmentSets * (maxPieces - 1)) {
		*small.Id, *small.Current = i%maxFragmentSets, i/maxFragmentSets
		body, _ := proto.Marshal(small)
		if err := decode(patchLength(append([]byte("NMSG\x02\x02\x00\x00\x00\x00"), body...))); err != nil {
			t.Fatal(err)
		}
		if d.fragments.bytes > maxFragmentBytes {
			t.Fatalf("%d bytes", d.fragments.bytes)
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if after.HeapAlloc > before.HeapAlloc+16<<20 {
		t.Errorf("%d bytes held", after.HeapAlloc-before.HeapAlloc)
	}
	lost, held := d.LostFragments(), uint64(0)
	for _, set := range d.fragments.sets {
		held += uint64(len(set.pieces))
	}
	if d.GiveUp(); d.LostFragments() != lost+held || held == 0 || d.fragments.bytes != 0 {
		t.Errorf("%d lost of %d and %d, %d bytes", d.LostFragments(), lost, held, d.fragments.bytes)
	}
	million := &nmsg.NmsgFragment{Id: proto.Uint32(1), Current: proto.Uint32(0), Last: proto.Uint32(1_000_000), Fragment: []byte{1}}
	body, _ := proto.Marshal(million)
	if err := decode(patchLength(append([]byte("NMSG\x02\x02\x00\x00\x00\x00"), body...))); err != errFragment {
		t.Errorf("a million pieces: %v", err)
	}
}

// TestInventedSendersAreForgotten: they are bounded in number, and looking for
// those that are silent is not done for each.
func TestInventedSendersAreForgotten(t *testing.T) {
	var s sequences
	a, now := netip.MustParseAddrPort("127.0.0.1:1"), time.Unix(1000, 0)
	for id := range uint64(20 * maxSenders) {
		s.update(Sequence{ID: id}, a, now)
		if len(s.by) > maxSenders {
			t.Fatalf("%d senders", len(s.by))
		}
	}
	now = now.Add(maxSilence + time.Second)
	s.update(Sequence{ID: 1 << 60}, a, now)
	if len(s.by) != 1 {
		t.Errorf("%d silent ones are kept", len(s.by)-1)
	}
}
