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
	if own.tokens < 1 {
		return time.Duration((1 - own.tokens) / b.rate * float64(time.Second))
	}
	own.tokens--
	return 0
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
