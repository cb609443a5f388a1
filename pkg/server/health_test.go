package server

import (
	"context"
	"errors"
	"testing"
)

func TestReadiness(t *testing.T) {
	asked, failure := 0, error(nil)
	s := newSite(t, func(c *Config) {
		c.Ready = checks(Check{Name: "thing", Run: func(context.Context) error { asked++; return failure }})
	})
	if got := s.handle("GET", "/readyz"); got.Code != 200 || got.Body.String() != "thing ok\n" {
		t.Errorf("%d %s", got.Code, got.Body)
	}
	failure = errors.New("secret detail")
	if s.handle("GET", "/readyz"); asked != 1 {
		t.Error("an outcome is not kept for a moment")
	}
	s.Clock.Advance(readinessLife)
	if got := s.handle("GET", "/readyz", "Origin", "null"); got.Code != 503 || got.Body.String() != "thing failed\n" || got.Header().Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("%d %s %v", got.Code, got.Body, got.Header())
	}
	s.Clock.Advance(-testDay)
	failure = nil
	if got := s.handle("GET", "/readyz"); got.Code != 200 {
		t.Errorf("after the clock was set back: %d", got.Code)
	}
}

// What only warns is shown, and leaves the daemon ready.
func TestReadinessWarning(t *testing.T) {
	var failure error
	s := newSite(t, func(c *Config) {
		c.Ready = checks(
			Check{Name: "backup", Warns: true, Run: func(context.Context) error { return failure }},
			Check{Name: "thing", Run: func(context.Context) error { return nil }},
		)
	})
	for _, c := range []struct {
		failure error
		want    string
	}{
		{nil, "backup ok\nthing ok\n"},
		{errors.New("missed\n\x1b"), "backup warning: missed\\x0a\\x1b\nthing ok\n"},
	} {
		failure = c.failure
		s.Clock.Advance(readinessLife)
		if got := s.handle("GET", "/readyz"); got.Code != 200 || got.Body.String() != c.want {
			t.Errorf("%d %q, want %q", got.Code, got.Body, c.want)
		}
	}
}
