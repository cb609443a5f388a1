package server

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"cauase/pkg/testkit"
)

// TestAccessLogUnderFlood: the log of a flood is short, and says what it lacks.
func TestAccessLogUnderFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &testkit.Buffer{}
		s := newSampler(slog.New(slog.NewTextHandler(log, nil)))
		flood, other := peerOf("192.0.2.1"), peerOf("192.0.2.2")
		shown := 0
		for n := range 10_000 {
			o := omission{"request", flood, "GET", "/cas/crl", 200}
			if n%10 == 0 {
				o = omission{"request", flood, "PUT", "/cas/csr", 507}
			}
			if s.shows(flood, o) {
				shown++
			}
		}
		if shown != peerLinesBurst {
			t.Errorf("%d lines of one address at once", shown)
		}
		if !s.shows(other, omission{what: "request"}) {
			t.Error("nothing is said of another address")
		}
		time.Sleep(summaryEvery)
		synctest.Wait()
		for _, want := range []string{
			`msg="lines left out" address=192.0.2.1 count=8820 method=GET of=request`,
			`msg="lines left out" address=192.0.2.1 count=980 method=PUT of=request route=/cas/csr status=507`,
		} {
			if !strings.Contains(log.String(), want) {
				t.Errorf("no %s in\n%s", want, log)
			}
		}
		// Any number of kinds makes no more lines, and no more memory.
		before := strings.Count(log.String(), "\n")
		for n := range 5000 {
			p := peerOf(fmt.Sprintf("2001:db8:%x::", n))
			s.shows(p, omission{"request", p, "PUT", "/cas/csr", 400})
		}
		if len(s.omitted) > maxOmitted+1 {
			t.Errorf("%d kinds are remembered", len(s.omitted))
		}
		s.summarize()
		if got := strings.Count(log.String(), "\n") - before; got > maxSummary+1 {
			t.Errorf("%d lines of summary", got)
		}
	})
}

// TestLoggedTextIsShort: what is escaped is cut after that.
func TestLoggedTextIsShort(t *testing.T) {
	for _, text := range []string{strings.Repeat("\x01", 5000), strings.Repeat("\u202e", 300), strings.Repeat("é", 300), strings.Repeat("\xff", 300)} {
		if got := Loggable(text); len(got) > maxLogged+len("…") || !strings.HasSuffix(got, "…") {
			t.Errorf("%d bytes: %s", len(got), got)
		}
	}
	if got := Loggable("GET"); got != "GET" {
		t.Errorf("%q", got)
	}
}
