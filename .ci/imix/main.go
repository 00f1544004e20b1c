// Command imix writes a capture to standard output, for .ci/compare.
//
//	go run ./.ci/imix PACKETS > imix.pcap
package main

import (
	"fmt"
	"os"
	"strconv"

	"nmsgsensor/capture/imix"
)

func main() {
	if err := run(os.Args); err != nil {
		fmt.Fprintln(os.Stderr, "imix:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 2 {
		return fmt.Errorf("the one argument is how many packets")
	}
	n, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	return imix.WritePcap(os.Stdout, n)
}
