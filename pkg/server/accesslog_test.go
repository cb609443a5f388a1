package server

import (
	"net/http"
	"strings"
	"testing"
)

// TestAccessLogKeepsReasonsOut: what somebody has written into the query of a request that changes something is for whom it
// is about, whether the request was good or not. Queries of what only asks are of use to who reads the log.
func TestAccessLogKeepsReasonsOut(t *testing.T) {
	s := newSite(t, func(c *Config) {
		c.FrontEnds = []FrontEnd{&shop{routes: []Route{say("GET", "orders", Anyone), say("DELETE", "orders/{id}", Anyone), say("PUT", "orders", Anyone)}}}
	})
	for _, tt := range []struct{ method, target, logged string }{
		{"DELETE", "/orders/7?reason=he+was+fired", "target=/orders/7?…"},
		{"DELETE", "/orders/7?reason=fired?and=fired", "target=/orders/7?…"},
		{"DELETE", "http://example.org/orders/7?reason=fired", "target=http://example.org/orders/7?…"},
		{"DELETE", "/nowhere?reason=fired", "target=/nowhere?…"},
		{"delete", "/orders/7?reason=fired", "target=/orders/7?…"},
		{"PUT", "/orders?reason=fired", "target=/orders?…"},
		{"DELETE", "/orders/8", "target=/orders/8 "},
		{"GET", "/orders?after=7&wait=1", `target="/orders?after=7&wait=1"`},
		{http.MethodHead, "/orders?after=8", `target="/orders?after=8"`},
	} {
		before := len(s.log.String())
		s.handle(tt.method, tt.target)
		line := s.log.String()[before:]
		if strings.Contains(line, "fired") || !strings.Contains(strings.ReplaceAll(line, `target="/orders/7?…"`, "target=/orders/7?…"), tt.logged) {
			t.Errorf("%s %s is logged as %s", tt.method, tt.target, line)
		}
	}
}
