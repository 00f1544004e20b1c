package output

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"hash/crc32"
	"io"
	"math/bits"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"slices"
	"strconv"
	"testing"
	"time"
	"unsafe"

	nmsg "github.com/farsightsec/go-nmsg"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	"nmsgsensor/encode"
	"nmsgsensor/tuple"
)

// law holds datagrams against what ends nmsgtool (section "What kills a
// collector" of the design), and against what makes it count or drop. It knows
// nothing of our decoder.
type law struct {
	mtu      int
	sets     map[uint32]*set
	id       uint64   // of the sequence
	numbers  []uint32 // of containers that are whole
	payloads []uint32 // the nanoseconds of theirs
}

// set is a container in fragments.
type set struct {
	pieces [][]byte
	crc    uint32
	flags  byte
}

func (l *law) judge(t *testing.T, b []byte) {
	t.Helper()
	if len(b) < 10 || len(b) > l.mtu || string(b[:4]) != "NMSG" || b[4]&^3 != 0 || b[5] != 2 ||
		int(binary.BigEndian.Uint32(b[6:])) != len(b)-10 {
		t.Fatalf("datagram of %d bytes, mtu %d: %.20x", len(b), l.mtu, b)
	}
	body, inPieces := b[10:], b[4]&2 != 0
	if inPieces {
		if body = l.piece(t, b[4], body); body == nil {
			return
		}
	}
	if b[4]&1 != 0 {
		body = inflate(t, body)
	}
	if n := l.container(t, body); inPieces && n > 1 {
		t.Fatalf("%d payloads in fragments", n)
	}
}

// piece takes a fragment and returns the container if it was the last that was
// missing.
func (l *law) piece(t *testing.T, flags byte, body []byte) []byte {
	t.Helper()
	var f nmsg.NmsgFragment
	if err := proto.Unmarshal(body, &f); err != nil || len(f.Fragment) == 0 || f.GetCurrent() > f.GetLast() || f.GetLast() == 0 || f.Crc == nil {
		t.Fatalf("fragment %v: %v", &f, err)
	}
	s := l.sets[f.GetId()]
	if s == nil {
		s = &set{make([][]byte, f.GetLast()+1), f.GetCrc(), flags}
		if l.sets == nil {
			l.sets = make(map[uint32]*set)
		}
		l.sets[f.GetId()] = s
	}
	if len(s.pieces) != int(f.GetLast())+1 || s.pieces[f.GetCurrent()] != nil || s.crc != f.GetCrc() || s.flags != flags {
		t.Fatal("one id for two sets")
	}
	s.pieces[f.GetCurrent()] = f.Fragment
	if slices.ContainsFunc(s.pieces, func(p []byte) bool { return p == nil }) {
		return nil
	}
	whole := bytes.Join(s.pieces, nil)
	if len(whole)+10 <= l.mtu || checksum(whole) != s.crc {
		t.Fatalf("%d bytes in %d fragments", len(whole), len(s.pieces))
	}
	return whole
}

func inflate(t *testing.T, body []byte) []byte {
	t.Helper()
	if len(body) < 4 {
		t.Fatalf("zlib: %x", body)
	}
	r, err := zlib.NewReader(bytes.NewReader(body[4:]))
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(r)
	if err != nil || len(b) != int(binary.BigEndian.Uint32(body)) || len(b) > 1<<20 {
		t.Fatalf("zlib: %d bytes, said %x, %v", len(b), body[:4], err)
	}
	return b
}

func (l *law) container(t *testing.T, body []byte) (payloads int) {
	t.Helper()
	var n nmsg.Nmsg
	if err := proto.Unmarshal(body, &n); err != nil || len(n.Payloads) == 0 || len(n.PayloadCrcs) != len(n.Payloads) || n.Sequence == nil || n.SequenceId == nil {
		t.Fatalf("%d payloads, %d CRCs, %v", len(n.Payloads), len(n.PayloadCrcs), err)
	}
	if len(l.numbers) > 0 && (n.GetSequence() <= l.numbers[len(l.numbers)-1] || n.GetSequenceId() != l.id) {
		t.Fatalf("number %d behind %v", n.GetSequence(), l.numbers)
	}
	l.id, l.numbers = n.GetSequenceId(), append(l.numbers, n.GetSequence())
	for i, p := range n.Payloads {
		if len(p.Payload) == 0 || checksum(p.Payload) != n.PayloadCrcs[i] {
			t.Fatalf("wrong CRC: %x", p.Payload)
		}
		l.payloads = append(l.payloads, p.GetTimeNsec())
	}
	return len(n.Payloads)
}

func checksum(b []byte) uint32 {
	return bits.ReverseBytes32(crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
}

// errnos are what sendmmsg may say: send(2), udp(7), ip(7), and what packet
// filters and security modules make of it.
var errnos = []unix.Errno{unix.EAGAIN, unix.ENOBUFS, unix.ENOMEM, unix.EMSGSIZE, unix.ECONNREFUSED, unix.ENETUNREACH,
	unix.EHOSTUNREACH, unix.ENETDOWN, unix.EHOSTDOWN, unix.EPERM, unix.EACCES, unix.EINVAL, unix.EPROTO, unix.EOPNOTSUPP,
	unix.ENONET, unix.EADDRNOTAVAIL, unix.EIO, unix.ENODEV}

// failSends has the kernel answer the sendmmsg of this thread with an error
// where the number of datagrams has a bit in common with mask, by a filter of
// seccomp(2). There is no way back: the thread has to end.
func failSends(t *testing.T, errno unix.Errno, mask uint32) {
	t.Helper()
	const numberAt, thirdAt = 0, 32 // in struct seccomp_data, seccomp(2)
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: numberAt},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_SENDMMSG, Jf: 3},
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: thirdAt},
		{Code: unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K, K: mask, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(errno)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
	if err == nil {
		err = unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&prog)), 0, 0)
	}
	if err != nil {
		t.Skip("no seccomp filter to be had: ", err)
	}
}

