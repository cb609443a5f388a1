package server

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"
)

const (
	// Lines of the access log for strangers: a second in the long run, and at once.
	peerLines, peerLinesBurst = 20, 200
	allLines, allLinesBurst   = 100, 1000
	// summaryEvery is how long lines are left out before it is said how many.
	summaryEvery = 10 * time.Second
	// maxOmitted is how many kinds of omitted lines are told apart, and maxSummary how many lines say so.
	maxOmitted, maxSummary = 1024, 50
)

// A sampler keeps strangers from filling the log: of those who ask for more than can be read it leaves lines
// out, and says what it has left out, how often. Nothing that was written or refused goes unmentioned.
type sampler struct {
	log  *slog.Logger
	own  *buckets
	all  *buckets
	wait time.Duration // before a summary

	mu      sync.Mutex
	omitted map[omission]int
	timer   *time.Timer // runs while something has been omitted
}

// An omission is a kind of line that was left out. The zero omission is any kind beyond those that are told apart.
type omission struct {
	what          string
	address       peer // unknownPeer: whoever
	method, route string
	status        int
}

func newSampler(log *slog.Logger) *sampler {
	return &sampler{log: log, own: newBuckets(peerLines, peerLinesBurst, maxBuckets), all: newBuckets(allLines, allLinesBurst, 1),
		wait: summaryEvery, omitted: make(map[omission]int)}
}

// shows reports whether a line about p is to be written. If not, it is counted.
func (s *sampler) shows(p peer, o omission) bool {
	at := now()
	if s.own.take(p, at) <= 0 && s.all.take(unknownPeer, at) <= 0 {
		return true
	}
	if (o.method == http.MethodGet || o.method == http.MethodHead) && o.status < http.StatusBadRequest {
		o.route, o.status = "", 0 // nothing was written or refused
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.omitted[o]; !known && len(s.omitted) >= maxOmitted {
		o = omission{what: o.what}
	}
	s.omitted[o]++
	if s.timer == nil {
		s.timer = time.AfterFunc(s.wait, s.summarize)
	}
	return false
}

// summarize says what has been left out since it last did.
func (s *sampler) summarize() {
	s.mu.Lock()
	omitted := s.omitted
	s.omitted = make(map[omission]int)
	if s.timer != nil {
		s.timer.Stop()
		s.timer = nil
	}
	s.mu.Unlock()

	kinds := slices.SortedFunc(maps.Keys(omitted), func(a, b omission) int { return cmp.Compare(omitted[b], omitted[a]) })
	others := 0
	for i, o := range kinds {
		if i >= maxSummary {
			others += omitted[o]
			continue
		}
		s.say(o, omitted[o])
	}
	if others > 0 {
		s.say(omission{}, others)
	}
}

func (s *sampler) say(o omission, count int) {
	attrs := []slog.Attr{slog.Int("count", count)}
	address := ""
	if o.address != unknownPeer {
		address = o.address.String()
	}
	for name, value := range map[string]string{"of": o.what, "address": address, "method": o.method, "route": o.route} {
		if value != "" {
			attrs = append(attrs, slog.String(name, value))
		}
	}
	slices.SortFunc(attrs, func(a, b slog.Attr) int { return cmp.Compare(a.Key, b.Key) })
	if o.status != 0 {
		attrs = append(attrs, slog.Int("status", o.status))
	}
	s.log.LogAttrs(context.Background(), slog.LevelInfo, "lines left out", attrs...)
}
