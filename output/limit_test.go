package output

import (
	"testing"
	"time"
)

func TestRateDropsWithNumbersUsedUp(t *testing.T) {
	c := listen(t)
	c.spec.Rate = 100
	u := sinkTo(t, UDPConfig{Payloads: Payloads{Kind: IPConn, Single: true}, Log: silent}, c.spec)
	r := records(t, "nmsg/ipconn.nmsg")[0]
	const n = 5000
	start := time.Now()
	for range n {
		u.Write(&r)
	}
	if wrote := time.Since(start); wrote > time.Second {
		t.Errorf("the caller waited %v", wrote)
	}
	u.Close()
	st := u.Stats()[0]
	if st.Payloads+st.Dropped != n || st.Dropped < n-maxHeld-200 || st.Errors["over_rate"] != st.Dropped {
		t.Errorf("%+v", st)
	}
	if got := len(c.drain(t)); got != int(st.Payloads) {
		t.Errorf("%d came, %d sent", got, st.Payloads)
	}
}

func TestRateHoldsBackWhoeverCanWait(t *testing.T) {
	c := listen(t)
	c.spec.Rate = 20_000
	u := sinkTo(t, UDPConfig{Payloads: Payloads{Kind: IPConn, Single: true}, Hurry: make(chan struct{})}, c.spec)
	r := records(t, "nmsg/ipconn.nmsg")[0]
	const n = 5000
	for range n {
		u.Write(&r)
	}
	u.Close()
	if st := u.Stats()[0]; st.Payloads != n || st.Dropped != 0 {
		t.Errorf("%+v", st)
	}
	if got := len(c.drain(t)); got != n {
		t.Errorf("%d came", got)
	}
}
