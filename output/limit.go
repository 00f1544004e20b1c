package output

import "time"

// limiter spaces a destination's datagrams out in time.
type limiter struct {
	rate    float64   // datagrams a second
	burst   float64   // how many may go at once
	tokens  float64   // how many may go now; negative after a container of many
	counted time.Time // when tokens was right
}

// maxHeld is how many datagrams wait for the rate; more are dropped.
const maxHeld = 1024

// newLimiter takes freq as the burst; 0 is what 10 ms let through.
func newLimiter(rate, freq int) *limiter {
	if freq == 0 {
		freq = max(rate/100, 1)
	}
	return &limiter{rate: float64(rate), burst: float64(freq), tokens: float64(freq), counted: time.Now()}
}

// every is how often to look whether something may go: four times while a burst
// becomes due, as on a busy machine each look comes late, and what is due beyond
// a burst by then is lost to the rate; but neither in a busy loop nor so seldom
// that the end waits for it.
func (l *limiter) every() time.Duration {
	return min(max(time.Duration(l.burst/l.rate*float64(time.Second)/4), time.Millisecond/2), 100*time.Millisecond)
}

// allow returns how many of these containers may go out now, and takes their
// datagrams as gone.
func (l *limiter) allow(units []unit) int {
	now := time.Now()
	// A look that comes late leaves something for the next one.
	l.tokens = min(l.tokens+now.Sub(l.counted).Seconds()*l.rate, l.burst*5/4)
	l.counted = now
	n := 0
	for datagrams := 0; n < len(units) && l.tokens >= 1 && float64(datagrams) < l.burst; n++ {
		l.tokens -= float64(units[n].end - datagrams)
		datagrams = units[n].end
	}
	return n
}
