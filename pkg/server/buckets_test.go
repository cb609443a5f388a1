package server

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestBuckets(t *testing.T) {
	b := newBuckets(2, 3, 100)
	at := time.Date(2031, 5, 1, 12, 0, 0, 0, time.UTC)
	one, other := peerOf("192.0.2.1"), peerOf("192.0.2.2")
	for n := range 3 {
		if wait := b.take(one, at); wait != 0 {
			t.Fatalf("token %d: wait %v", n, wait)
		}
	}
	if wait := b.take(one, at); wait != 500*time.Millisecond {
		t.Errorf("wait %v", wait)
	}
	if b.take(other, at) != 0 {
		t.Error("another one has to wait, too")
	}
	if b.take(one, at.Add(500*time.Millisecond)) != 0 || b.take(one, at.Add(500*time.Millisecond)) == 0 {
		t.Error("not one token after half a second")
	}
	if b.take(one, at.Add(-time.Hour)) == 0 {
		t.Error("a clock that is set back gives tokens")
	}
}

// TestBucketsCannotBeRenewed: coming from many addresses in between does not make the first forgotten.
func TestBucketsCannotBeRenewed(t *testing.T) {
	b := newBuckets(0.001, 2, 50)
	at := time.Date(2031, 5, 1, 12, 0, 0, 0, time.UTC)
	name := func(n int) peer { return peerOf(fmt.Sprintf("2001:db8:%x::1", n)) }
	granted := 0
	for range 5 {
		for n := range 200 {
			if b.take(name(n), at) == 0 {
				granted++
			}
			at = at.Add(time.Millisecond)
		}
	}
	// 50 that are remembered and one in common, two tokens each.
	if granted != 2*51 || len(b.of) != 50 {
		t.Errorf("%d tokens, %d remembered", granted, len(b.of))
	}
	// When they are full again they are forgotten, and others have their place.
	at = at.Add(time.Hour)
	if b.take(name(1000), at) != 0 || len(b.of) != 1 {
		t.Errorf("%d remembered", len(b.of))
	}
}

// TestWritesHaveARate: strangers may write so often, read as often as they like, and users are none of them.
func TestWritesHaveARate(t *testing.T) {
	shop := &shop{routes: []Route{say("GET", "", Anyone), say("PUT", "orders", Anyone), say("PUT", "secret", User)}}
	reasons := map[string]int{}
	s := newSite(t, func(c *Config) {
		c.FrontEnds = []FrontEnd{shop}
		c.Limits = Limits{WriteRate: 1, WriteBurst: 3}
		c.Limited = func(reason string) { reasons[reason]++ }
	})
	user, _ := s.Issue(t, s.Users)
	shop.allow(user.Leaf)
	put := func(address string) *httptest.ResponseRecorder {
		r := httptest.NewRequestWithContext(context.Background(), "PUT", "/orders", strings.NewReader("x"))
		r.RemoteAddr = address
		w := httptest.NewRecorder()
		s.server.ServeHTTP(w, r)
		return w
	}
	for range 3 {
		if got := put("192.0.2.1:1"); got.Code != http.StatusOK {
			t.Fatalf("status %d", got.Code)
		}
	}
	got := put("192.0.2.1:2")
	wait, err := strconv.Atoi(got.Header().Get("Retry-After"))
	if got.Code != http.StatusTooManyRequests || err != nil || wait < 50 || wait > 60 || reasons["write_rate"] != 1 {
		t.Errorf("status %d, Retry-After %q, %v", got.Code, got.Header().Get("Retry-After"), reasons)
	}
	if got := put("192.0.2.2:1"); got.Code != http.StatusOK {
		t.Errorf("another address: %d", got.Code)
	}
	if got := s.handle("GET", "/"); got.Code != http.StatusOK {
		t.Errorf("reading: %d", got.Code)
	}
	client := s.Client(t, user)
	for n := range 10 {
		r, err := http.NewRequest("PUT", "https://"+s.httpsAddr+"/secret", nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != http.StatusOK {
			t.Fatalf("write %d of a user: %d", n, response.StatusCode)
		}
	}
}
