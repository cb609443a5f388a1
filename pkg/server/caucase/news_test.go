package caucase

import (
	"context"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"strings"
	"testing"
	"time"

	"cauase/pkg/pki"
)

// newestNumber is the number of the services' lists.
func (s *site) newestNumber() int64 {
	s.t.Helper()
	lists, err := s.Services.CRLs(s.t.Context())
	if err != nil || len(lists) == 0 {
		s.t.Fatal(lists, err)
	}
	return lists[0].Number
}

// untilWaiting returns when so many requests wait.
func (s *site) untilWaiting(count int) {
	s.t.Helper()
	for s.server.Waiting() != count {
		if s.t.Context().Err() != nil {
			s.t.Fatal(s.server.Waiting())
		}
		time.Sleep(time.Millisecond) // nothing tells of it but asking
	}
}

// poll asks for lists in the background.
func (s *site) poll(client *http.Client, target string, headers ...string) <-chan answer {
	answered := make(chan answer, 1)
	go func() { answered <- s.do(client, "GET", target, "", headers...) }()
	return answered
}

// TestRevocationReachesWhoWaits is for lists of all CAs and of one, over HTTP and over either version of it with TLS.
func TestRevocationReachesWhoWaits(t *testing.T) {
	for name, target := range map[string]string{
		"HTTP": "http:/cas/crl", "HTTPS": "https:/cas/crl", "one CA's": "http:/cas/crl/%d", "one CA's, DER": "https:/cas/crl/%d.crl",
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			crt, _ := s.issue(s.Services)
			before := s.newestNumber()
			if strings.Contains(target, "%d") {
				target = fmt.Sprintf(target, new(big.Int).SetBytes(crt.Leaf.AuthorityKeyId))
			}
			answered := s.poll(s.client(nil), fmt.Sprintf("%s?after=%d&wait=60", target, before))
			s.untilWaiting(1)
			s.do(s.client(nil), "PUT", "http:/cas/crt/revoke", revocationOf(t, crt, true), "Content-Type", "application/json")
			if _, err := s.Services.Refresh(t.Context()); err != nil { // as the daemon does each second
				t.Fatal(err)
			}
			got := <-answered
			if got.StatusCode != http.StatusOK || got.Header.Get("ETag") == "" {
				t.Fatalf("status %d, %v", got.StatusCode, got.Header)
			}
			der := []byte(got.body)
			if !strings.HasSuffix(target, ".crl") {
				lists, err := pki.ParseCRLsPEM(der)
				if err != nil || len(lists) != 1 || lists[0].Number.Int64() <= before || len(lists[0].RevokedCertificateEntries) != 1 {
					t.Errorf("%d lists, %v", len(lists), err)
				}
			}
		})
	}
}

// TestWhoHasAnOlderListDoesNotWait, nor does who does not ask to.
func TestWhoHasAnOlderListDoesNotWait(t *testing.T) {
	for name, noPush := range map[string]bool{"with push": false, "without": true} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, func(c *Config) { c.NoPush = noPush })
			number := s.newestNumber()
			tag := s.do(s.client(nil), "GET", "http:/cas/crl", "").Header.Get("ETag")
			for query, want := range map[string]int{
				fmt.Sprintf("?after=%d&wait=60s", number-1):  200,
				"?after=0&wait=1m":                           200,
				fmt.Sprintf("?after=%d", number-1):           200,
				fmt.Sprintf("?after=%d", number):             304,
				fmt.Sprintf("?after=%d&wait=0", number):      304,
				fmt.Sprintf("?after=%d&wait=10ms", number):   304,
				fmt.Sprintf("?after=%d&wait=10ms", number+9): 304,
				"?unknown=1": 200,
			} {
				got := s.do(s.client(nil), "GET", "http:/cas/crl"+query, "")
				if got.StatusCode != want || got.Header.Get("ETag") != tag || want == 304 && got.body != "" || got.Header.Get("Retry-After") != "" {
					t.Errorf("%s: status %d, %v", query, got.StatusCode, got.Header)
				}
			}
			if noPush {
				if got := s.do(s.client(nil), "GET", fmt.Sprintf("http:/cas/crl?after=%d&wait=60", number), ""); got.StatusCode != 304 {
					t.Errorf("status %d", got.StatusCode)
				}
			}
		})
	}
}

func TestPollsThatMakeNoSense(t *testing.T) {
	s := newSite(t)
	for _, query := range []string{
		"after=", "after=x", "after=-1", "after=%2B1", "after=0x1", "after=1.5", "after=99999999999999999999", "after=1&after=2",
		"wait=1", "after=1&wait=", "after=1&wait=x", "after=1&wait=-1s", "after=1&wait=5%20s", "after=1&wait=1&wait=2", "after=1&wait=NaN", "after=%",
	} {
		if got := s.do(s.client(nil), "GET", "http:/cas/crl?"+query, ""); got.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: status %d, %s", query, got.StatusCode, got.body)
		}
	}
	if wait, err := parseWait("3h"); err != nil || wait != maxWait {
		t.Errorf("%v %v", wait, err)
	}
}

// TestWhoWaitsIsAnsweredWhenTheDaemonStops at once, and not only when the time is over.
func TestWhoWaitsIsAnsweredWhenTheDaemonStops(t *testing.T) {
	s := newSite(t)
	number := s.newestNumber()
	var all []<-chan answer
	for _, target := range []string{"http:/cas/crl", "https:/cas/crl"} {
		all = append(all, s.poll(s.client(nil), fmt.Sprintf("%s?after=%d&wait=60s", target, number)))
	}
	s.untilWaiting(2)
	if err := s.stop(); err != nil { // it would complain of requests that had to be cut off
		t.Error(err)
	}
	for _, answered := range all {
		if got := <-answered; got.StatusCode != http.StatusNotModified {
			t.Errorf("status %d", got.StatusCode)
		}
	}
	if strings.Contains(s.log.String(), "cut off") {
		t.Error(s.log.String())
	}
}

// TestWhoHangsUpWaitsNoMore: a place is free again when its peer has gone.
func TestWhoHangsUpWaitsNoMore(t *testing.T) {
	s := newSite(t)
	for _, scheme := range []string{"http", "https"} {
		client := s.client(nil)
		address := map[string]string{"http": s.httpAddr, "https": s.httpsAddr}[scheme]
		failed := make(chan error, 1)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		r, err := http.NewRequestWithContext(ctx, "GET", fmt.Sprintf("%s://%s/cas/crl?after=%d&wait=60s", scheme, address, s.newestNumber()), nil)
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			response, err := client.Do(r)
			if err == nil {
				_, err = io.Copy(io.Discard, response.Body)
				_ = response.Body.Close()
			}
			failed <- err
		}()
		s.untilWaiting(1)
		client.CloseIdleConnections()
		cancel()
		if err := <-failed; err == nil {
			t.Error("answered")
		}
		s.untilWaiting(0)
	}
}
