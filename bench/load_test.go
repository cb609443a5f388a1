package main

import (
	"crypto"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"cauase/pkg/pki"
	"cauase/pkg/testkit/pkitest"
)

// served starts a server on loopback.
func served(t *testing.T, handler http.HandlerFunc) *endpoint {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return &endpoint{address: server.Listener.Addr().String()}
}

func TestOneFailureFailsTheRun(t *testing.T) {
	var asked atomic.Int64
	server := served(t, func(w http.ResponseWriter, _ *http.Request) {
		if asked.Add(1) == 70 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	get := request("GET", "/", server.address, "", nil)
	p := plan{count: 100, do: func(c *client, _ int) error {
		_, err := c.ask(server, get, http.StatusOK)
		return err
	}}
	l := load{clients: 4, limit: time.Minute}
	if _, err := l.run(t.Context(), p); err == nil || !strings.Contains(err.Error(), "status 503") {
		t.Errorf("%v", err)
	}
	m, err := l.run(t.Context(), p) // all is well now
	if err != nil || m.rate <= 0 || m.p50 <= 0 || m.p99 < m.p50 {
		t.Errorf("%+v %v", m, err)
	}
	p.check = func() error { return fmt.Errorf("certificate 3 is for another key") }
	if _, err := l.run(t.Context(), p); err == nil {
		t.Error("what the check has found is no failure")
	}
}

// TestCertificatesAreChecked gives the check what an authority must not answer.
func TestCertificatesAreChecked(t *testing.T) {
	now := time.Now()
	ca := pkitest.NewCA(t, "ca", now.Add(-time.Hour), now.Add(time.Hour))
	other := pkitest.NewCA(t, "ca", now.Add(-time.Hour), now.Add(time.Hour))
	keys := []crypto.Signer{pkitest.Key(t), pkitest.Key(t)}
	issue := func(by pkitest.CA, key crypto.Signer) []byte {
		return pki.EncodeCertificatePEM(by.Issue(t, "host", key.Public()).Raw)
	}
	first, second := issue(ca, keys[0]), issue(ca, keys[1])
	if hosts, err := checkIssued(ca.Crt, keys, [][]byte{first, second}); err != nil || len(hosts) != 2 {
		t.Errorf("%v", err)
	}
	for what, answers := range map[string][][]byte{
		"for each other's keys": {second, first},
		"of another CA":         {first, issue(other, keys[1])},
		"that is none":          {first, []byte("yes")},
	} {
		if _, err := checkIssued(ca.Crt, keys, answers); err == nil {
			t.Errorf("certificates %s are taken", what)
		}
	}
	if _, err := checkIssued(ca.Crt, []crypto.Signer{keys[0], keys[0]}, [][]byte{first, first}); err == nil {
		t.Error("one certificate for two requests is taken")
	}
}

// TestFormsOfAnswers reads answers as servers write them.
func TestFormsOfAnswers(t *testing.T) {
	server := served(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/chunked":
			for range 3 {
				fmt.Fprint(w, strings.Repeat("x", 1000))
				w.(http.Flusher).Flush()
			}
		case "/unchanged":
			w.Header().Set("ETag", `"1"`)
			w.WriteHeader(http.StatusNotModified)
		case "/last":
			w.Header().Set("Connection", "close")
			fmt.Fprint(w, "bye")
		default:
			w.Header().Set("Location", "123")
			fmt.Fprint(w, "body")
		}
	})
	c := newClient(t.Context(), 0)
	defer c.close()
	for _, want := range []struct {
		path, body string
		status     int
	}{
		{"/", "body", http.StatusOK}, {"/chunked", strings.Repeat("x", 3000), http.StatusOK}, {"/unchanged", "", http.StatusNotModified},
		{"/last", "bye", http.StatusOK}, {"/", "body", http.StatusOK},
	} {
		a, err := c.ask(server, request("GET", want.path, server.address, "", nil), want.status)
		if err != nil || string(a.body) != want.body {
			t.Errorf("%s: %d bytes, %v", want.path, len(a.body), err)
		}
		switch {
		case want.path == "/" && a.location != "123", want.path == "/unchanged" && a.etag != `"1"`, want.path == "/last" && !a.last:
			t.Errorf("%s: %+v", want.path, a)
		}
	}
	a, err := c.ask(server, request("HEAD", "/", server.address, "", nil), http.StatusOK)
	if err != nil || a.body != nil {
		t.Errorf("HEAD: %v %v", a, err)
	}
}

// TestRatiosCompareTurns has the machine become twice as slow between two repetitions.
func TestRatiosCompareTurns(t *testing.T) {
	r := &results{}
	for _, speed := range []float64{1, 0.5, 1} {
		r.add(workRenewNew, ours(sqliteEngine), perSecond, 4000*speed)
		r.add(workRenewNew, "step-ca badger", perSecond, 900*speed)
	}
	if v := r.value(workRenewNew, ours(sqliteEngine), perSecond); v.Median != 4000 || v.Spread != 0.5 {
		t.Errorf("%+v", v)
	}
	verdicts := r.verdicts()
	if len(verdicts) != 1 || math.Abs(verdicts[0].Value-4000.0/900) > 1e-9 || verdicts[0].Spread > 1e-9 || !verdicts[0].Better {
		t.Errorf("%+v", verdicts)
	}
	if v := judge("cpu", 2.5, 0, 2.4); v.Better || v.outcome() != "missed" {
		t.Errorf("%+v", v)
	}
}

// TestCommandLineIsBounded refuses what no run can do.
func TestCommandLineIsBounded(t *testing.T) {
	for _, line := range []string{
		"-clients 0", "-clients 500", "-requests -1", "-engines oracle", "-revocations 5,x", "-growth 100,10", "-svg x.svg", "-limit 0s", "more",
		"-start-certificates 5 -start-revoked 6",
	} {
		var said strings.Builder
		if _, _, err := parse(strings.Fields(line), &said); err == nil {
			t.Errorf("%s is taken", line)
		}
	}
	if n := hostsOf(1000, 1); n != 57_600_000 {
		t.Errorf("%v hosts", n)
	}
}
