package output

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"nmsgsensor/encode"
)

// smallDisk mounts a disk of this size, in KiB, that only the test's thread
// sees; it is gone with the thread. grow makes it larger.
func smallDisk(t *testing.T, size string) (dir string, grow func(size string)) {
	t.Helper()
	runtime.LockOSThread() // never unlocked: the thread is of no use to others
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		t.Skip("no mount namespace to be had: ", err)
	}
	dir = t.TempDir()
	for _, m := range []struct {
		target, fs, data string
		flags            uintptr
	}{{"/", "", "", unix.MS_REC | unix.MS_PRIVATE}, {dir, "tmpfs", "size=" + size + "k", 0}} {
		if err := unix.Mount("", m.target, m.fs, m.flags, m.data); err != nil {
			t.Skip("no disk to be had: ", err)
		}
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	return dir, func(size string) {
		if err := unix.Mount("", dir, "", unix.MS_REMOUNT, "size="+size+"k"); err != nil {
			t.Fatal(err)
		}
	}
}

// payloadsIn counts what is in a file, all of which must be whole.
func payloadsIn(t *testing.T, name string) (n uint64) {
	t.Helper()
	if !strings.HasSuffix(name, ".txt") && !strings.HasSuffix(name, ".json") {
		eachPayload(t, name, func(*encode.Payload) { n++ })
		return n
	}
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if len(b) > 0 && !bytes.HasSuffix(b, []byte("\n")) {
		t.Errorf("%s ends with %q", name, b[max(0, len(b)-60):])
	}
	n = uint64(bytes.Count(b, []byte("(6)\n")) + bytes.Count(b, []byte("}}\n")))
	if lines := uint64(bytes.Count(b, []byte("\n"))); lines != n && lines != 2*n {
		t.Errorf("%s: %d lines for %d payloads", name, lines, n)
	}
	return n
}

// TestFullDiskIsLivedWith fills a disk and frees it: files take what there is
// room for, whole, count the rest, and go on.
func TestFullDiskIsLivedWith(t *testing.T) {
	dir, grow := smallDisk(t, "100")
	var log bytes.Buffer
	cfg := FileConfig{Endure: true, Log: slog.New(slog.NewTextHandler(&log, nil))}
	rotating := cfg
	rotating.Rotation = &Rotation{Count: 300}
	in := func(name string) string { return filepath.Join(dir, name) }
	sinks := []interface {
		Sink
		Stats() []Stats
	}{
		NewFile(in("plain"), Payloads{Kind: IPConn}, cfg), NewFile(in("zlib"), Payloads{Kind: IPConn, Zlib: true}, cfg),
		NewFile(in("single"), Payloads{Kind: IPConn, Single: true}, cfg), NewFile(in("rotated"), Payloads{Kind: IPConn}, rotating),
		NewText(in("lines.txt"), Payloads{}, false, cfg), NewJSON(in("lines.json"), Payloads{}, false, cfg),
	}
	r := records(t, "nmsg/ipconn.nmsg")[0]
	written := uint64(0)
	until := func(down bool) {
		for round, same := 0, false; !same; round++ {
			if same = true; round > 10_000 {
				t.Fatal("never ", down, &log)
			}
			for range 20 {
				written++
				r.Tuple.SrcPort = uint16(written * 7919)
				for _, s := range sinks {
					if err := s.Write(&r); err != nil {
						t.Fatal(err)
					}
				}
			}
			for _, s := range sinks {
				if err := s.Flush(); err != nil {
					t.Fatal(err)
				}
				same = same && s.Stats()[0].Down == down
			}
			if !down {
				time.Sleep(time.Millisecond) // it is up when it has been for a while
			}
		}
	}
	until(true)
	for _, s := range sinks[:3] {
		if st := s.Stats()[0]; payloadsIn(t, st.Name) != st.Payloads {
			t.Errorf("%+v: %d payloads in the file", st, payloadsIn(t, st.Name))
		}
	}
	grow("100000")
	until(false)
	for _, s := range sinks {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		st := s.Stats()[0]
		n := uint64(0)
		names, _ := filepath.Glob(st.Name + "*")
		for _, name := range names {
			n += payloadsIn(t, name)
		}
		if n != st.Payloads || st.Payloads+st.Dropped != written || st.Dropped == 0 || st.Errors["no_space"] != st.Dropped {
			t.Errorf("%+v: %d of %d payloads in %d files", st, n, written, len(names))
		}
		for _, words := range []string{"does not take payloads", "takes payloads again"} {
			if k := strings.Count(log.String(), `msg="file `+words+`" file=`+st.Name+" "); k != 1 {
				t.Errorf("%s: %d times %q: %s", st.Name, k, words, &log)
			}
		}
	}
	if left, _ := filepath.Glob(in(".*")); len(left) != 0 {
		t.Errorf("left %v", left)
	}
}

// TestFullDiskBehindStandardOutput is that of any file.
func TestFullDiskBehindStandardOutput(t *testing.T) {
	dir, _ := smallDisk(t, "4")
	file, err := os.Create(filepath.Join(dir, "text.txt"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	defer func(was *os.File) { os.Stdout = was }(os.Stdout)
	os.Stdout = file
	r := records(t, "nmsg/ipconn.nmsg")[0]
	l := NewText("-", Payloads{}, true, FileConfig{Endure: true, Log: silent})
	for range 100 {
		l.Write(&r)
		if err := l.Push(); err != nil {
			t.Fatal(err)
		}
	}
	if st := l.Stats()[0]; !st.Down || st.Payloads == 0 || st.Payloads+st.Dropped != 100 || payloadsIn(t, file.Name()) != st.Payloads {
		t.Errorf("%+v", st)
	}
	if err := l.Close(); err != nil {
		t.Error("all had been told: ", err)
	}
}

// TestWhatDoesNotComeBackIsAnError: a sensor must not run on for a name that is
// wrong, a pipe that nobody reads, or with a disk that is full at the end.
func TestWhatDoesNotComeBackIsAnError(t *testing.T) {
	dir, _ := smallDisk(t, "4")
	pipe := filepath.Join(dir, "pipe")
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	reader, err := os.OpenFile(pipe, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	all := records(t, "nmsg/ipconn.nmsg")
	write := func(name string) *Lines {
		l := NewText(filepath.Join(dir, name), Payloads{}, true, FileConfig{Endure: true, Log: silent})
		l.Write(&all[0])
		return l
	}
	if err := write("nowhere/file").Push(); err == nil {
		t.Error("a name that is wrong is no error")
	}
	l := write("pipe")
	if err := l.Push(); err != nil {
		t.Error(err)
	}
	reader.Close()
	l.Write(&all[0])
	if err := l.Push(); err == nil {
		t.Error("a pipe without reader is no error")
	}
	l = write("file")
	for range 100 {
		l.Write(&all[0])
	}
	if err := l.Flush(); err != nil || !l.Stats()[0].Down {
		t.Error(err, l.Stats())
	}
	if err := l.Close(); err != nil {
		t.Error("all had been told: ", err)
	}
	l = write("another")
	for range 100 {
		l.Write(&all[0])
	}
	if err := l.Close(); err == nil {
		t.Error("what is lost at the end is no error")
	}
}