// TestEmitterKeepsTheLaw drives it with sizes, datagram sizes, flushes, settings,
// rates, destinations that are not there, and errors of the kernel, at random.
func TestEmitterKeepsTheLaw(t *testing.T) {
	seed := rand.Uint64()
	for round := range 150 {
		t.Run(strconv.Itoa(round), func(t *testing.T) {
			runtime.LockOSThread() // never unlocked: the thread ends with the round
			keepsTheLaw(t, seed, round)
		})
	}
}

func keepsTheLaw(t *testing.T, seed uint64, round int) {
	random := rand.New(rand.NewPCG(seed, uint64(round)))
	one := func(in int) bool { return random.IntN(in) == 0 }
	cfg := UDPConfig{MTU: MinMTU + random.IntN(1<<random.IntN(16)), Mirror: one(2), Log: silent, Payloads: Payloads{
		Kind: []Kind{IPConn, Packet}[random.IntN(2)], Zlib: one(2), Single: one(3), Labels: encode.Labels{Group: random.Uint32N(2)}}}
	var collectors []*collector
	var specs []Sockspec
	for range 1 + random.IntN(3) {
		c := listen(t)
		if one(3) {
			c.spec.Rate, c.spec.Freq = 5000+random.IntN(50_000), random.IntN(50)
		}
		collectors, specs = append(collectors, c), append(specs, c.spec)
	}
	if one(3) {
		dead := listen(t)
		dead.conn.Close()
		specs = append(specs, dead.spec, Sockspec{Host: "nowhere.invalid", First: 9, Last: 9})
	}
	u := sinkTo(t, cfg, specs...)
	errno, mask := errnos[round%len(errnos)], uint32(0)
	if one(2) {
		mask = uint32(random.IntN(128))
		failSends(t, errno, mask)
	}
	want := drive(u, random)
	if err := u.Close(); err != nil {
		t.Error(err)
	}
	all := u.Stats()
	var sum uint64
	for i, st := range all {
		sum += st.Payloads + st.Dropped
		if cfg.Mirror && st.Payloads+st.Dropped != want {
			t.Errorf("round %d: %d payloads, %+v", round, want, st)
		}
		if i < len(collectors) {
			l := law{mtu: cfg.MTU}
			for _, b := range collectors[i].drain(t) {
				l.judge(t, b)
			}
			agree(t, &l, st, u.dests[i].seq.Next, mask == 0)
		}
	}
	if !cfg.Mirror && sum != want {
		t.Errorf("round %d: %d payloads of %d: %+v", round, sum, want, all)
	}
	if t.Failed() {
		t.Logf("seed %d, round %d: %+v, errno %v where the number of datagrams has one of %b", seed, round, cfg, errno, mask)
	}
}

// drive writes, flushes and pushes, until there is what fits a collector's
// buffer or by chance before. It returns how many payloads there were.
func drive(u *UDP, random *rand.Rand) uint64 {
	bytes := noise(1 << 16)
	total, n := 0, random.IntN(400)
	for i := range n {
		size := random.IntN(1 << random.IntN(17))
		if total += size + 100; total > 1<<20 {
			return uint64(i)
		}
		u.Write(&Record{Time: time.Unix(random.Int64N(1<<40)-1<<39, int64(i)), Packet: bytes[:size], HasTuple: true, Tuple: tuple.Tuple{
			Src: netip.MustParseAddr("192.0.2.1"), Dst: netip.MustParseAddr("2001:db8::1"), SrcPort: uint16(random.Uint32()), Proto: 6}})
		switch random.IntN(20) {
		case 0:
			u.Flush()
		case 1, 2:
			u.Push()
		}
	}
	return uint64(n)
}

// agree holds what came against what was counted: all that left came, in order
// and once, with numbers up to the next one, and a number is missing where
// payloads were dropped and nowhere else.
func agree(t *testing.T, l *law, st Stats, next uint32, healthy bool) {
	t.Helper()
	if len(l.payloads) != int(st.Payloads) || len(l.numbers) != int(st.Containers) || !rising(l.payloads) {
		t.Errorf("%d payloads in %d containers came: %+v", len(l.payloads), len(l.numbers), st)
	}
	missing := int(next) - len(l.numbers)
	if missing < 0 || missing > int(st.Dropped) || (missing == 0) != (st.Dropped == 0) {
		t.Errorf("%d numbers are missing: %+v", missing, st)
	}
	if len(l.numbers) > 0 && l.numbers[len(l.numbers)-1] >= next {
		t.Errorf("number %d before %d", l.numbers[len(l.numbers)-1], next)
	}
	if healthy && st.Dropped > 0 && st.Errors["over_rate"] == 0 {
		t.Errorf("dropped without a reason: %+v", st)
	}
}

func rising(all []uint32) bool {
	for i := 1; i < len(all); i++ {
		if all[i] <= all[i-1] {
			return false
		}
	}
	return true
}

func noise(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rand.Uint32())
	}
	return b
}
