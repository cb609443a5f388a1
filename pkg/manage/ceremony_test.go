package manage

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/ca"
	"cauase/pkg/clock"
	"cauase/pkg/envelope"
	"cauase/pkg/pki"
	"cauase/pkg/signoff"
	"cauase/pkg/store"
	"cauase/pkg/store/sqlstore"
	"cauase/pkg/testkit/pkitest"
)

const year = 365 * day

// A stage is an offline root and a daemon's database with an authority below it.
type stage struct {
	t       *testing.T
	clk     *clock.Fake
	offline *sqlstore.DB
	online  *sqlstore.DB
}

const netloc = "ca.example.org:8009"

func rootRow(t *testing.T) store.Authority {
	t.Helper()
	return store.Authority{Name: "home-root", Title: "Home Root", Role: store.RoleRoot, Span: 5 * year, Life: RootLife, KeyType: string(pki.KeyECDSAP256),
		Subject: must[[]byte](t)(pki.ParseSubject("C=FR,O=Example,CN=Home Root"))}
}

func labRow() store.Authority {
	return store.Authority{Name: "lab", Title: "Lab", Role: store.RoleServices, Parent: "home-root", Span: 93 * day, Life: 4,
		KeyType: string(pki.KeyECDSAP256), MaxPending: 50, Permitted: []string{"dns:example.org"}}
}

func newStage(t *testing.T) *stage {
	t.Helper()
	s := &stage{t: t, clk: clock.NewFake(time.Date(2026, 5, 1, 10, 0, 0, 0, time.UTC)), offline: newStore(t), online: newStore(t)}
	s.add(s.offline, NewAuthority{Row: rootRow(t)})
	root := must[Export](t)(ExportAuthority(t.Context(), s.offline, s.clk, "home-root", ""))
	s.add(s.online, NewAuthority{
		Row:      store.Authority{Name: "home-root", Title: "Home Root", Role: store.RoleRoot},
		External: root.Certificates, Lists: root.Lists,
	})
	s.add(s.online, NewAuthority{Row: labRow(), Netloc: netloc})
	return s
}

func (s *stage) add(st store.Store, in NewAuthority) {
	s.t.Helper()
	if err := AddAuthority(s.t.Context(), st, s.clk, in); err != nil {
		s.t.Fatal(err)
	}
}

func (s *stage) request(ahead int) signoff.Request {
	s.t.Helper()
	return must[signoff.Request](s.t)(RequestSignoffs(s.t.Context(), s.online, s.clk, "lab", netloc, ahead))
}

// sign passes request and answer through their files.
func (s *stage) sign(req signoff.Request) signoff.Answer {
	s.t.Helper()
	req = must[signoff.Request](s.t)(signoff.ParseRequest(must[[]byte](s.t)(req.Encode())))
	answer := must[signoff.Answer](s.t)(SignOff(s.t.Context(), s.offline, s.clk, req))
	return must[signoff.Answer](s.t)(signoff.ParseAnswer(must[[]byte](s.t)(answer.Encode())))
}

func (s *stage) install(answer signoff.Answer, pins ...string) (Installed, error) {
	return Install(s.t.Context(), s.online, s.clk, Installation{Answer: answer, Netloc: netloc, TrustRoots: pins})
}

func (s *stage) view(st store.Store, name store.AuthorityName) AuthorityView {
	s.t.Helper()
	return must[AuthorityView](s.t)(ViewAuthority(s.t.Context(), st, s.clk, name))
}

