package server

import (
	"sync"
	"time"
)

// buckets say how often each peer may do something: up to burst times at once, and rate times a second
// in the long run.
//
// There is room for so many peers only. Of those whose bucket is full nothing has to be remembered. When
// all others fill the table, newcomers have one bucket in common: nobody gets a new one by coming
// from many addresses in between.
type buckets struct {
	rate, burst float64
	size        int

	mu     sync.Mutex
	of     map[peer]*bucket
	common bucket
	swept  time.Time
}

type bucket struct {
	tokens float64
	at     time.Time
}

// maxBuckets is how many peers are remembered.
const maxBuckets = 8192

func newBuckets(rate, burst float64, size int) *buckets {
	return &buckets{rate: rate, burst: burst, size: size, of: make(map[peer]*bucket), common: bucket{tokens: burst}}
}

// newWriteBuckets are those for writes without a user's certificate, nil if there is no limit.
func newWriteBuckets(l Limits) *buckets {
	if l.WriteRate <= 0 {
		return nil
	}
	burst := l.WriteBurst
	if burst <= 0 {
		burst = l.WriteRate
	}
	return newBuckets(float64(l.WriteRate)/60, float64(burst), maxBuckets)
}

// take takes a token of p's, or returns how long to wait for one.
func (b *buckets) take(p peer, at time.Time) (wait time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	own := b.bucket(p, at)
	if own.tokens < 1 {
		return b.until(own)
	}
	own.tokens--
	return 0
}

// reserve takes a token of p's that is there, or will be after a wait of at most limit, and reports whether there is one. It
// also returns how many p has used that have not grown back, this one included.
func (b *buckets) reserve(p peer, at time.Time, limit time.Duration) (wait time.Duration, used float64, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	own := b.bucket(p, at)
	if own.tokens < 1 {
		if wait = b.until(own); wait > limit {
			return 0, 0, false
		}
	}
	own.tokens--
	return wait, b.burst - own.tokens, true
}

// until is how long it takes until there is a token in own.
func (b *buckets) until(own *bucket) time.Duration {
	return time.Duration((1 - own.tokens) / b.rate * float64(time.Second))
}

// bucket returns p's, with what it holds at this time.
func (b *buckets) bucket(p peer, at time.Time) *bucket {
	own := b.of[p]
	if own == nil {
		b.sweep(at)
		if len(b.of) < b.size {
			own = &bucket{tokens: b.burst, at: at}
			b.of[p] = own
		} else {
			own = &b.common
		}
	}
	b.fill(own, at)
	return own
}

func (b *buckets) fill(own *bucket, at time.Time) {
	if passed := at.Sub(own.at); passed > 0 { // a clock that is set back gives nothing
		own.tokens = min(own.tokens+passed.Seconds()*b.rate, b.burst)
	}
	own.at = at
}

// sweepEvery is how often buckets that are full again are looked for while there is no room.
const sweepEvery = time.Second

// sweep forgets full buckets once there is no room for more.
func (b *buckets) sweep(at time.Time) {
	if passed := at.Sub(b.swept); len(b.of) < b.size || passed >= 0 && passed < sweepEvery {
		return
	}
	b.swept = at
	for p, own := range b.of {
		if b.fill(own, at); own.tokens >= b.burst {
			delete(b.of, p)
		}
	}
}
