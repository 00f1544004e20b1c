// Command nmsgsensor extracts the 5-tuples of TCP and UDP packets from network
// interfaces, captures and NMSG streams, prints them and sends them to NMSG
// collectors.
package main

func main() {}
