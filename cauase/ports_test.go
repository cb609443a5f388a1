package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// Whoever gives the port of HTTPS is told which one is meant.
func TestPortOfHTTPS(t *testing.T) {
	s := newShell(t)
	secure := httptest.NewTLSServer(http.NotFoundHandler())
	defer secure.Close()
	s.exits("--ca-url "+strings.Replace(secure.URL, "https:", "http:", 1)+" ca update", 1)
	s.says("hint: that is the port of HTTPS; --ca-url takes the one of HTTP")
	s.exits("--ca-url "+secure.URL+" ca update", 1)
	s.says("give the http:// address")
}
