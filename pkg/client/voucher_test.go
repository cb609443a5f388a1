package client_test

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"cauase/pkg/client"
	"cauase/pkg/client/clienttest"
	"cauase/pkg/clock"
)

// Whoever is between a user and the daemon can keep the voucher back, but not have the user talk to him.
func TestVoucherKeptBack(t *testing.T) {
	silent := func(w http.ResponseWriter) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err == nil {
			_ = conn.Close()
		}
	}
	status := func(code int, body string) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) {
			w.WriteHeader(code)
			fmt.Fprint(w, body)
		}
	}
	over := make(chan struct{})
	answers := map[string]struct {
		answer func(http.ResponseWriter)
		none   bool // a reference daemon might say this
	}{
		"no answer":              {func(http.ResponseWriter) { <-over }, false},
		"not found":              {status(404, ""), true},
		"not an id":              {status(400, "Invalid integer"), true},
		"not found, a web page":  {status(404, "<!DOCTYPE html><title>no"), false},
		"gone":                   {status(410, ""), false},
		"not allowed":            {status(405, ""), false},
		"unauthorized":           {status(401, ""), false},
		"out of order":           {status(500, ""), false},
		"try later":              {status(503, ""), false},
		"elsewhere":              {func(w http.ResponseWriter) { w.Header().Set("Location", "/cau/crt/https-ca.json"); w.WriteHeader(302) }, false},
		"not modified":           {status(304, ""), false},
		"nothing, with success":  {status(200, ""), false},
		"no content":             {func(w http.ResponseWriter) { w.WriteHeader(204) }, false},
		"garbage":                {status(200, "\x00\xff{"), false},
		"no word, with success":  {status(200, "null"), false},
		"a closed connection":    {silent, false},
		"the chain in its place": {status(200, "[]"), false},
		"half an answer":         {func(w http.ResponseWriter) { w.Header().Set("Content-Length", "1000"); fmt.Fprint(w, "{") }, false},
	}
	modes := map[string]struct {
		how     client.Caucase
		rsa     bool
		is      error
		connect bool
	}{
		"by default":                            {client.Caucase{}, true, client.ErrUnverifiedHTTPS, false},
		"from what vouched before":              {client.Caucase{Allowed: true, Vouched: true}, true, client.ErrVouchedBefore, false},
		"from what vouched before, by default":  {client.Caucase{Vouched: true}, true, client.ErrVouchedBefore, false},
		"from what cannot be a reference":       {client.Caucase{Allowed: true}, false, client.ErrNoReference, false},
		"from what may be a reference, allowed": {client.Caucase{Allowed: true}, true, nil, true},
	}
	clk := clock.NewFake(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
	reference, ours := clienttest.StartReference(t, clk), clienttest.Start(t, clk)
	t.Cleanup(func() { close(over) })
	for how, mode := range modes {
		for what, a := range answers {
			t.Run(how+"/"+what, func(t *testing.T) {
				d := ours
				if mode.rsa {
					d = reference
				}
				options := client.Options{URL: d.URL, Authority: client.CAS, Clock: clk}
				if what == "no answer" {
					options.Timeout = 50 * time.Millisecond
				}
				c, err := client.New(options)
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				d.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
					if strings.HasSuffix(r.URL.Path, "https-ca.json") {
						a.answer(w)
						return true
					}
					return false
				})
				session, err := c.Connect(t.Context(), userOf(t, d), []*x509.Certificate{d.CAS.Newest().Crt}, mode.how)
				switch {
				case mode.connect && a.none:
					if err != nil || session.Verified() {
						t.Fatalf("verified: %v, error %v", session.Verified(), err)
					}
				case err == nil:
					t.Fatal("it is taken for a reference daemon")
				case a.none && !errors.Is(err, mode.is):
					t.Errorf("error %v, want %v", err, mode.is)
				case !a.none && errors.Is(err, client.ErrUnverifiedHTTPS):
					t.Errorf("it is taken for no voucher: %v", err)
				}
			})
		}
	}
	t.Run("from one of several CAs that is not RSA", func(t *testing.T) {
		c, err := client.New(client.Options{URL: reference.URL, Authority: client.CAS, Clock: clk})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		reference.Intercept(nil)
		trusted := []*x509.Certificate{reference.CAS.Newest().Crt, ours.CAS.Newest().Crt}
		for _, cas := range [][]*x509.Certificate{trusted, {trusted[1], trusted[0]}, nil} {
			if _, err := c.Connect(t.Context(), userOf(t, reference), cas, client.Caucase{Allowed: true}); !errors.Is(err, client.ErrNoReference) {
				t.Errorf("error %v", err)
			}
		}
	})
}