// verify has crypto/x509 judge a fresh certificate of lab by the roots alone.
func (s *stage) verify(roots []*x509.Certificate) error {
	s.t.Helper()
	ctx := s.t.Context()
	lab := must[*ca.Authority](s.t)(openOne(ctx, s.online, s.clk, "lab", netloc))
	made := must[ca.Submission](s.t)(lab.Submit(ctx, audit.Actor{Kind: audit.Anonymous, Address: "192.0.2.7"}, pkitest.HostRequest(s.t, "host.example.org"), ca.Asked{}))
	issued := must[ca.Issued](s.t)(lab.Approve(ctx, audit.Actor{Kind: audit.User, KeyID: []byte{1}}, made.ID, ca.Approval{}))
	pool, between := x509.NewCertPool(), x509.NewCertPool()
	for _, crt := range roots {
		pool.AddCert(crt)
	}
	for _, crt := range issued.Chain {
		between.AddCert(crt)
	}
	_, err := issued.Certificate.Verify(x509.VerifyOptions{Roots: pool, Intermediates: between, CurrentTime: s.clk.Now(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	return err
}

// TestCeremonies carries files to and fro for longer than the first CA certificate of the root lasts.
func TestCeremonies(t *testing.T) {
	s := newStage(t)
	begin := s.clk.Now()
	ceremonies, newRoots := 0, 0
	for s.clk.Now().Sub(begin) < 24*year {
		if s.view(s.online, "lab").MustSign {
			done, err := s.install(s.sign(s.request(3)))
			if err != nil {
				t.Fatalf("%s: %v", s.clk.Now(), err)
			}
			if len(done.Certificates) != 3 || done.Waits != nil {
				t.Fatalf("%s: %+v", s.clk.Now(), done)
			}
			ceremonies++
			newRoots += len(done.Roots)
		}
		if ceremonies%4 == 1 { // judging each is slow
			roots := must[Export](t)(ExportAuthority(t.Context(), s.online, s.clk, "home-root", "")).Certificates
			if err := s.verify(roots); err != nil {
				t.Fatalf("%s: %v", s.clk.Now(), err)
			}
		} else {
			must[*ca.Authority](t)(openOne(t.Context(), s.online, s.clk, "lab", netloc))
		}
		s.clk.Advance(90 * day)
	}
	if ceremonies < 10 || newRoots < 2 {
		t.Errorf("%d ceremonies, %d new CA certificates of the root", ceremonies, newRoots)
	}
	root := must[*ca.Authority](t)(openOne(t.Context(), s.online, s.clk, "home-root", ""))
	if links, err := root.Succession(t.Context()); err != nil || len(links) != newRoots {
		t.Errorf("%d statements, %v", len(links), err)
	}
	for _, st := range []store.Store{s.offline, s.online} {
		for _, row := range rowsOf(t, st) {
			if c, ok := row.(store.CA); ok && c.Authority == "home-root" && (st == s.online) == (c.State != store.CAExternal) {
				t.Errorf("state %s", c.State)
			}
		}
	}
}

// refusedWithoutTrace runs do, which has to fail with an error that says want, and to change nothing.
func refusedWithoutTrace(t *testing.T, st store.Store, want string, do func() error) {
	t.Helper()
	before := rowsOf(t, st)
	err := do()
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %q", err, want)
	}
	if !reflect.DeepEqual(before, rowsOf(t, st)) {
		t.Error("a refused command has changed something")
	}
}

func TestInstallRefuses(t *testing.T) {
	s := newStage(t)
	good := s.sign(s.request(2))
	stranger := newStage(t) // whose root has the same subject
	strange := stranger.sign(stranger.request(2))
	flip := func(der []byte) []byte {
		der = bytes.Clone(der)
		der[len(der)-4] ^= 1
		return der
	}
	reparse := func(der []byte) *x509.Certificate { return must[*x509.Certificate](t)(x509.ParseCertificate(der)) }
	for _, test := range []struct {
		name   string
		change func(*signoff.Answer)
		want   string
	}{
		{"an authority that is not here", func(a *signoff.Answer) { a.Authority = "elsewhere" }, "there is no such authority"},
		{"an authority without a parent", func(a *signoff.Answer) { a.Authority = "home-root" }, "has no parent"},
		{"another parent", func(a *signoff.Answer) { a.Parent = "other" }, "lab is below home-root"},
		{"the first certificate is tampered with", func(a *signoff.Answer) { a.Certificates[0] = reparse(flip(a.Certificates[0].Raw)) }, "CA certificate 1: refused"},
		{"the second certificate is tampered with", func(a *signoff.Answer) { a.Certificates[1] = reparse(flip(a.Certificates[1].Raw)) }, "CA certificate 2: refused"},
		{"a certificate is the root's", func(a *signoff.Answer) { a.Certificates[1] = a.Parents[0] }, "CA certificate 2: refused"},
		{"a list is tampered with", func(a *signoff.Answer) { a.Lists[0] = flip(a.Lists[0]) }, "revocation list 1"},
		{"a list of another CA", func(a *signoff.Answer) { a.Lists = strange.Lists }, "revocation list 1"},
		{"no root", func(a *signoff.Answer) { a.Parents = nil }, "is valid now"},
		{"another root of the same name", func(a *signoff.Answer) { a.Parents = append(a.Parents, strange.Parents...) }, "nothing that is known here vouches"},
		{"all of another root", func(a *signoff.Answer) { *a = strange }, "nothing that is known here vouches"},
		{"certificates of another root", func(a *signoff.Answer) { a.Certificates = strange.Certificates }, "CA certificate 1: refused"},
		{"a statement of another root", func(a *signoff.Answer) {
			key := pkitest.Key(t)
			link := must[[]byte](t)(envelope.Statements{}.Succession(key, a.Parents[0], strange.Parents[0]))
			a.Succession = append(a.Succession, string(link))
		}, "statement 1 of 1"},
		{"a statement that is none", func(a *signoff.Answer) { a.Succession = []string{"{}"} }, "statement 1 of 1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			answer := good
			answer.Certificates, answer.Parents, answer.Lists = slices.Clone(good.Certificates), slices.Clone(good.Parents), slices.Clone(good.Lists)
			test.change(&answer)
			refusedWithoutTrace(t, s.online, test.want, func() error { _, err := s.install(answer); return err })
		})
	}
	t.Run("a pin of another root", func(t *testing.T) {
		refusedWithoutTrace(t, s.online, "no CA certificate of the root in the file has the fingerprint", func() error {
			_, err := s.install(good, fingerprint(strange.Parents[0].Raw))
			return err
		})
	})
	t.Run("keys that were not asked for", func(t *testing.T) {
		other := newStage(t)
		req := other.request(1)
		fresh := s.sign(req)
		refusedWithoutTrace(t, s.online, "has not asked for a CA certificate for this key", func() error { _, err := s.install(fresh); return err })
	})
	t.Run("the root has expired", func(t *testing.T) {
		s.clk.Advance(21 * year)
		defer s.clk.Advance(-21 * year)
		refusedWithoutTrace(t, s.online, "no CA certificate of the root in the file is valid now", func() error { _, err := s.install(good); return err })
	})
	if done, err := s.install(good); err != nil || len(done.Certificates) != 2 {
		t.Fatalf("%+v, %v", done, err)
	}
	if done, err := s.install(good); err != nil || len(done.Certificates) != 0 || done.Known != 2 {
		t.Errorf("again: %+v, %v", done, err)
	}
}

// TestTamperedAnswers flips bits all over the file: whatever is taken in spite of that is what was signed.
func TestTamperedAnswers(t *testing.T) {
	s := newStage(t)
	good := s.sign(s.request(1))
	file := must[[]byte](t)(good.Encode())
	rollBack := errors.New("roll back")
	taken := 0
	for at := 0; at < len(file); at += 17 {
		bad := bytes.Clone(file)
		bad[at] ^= 1 << (at % 7)
		answer, err := signoff.ParseAnswer(bad)
		if err != nil {
			continue
		}
		err = s.online.Update(t.Context(), func(tx store.Tx) error {
			done, err := Installation{Answer: answer, Netloc: netloc}.install(t.Context(), tx, s.clk)
			if err != nil {
				return rollBack
			}
			taken++
			for _, crt := range done.Certificates {
				if !slices.ContainsFunc(good.Certificates, crt.Equal) {
					t.Errorf("byte %d: a certificate that was not signed is installed", at)
				}
			}
			if len(done.Roots) > 0 {
				t.Errorf("byte %d: a root that nobody vouches for", at)
			}
			return rollBack
		})
		if !errors.Is(err, rollBack) {
			t.Fatal(err)
		}
	}
	if taken > len(file)/17/4 {
		t.Errorf("%d changes were overlooked", taken)
	}
}

func TestSignOffRefuses(t *testing.T) {
	s := newStage(t)
	now := s.clk.Now()
	rootSubject := rootRow(t).Subject
	for _, test := range []struct {
		name   string
		change func(*signoff.Request)
		want   string
	}{
		{"a root that is not here", func(r *signoff.Request) { r.Parent = "other-root" }, `"other-root" is none of home-root`},
		{"no name", func(r *signoff.Request) { r.Authority = "../lab" }, "is not the name of an authority"},
		{"the root asks for itself", func(r *signoff.Request) { r.Authority = "home-root" }, "asks for itself"},
		{"an address with a path", func(r *signoff.Request) { r.Base = "http://host/path" }, "at which lists could be found"},
		{"an address with a user", func(r *signoff.Request) { r.Base = "http://user@host" }, "at which lists could be found"},
		{"an address of another kind", func(r *signoff.Request) { r.Base = "ldap://host" }, "at which lists could be found"},
		{"no address", func(r *signoff.Request) { r.Base = "" }, "at which lists could be found"},
		{"permitted names that are none", func(r *signoff.Request) { r.Permitted = []string{"x"} }, "is not KIND:NAME"},
		{"expired", func(r *signoff.Request) { r.Generations[0].NotAfter = now; r.Generations[0].NotBefore = now.Add(-day) }, "would have expired"},
		{"from long ago", func(r *signoff.Request) { r.Generations[0].NotBefore = now.Add(-366 * day) }, "more than a year ago"},
		{"beyond the root", func(r *signoff.Request) {
			r.Generations[1].NotBefore, r.Generations[1].NotAfter = now.Add(19*year), now.Add(20*year+day)
		}, "CA certificate 2: it would end at"},
		{"too long", func(r *signoff.Request) { r.Generations[0].NotAfter = now.Add(6 * year) }, "certifies for at most 5y"},
		{"the root's own subject", func(r *signoff.Request) {
			for i, g := range r.Generations {
				csr := *g.CSR.CSR
				csr.RawSubject = rootSubject
				changed := *g.CSR
				changed.CSR = &csr
				r.Generations[i].CSR = &changed
			}
		}, "it has the subject of home-root itself"},
		{"the root's own subject, spelt differently", func(r *signoff.Request) {
			for i, g := range r.Generations {
				csr := *g.CSR.CSR
				csr.RawSubject = bytes.ToUpper(rootSubject)
				changed := *g.CSR
				changed.CSR = &csr
				r.Generations[i].CSR = &changed
			}
		}, "it has the subject of home-root itself"},
	} {
		t.Run(test.name, func(t *testing.T) {
			req := s.request(2)
			test.change(&req)
			refusedWithoutTrace(t, s.offline, test.want, func() error { _, err := SignOff(t.Context(), s.offline, s.clk, req); return err })
		})
	}
	t.Run("the database of the daemon", func(t *testing.T) {
		req := s.request(1)
		refusedWithoutTrace(t, s.online, "is not in this database", func() error { _, err := SignOff(t.Context(), s.online, s.clk, req); return err })
	})
	t.Run("an empty database", func(t *testing.T) {
		empty := newStore(t)
		req := s.request(1)
		refusedWithoutTrace(t, empty, "holds no authorities at all", func() error { _, err := SignOff(t.Context(), empty, s.clk, req); return err })
	})
	t.Run("a retired root", func(t *testing.T) {
		req := s.request(1)
		if err := RetireAuthority(t.Context(), s.offline, s.clk, "home-root"); err != nil {
			t.Fatal(err)
		}
		refusedWithoutTrace(t, s.offline, "is retired", func() error { _, err := SignOff(t.Context(), s.offline, s.clk, req); return err })
	})
}

// TestSignOffTwice gives the same certificates again, and none for a key that has one by another request.
func TestSignOffTwice(t *testing.T) {
	s := newStage(t)
	req := s.request(2)
	first, second := s.sign(req), s.sign(req)
	for i := range first.Certificates {
		if !first.Certificates[i].Equal(second.Certificates[i]) {
			t.Errorf("certificate %d was signed twice", i)
		}
	}
	req.Generations[1].NotAfter = req.Generations[1].NotAfter.Add(-day)
	refusedWithoutTrace(t, s.offline, "it was signed before, to end at", func() error { _, err := SignOff(t.Context(), s.offline, s.clk, req); return err })
	if _, err := RevokeBelow(t.Context(), s.offline, s.clk, "home-root", first.Certificates[0], nil, 0); err != nil {
		t.Fatal(err)
	}
	for _, crt := range []*x509.Certificate{first.Parents[0], newStage(t).sign(req).Certificates[0]} {
		refusedWithoutTrace(t, s.offline, "is not one that home-root has signed", func() error {
			_, err := RevokeBelow(t.Context(), s.offline, s.clk, "home-root", crt, nil, 0)
			return err
		})
	}
	again := s.request(1)
	refusedWithoutTrace(t, s.offline, "revoked since", func() error { _, err := SignOff(t.Context(), s.offline, s.clk, again); return err })
}

// TestPinnedRoot: after the root was made anew, its fingerprint is what lets the daemon go on.
func TestPinnedRoot(t *testing.T) {
	s := newStage(t)
	s.clk.Advance(day)
	s.offline = newStore(t)
	s.add(s.offline, NewAuthority{Row: rootRow(t)})
	answer := s.sign(s.request(1))
	refusedWithoutTrace(t, s.online, "nothing that is known here vouches", func() error { _, err := s.install(answer); return err })
	done, err := s.install(answer, fingerprint(answer.Parents[0].Raw))
	if err != nil || len(done.Roots) != 1 || len(done.Certificates) != 1 {
		t.Fatalf("%+v, %v", done, err)
	}
	if err := s.verify(answer.Parents); err != nil {
		t.Error(err)
	}
}

// TestInstallLists puts out of use what the root has revoked, in use or in stock.
func TestInstallLists(t *testing.T) {
	s := newStage(t)
	answer := s.sign(s.request(3))
	if _, err := s.install(answer); err != nil {
		t.Fatal(err)
	}
	for _, crt := range answer.Certificates[:2] {
		if _, err := RevokeBelow(t.Context(), s.offline, s.clk, "home-root", crt, nil, store.KeyCompromise); err != nil {
			t.Fatal(err)
		}
	}
	lists := must[Export](t)(ExportAuthority(t.Context(), s.offline, s.clk, "home-root", "")).Lists
	foreign := newStage(t)
	refusedWithoutTrace(t, foreign.online, "is of no root here", func() error {
		_, err := InstallLists(t.Context(), foreign.online, s.clk, lists, netloc)
		return err
	})
	all, err := InstallLists(t.Context(), s.online, s.clk, lists, netloc)
	if err != nil || len(all) != 1 || all[0].Lists != 1 || len(all[0].Revoked) != 2 {
		t.Fatalf("%+v, %v", all, err)
	}
	v := s.view(s.online, "lab")
	if v.Generations[0].State != store.CARevoked || len(v.Signoffs) != 1 || !v.MustSign {
		t.Errorf("%+v", v)
	}
	// The gap before what is left in stock is asked for, and filled.
	if done, err := s.install(s.sign(s.request(1))); err != nil || len(done.Certificates) != 1 || done.Waits != nil {
		t.Fatalf("%+v, %v", done, err)
	}
	if v := s.view(s.online, "lab"); v.MustSign || len(v.Signoffs) != 1 || v.Newest().State != store.CAUsable {
		t.Errorf("%+v", v)
	}
	again, err := InstallLists(t.Context(), s.online, s.clk, lists, netloc)
	if err != nil || again[0].Lists != 0 || len(again[0].Revoked) != 0 {
		t.Errorf("again: %+v, %v", again, err)
	}
}

// failing fails at the commit.
type failing struct{ store.Store }

var errFull = errors.New("no space left on device")

func (f failing) Update(ctx context.Context, fn func(store.Tx) error) error {
	return f.Store.Update(ctx, func(tx store.Tx) error {
		if err := fn(tx); err != nil {
			return err
		}
		return errFull
	})
}

func TestNothingHalfDone(t *testing.T) {
	s := newStage(t)
	answer := s.sign(s.request(2))
	full := failing{s.online}
	ctx := t.Context()
	for name, do := range map[string]func() error{
		"add": func() error { return AddAuthority(ctx, full, s.clk, NewAuthority{Row: rootNamed(t, "other")}) },
		"install": func() error {
			_, err := Install(ctx, full, s.clk, Installation{Answer: answer, Netloc: netloc})
			return err
		},
		"retire": func() error { return RetireAuthority(ctx, full, s.clk, "lab") },
		"parent": func() error { _, err := SetParent(ctx, full, s.clk, "lab", ""); return err },
	} {
		t.Run(name, func(t *testing.T) { refusedWithoutTrace(t, s.online, errFull.Error(), do) })
	}
}

func rootNamed(t *testing.T, name store.AuthorityName) store.Authority {
	t.Helper()
	row := rootRow(t)
	row.Name = name
	return row
}
