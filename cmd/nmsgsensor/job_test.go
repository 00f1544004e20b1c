package main

import (
	"io"
	"os"
	"path/filepath"
	"testing"

	"nmsgsensor/capture/imix"
)

// BenchmarkJob is the whole program on a file of the disk, as .ci/compare runs it
// beside others.
func BenchmarkJob(b *testing.B) {
	const n = 500_000
	capture := filepath.Join(b.TempDir(), "imix.pcap")
	f, err := os.Create(capture)
	if err != nil {
		b.Fatal(err)
	}
	if err := imix.WritePcap(f, n); err != nil {
		b.Fatal(err)
	}
	f.Close()
	stream := filepath.Join(b.TempDir(), "imix.nmsg")
	if status := run([]string{"-q", "-w", stream, capture}, os.Stdout, io.Discard); status != exitOK {
		b.Fatal(status)
	}
	for _, job := range []struct {
		name string
		args []string
	}{
		{"pcap to packet", []string{"-q", "-w", "/dev/null", capture}},
		{"pcap to ipconn", []string{"-q", "-W", "/dev/null", capture}},
		{"pcap to text", []string{"-o", "/dev/null", capture}},
		{"NMSG to packet", []string{"-q", "-w", "/dev/null", stream}},
	} {
		b.Run(job.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				// A sandbox of each run would be on top of the ones before.
				if status := run(append([]string{"--seccomp=false"}, job.args...), os.Stdout, io.Discard); status != exitOK {
					b.Fatal(status)
				}
			}
			b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds()/1e6, "Mpackets/s")
		})
	}
}
