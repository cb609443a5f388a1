package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"cauase/pkg/ca"
	"cauase/pkg/ca/catest"
	"cauase/pkg/client/clienttest"
	"cauase/pkg/clock"
	"cauase/pkg/pemfile"
	"cauase/pkg/pki"
	"cauase/pkg/rollover"
	"cauase/pkg/server"
	"cauase/pkg/server/caucase"
	"cauase/pkg/store"
	"cauase/pkg/store/sqlstore"
)

// newRealShell runs command lines against what cauased is made of, over plain HTTP.
func newRealShell(t *testing.T, spans rollover.Spans) (*shell, *ca.Authority) {
	t.Helper()
	clk := clock.NewFake(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
	dir, ctx := t.TempDir(), context.Background()
	db, err := sqlstore.Open(ctx, filepath.Join(dir, "db.sqlite"), sqlstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	open := func(name store.AuthorityName, host string) *ca.Authority {
		a, err := catest.Open(ctx, db, clk, catest.Config{
			Name: name, Netloc: "127.0.0.1:8009", Host: host, Spans: spans, KeyType: pki.KeyECDSAP256,
			Backdate: time.Hour, MaxPending: 10, AutoApprove: 10,
		})
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	users, services, https := open(store.Users, ""), open(store.Services, ""), open(store.HTTPS, "127.0.0.1")
	keys, err := caucase.OpenCORSKeys(filepath.Join(dir, "cors.key"))
	if err != nil {
		t.Fatal(err)
	}
	netloc, err := server.ParseNetloc("127.0.0.1:8009")
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	front, err := caucase.New(caucase.Config{
		Netloc: netloc, Clock: clk, Log: log, CORSKeys: keys,
		Authorities: caucase.List{users, services, https}, ServerCAs: https.CACertificates,
	})
	if err != nil {
		t.Fatal(err)
	}
	s, err := server.New(server.Config{Clock: clk, Log: log, FrontEnds: []server.FrontEnd{front}})
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(s)
	t.Cleanup(web.Close)
	t.Chdir(t.TempDir())
	t.Setenv("CAUASE_CA_URL", web.URL)
	return &shell{T: t, daemon: &clienttest.Daemon{Clock: clk}}, services
}

// Two hosts, one with files and one with directories, live through rollovers; a third is away.
func TestRealRollovers(t *testing.T) {
	for _, spans := range []rollover.Spans{
		{Leaf: 93 * 24 * time.Hour, Life: 4},
		{Leaf: 93 * 24 * time.Hour, Life: 3},
		{Leaf: 10 * time.Minute, Life: 4},
	} {
		t.Run(fmt.Sprint(spans.Leaf, " life ", spans.Life), func(t *testing.T) {
			s, services := newRealShell(t, spans)
			walkThrough(s, services, spans)
		})
	}
}

func walkThrough(s *shell, services *ca.Authority, spans rollover.Spans) {
	clk, ctx := s.daemon.Clock, context.Background()
	const inFiles, inFolders = "--ca-crt cas.crt.pem --crl cas.crl.pem ", "--ca-crt cas --crl crls "
	s.ok(inFiles + "request --cn web --crt web.pem")
	s.ok(inFolders + "request --cn mail --crt mail.pem")
	s.ok(inFiles + "request --cn gone --crt gone.pem")
	s.ok("crt revoke gone.pem")
	s.ok("--ca-crt away.pem ca update")
	threshold := fmt.Sprintf("--threshold %f ", spans.Leaf.Hours()/24/3)
	phases := map[string][]rollover.Phase{}
	start := clk.Now()
	for step := spans.Leaf / 5; step < 27*spans.Leaf/5; step += spans.Leaf / 5 {
		clk.Set(start.Add(step))
		if err := services.Maintain(ctx); err != nil {
			s.Fatal(err)
		}
		s.compareTimeline(services)
		for host, flags := range map[string]string{"web": inFiles, "mail": inFolders} {
			s.ok(flags + threshold + "crt renew " + host + ".pem")
			s.ok(flags + "ca update")
			s.ok(flags + "crl update")
		}
		for _, flags := range []string{inFiles, inFolders} {
			s.ok(flags + "crt show web.pem mail.pem")
			s.says(`(?s)trusted: +yes.*trusted: +yes`)
			s.ok(flags + "crl show")
			s.says(`(?s)signature: +of a CA in the CA store`)
		}
		timeline, err := services.Timeline(ctx)
		if err != nil {
			s.Fatal(err)
		}
		for _, g := range timeline.Generations {
			id := hex.EncodeToString(g.Certificate.SubjectKeyId)
			if seen := phases[id]; len(seen) == 0 || seen[len(seen)-1] != g.Phase {
				phases[id] = append(seen, g.Phase)
			}
		}
	}
	if len(phases) < 3 {
		s.Errorf("%d generations", len(phases))
	}
	for id, seen := range phases {
		whole := []rollover.Phase{rollover.Passive, rollover.Active, rollover.Retired}
		if !slices.Equal(seen, whole[:min(len(seen), 3)]) && !slices.Equal(seen, whole[1:]) {
			s.Errorf("CA %s was %v", id, seen)
		}
	}
	s.checkStores(services)

	// The third comes back. Its only CA certificate expired a while ago.
	away, err := os.ReadFile("away.pem")
	if err != nil {
		s.Fatal(err)
	}
	ago := 26.0/5 - float64(spans.Life)
	s.exits("--ca-crt away.pem ca update", 1)
	s.exits(fmt.Sprintf("--ca-crt away.pem --catch-up %f ca update", ago-0.1), 1)
	if now, err := os.ReadFile("away.pem"); err != nil || !bytes.Equal(now, away) {
		s.Errorf("its store has changed, or %v", err)
	}
	s.ok(fmt.Sprintf("--ca-crt away.pem --catch-up %f ca update", ago+0.1))
	there, err1 := os.ReadFile("cas.crt.pem")
	caughtUp, err2 := os.ReadFile("away.pem")
	if err := errors.Join(err1, err2); err != nil || !bytes.Equal(there, caughtUp) {
		s.Errorf("it has not caught up: %v", err)
	}
}

// compareTimeline holds what ca show computes against what the authority knows.
func (s *shell) compareTimeline(services *ca.Authority) {
	s.Helper()
	timeline, err := services.Timeline(context.Background())
	if err != nil {
		s.Fatal(err)
	}
	s.ok("ca show --json")
	var o overview
	if err := json.Unmarshal([]byte(s.out), &o); err != nil {
		s.Fatal(err)
	}
	if o.SpanEstimated || o.SpanSeconds != timeline.Span.Seconds() {
		s.Errorf("span %v", o.SpanSeconds)
	}
	if want := timeline.NextCA.Truncate(time.Second); !o.Next.PassiveFrom.Equal(want) || o.Next.Overdue {
		s.Errorf("next %v, want %v", o.Next, want)
	}
	for _, crl := range o.CRLs {
		if crl.Number != fmt.Sprint(timeline.CRLNumber) || !crl.ThisUpdate.Equal(timeline.ThisUpdate.Truncate(time.Second)) || crl.Revoked != timeline.Revoked {
			s.Errorf("CRL %+v, want number %d of %v", crl, timeline.CRLNumber, timeline.ThisUpdate)
		}
	}
	var got, want string
	for _, g := range o.Generations {
		if g.Phase == rollover.Expired {
			continue // stored here until the next update
		}
		got += fmt.Sprintln(g.Phase, g.KeyID, g.ActiveFrom, g.RetiredFrom, g.Vouched)
	}
	for _, g := range timeline.Generations {
		want += fmt.Sprintln(g.Phase, hex.EncodeToString(g.Certificate.SubjectKeyId), seconds(g.ActiveFrom), seconds(g.RetiredFrom), true)
	}
	if got != want {
		s.Errorf("at %v ca show says\n%swant\n%s", s.daemon.Clock.Now(), got, want)
	}

	// By its certificates alone, it comes out the same but for the first of all and for what
	// backdating hides.
	s.ok("ca show --offline --json")
	var estimate overview
	if err := json.Unmarshal([]byte(s.out), &estimate); err != nil {
		s.Fatal(err)
	}
	if off := (estimate.SpanSeconds - timeline.Span.Seconds()) / timeline.Span.Seconds(); estimate.SpanEstimated && (off < -0.26 || off > 0.01) {
		s.Errorf("a span is estimated as %v seconds instead of %v", estimate.SpanSeconds, timeline.Span.Seconds())
	}
}

// checkStores compares files and directories with the valid CA certificates.
func (s *shell) checkStores(services *ca.Authority) {
	s.Helper()
	valid, err := services.CACertificates(context.Background())
	if err != nil {
		s.Fatal(err)
	}
	var file []byte
	var names, listNames []string
	for _, crt := range valid {
		pem := pki.EncodeCertificatePEM(crt.Raw)
		file = append(file, pem...)
		name := hex.EncodeToString(crt.SubjectKeyId)
		names, listNames = append(names, name+".ca.pem"), append(listNames, name+".crl.pem")
		if got, err := os.ReadFile(filepath.Join("cas", name+".ca.pem")); err != nil || !bytes.Equal(got, pem) {
			s.Errorf("%s.ca.pem: %v", name, err)
		}
	}
	if got, err := os.ReadFile("cas.crt.pem"); err != nil || !bytes.Equal(got, file) {
		s.Errorf("cas.crt.pem is not the %d valid CA certificates, oldest first: %v\n%s", len(valid), err, got)
	}
	for folder, want := range map[string][]string{"cas": names, "crls": listNames} {
		slices.Sort(want)
		var got []string
		entries, err := os.ReadDir(folder)
		for _, e := range entries {
			got = append(got, e.Name())
		}
		if err != nil || !slices.Equal(got, want) {
			s.Errorf("%s holds %v, want %v; %v", folder, got, want, err)
		}
	}
	crls, err := pemfile.CRLStore("crls").ReadCRLs()
	if err != nil || len(crls) != len(valid) {
		s.Errorf("%d revocation lists, %v", len(crls), err)
	}
}
