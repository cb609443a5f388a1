package manage

import (
	"crypto/x509"
	"errors"
	"strings"
	"testing"

	"cauase/pkg/audit"
	"cauase/pkg/ca"
	"cauase/pkg/ca/catest"
	"cauase/pkg/clock"
	"cauase/pkg/pki"
	"cauase/pkg/store"
	"cauase/pkg/testkit/pkitest"
)

// restoreRefused restores a backup that has to be refused, without a trace, with an error that says all of want.
func restoreRefused(t *testing.T, backup Sealed, target error, want ...string) {
	t.Helper()
	st, clk := newStore(t), clock.NewFake(start)
	_, err := Restore(t.Context(), st, clk, Restoration{Backup: backup, Request: pkitest.HostRequest(t, "alice"),
		Stage: func([]byte) error { t.Error("the new certificate was handed out"); return nil }})
	if !errors.Is(err, target) {
		t.Fatalf("%v, want %v", err, target)
	}
	if _, dry := Inspect(t.Context(), start, backup, nil); !errors.Is(dry, target) {
		t.Errorf("inspected: %v", dry)
	}
	if _, drill := Drill(t.Context(), newStore(t), clk, backup, nil, func(Proof) {}); !errors.Is(drill, target) {
		t.Errorf("drilled: %v", drill)
	}
	for _, text := range want {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("%q does not say %q", err, text)
		}
	}
	empty(t, st)
}

// Anybody can encrypt anything to a user: what an operator expects of a backup is proved by the keys in it.
func TestRestoreExpectsCAs(t *testing.T) {
	s := newSite(t)
	path := s.backup()
	genuine := sealedFile(path, s.key)
	contents := must[Contents](t)(Inspect(t.Context(), start, genuine, nil))
	var known []string
	for _, c := range contents.CAs {
		known = append(known, c.Fingerprint)
	}
	if len(known) != 2 {
		t.Fatalf("%q", known)
	}
	genuine.ExpectCAs = known
	if _, err := Restore(t.Context(), newStore(t), s.clock, Restoration{Backup: genuine, Request: pkitest.HostRequest(t, "alice")}); err != nil {
		t.Error(err)
	}

	another := "sha256:" + strings.Repeat("0", 64)
	genuine.ExpectCAs = append(known, another)
	restoreRefused(t, genuine, ErrUnexpectedCAs, "does not hold the CA "+another, "cas "+known[1], "cau "+known[0])

	// Another CA, with the same user key, and among its rows the CA certificates that hosts know: they are public.
	var theirs []store.CA
	for _, row := range rowsOf(t, s.store) {
		if v, ok := row.(store.CA); ok {
			theirs = append(theirs, v)
		}
	}
	mallory := newSite(t)
	crt, _ := catest.Issue(t, mallory.users, mallory.request(s.key, "alice").PEM)
	if crt == nil {
		t.Fatal("no certificate")
	}
	for _, test := range []struct {
		name   string
		forged func(store.CA) store.CA
		target error
	}{
		{"without keys", func(v store.CA) store.CA { v.State, v.Key = store.CAExternal, store.KeyRef{}; return v }, ErrUnexpectedCAs},
		{"with a key of their own", func(v store.CA) store.CA {
			v.Key = store.KeyInRow(must[[]byte](t)(x509.MarshalPKCS8PrivateKey(pkitest.Key(t))))
			return v
		}, ca.ErrDamaged},
		{"with a key in another place", func(v store.CA) store.CA { v.Key = store.KeyRef{Custody: "hsm", Ref: []byte("x")}; return v }, ErrUnexpectedCAs},
	} {
		t.Run(test.name, func(t *testing.T) {
			var rows []store.Row
			cas := 0
			for _, row := range rowsOf(t, mallory.store) {
				rows = append(rows, row)
				if _, isCA := row.(store.CA); isCA {
					cas++
				} else {
					continue
				}
				for _, v := range theirs {
					if cas == len(theirs) { // behind the last of their own
						v.ID += 1000
						rows = append(rows, test.forged(v))
					}
				}
			}
			backup := sealRows(t, s.key, rows)
			backup.ExpectCAs = known
			_, err := Restore(t.Context(), newStore(t), s.clock, Restoration{Backup: backup, Request: pkitest.HostRequest(t, "alice")})
			if !errors.Is(err, test.target) {
				t.Errorf("%v, want %v", err, test.target)
			}
		})
	}
}

// What was approved automatically after the backup cannot be had a second time by whoever asks first.
func TestRestoreDoesNotReopenApproval(t *testing.T) {
	s := newSite(t)
	ctx, clk := t.Context(), s.clock
	open := func(st store.Store, approve int) catest.Wire {
		t.Helper()
		return catest.Wired(must[*ca.Authority](t)(catest.Open(ctx, st, clk, catest.Config{Name: store.Services, Netloc: "ca.example.org:8009",
			Spans: spans(store.Services), KeyType: pki.KeyECDSAP256, MaxPending: 100, AutoApprove: approve})))
	}
	approved := func(services catest.Wire) bool {
		t.Helper()
		id := must[int64](t)(services.Submit(ctx, audit.Actor{Kind: audit.Anonymous}, pkitest.HostRequest(t, "host.example").PEM))
		_, err := services.Certificate(ctx, id)
		if err != nil && !errors.Is(err, ca.ErrNotFound) {
			t.Fatal(err)
		}
		return err == nil
	}
	before := open(s.store, 3)
	if !approved(before) {
		t.Fatal("the first is not approved")
	}
	backup := sealedFile(s.backup(), s.key)
	for i, want := range []bool{true, true, false} {
		if approved(before) != want {
			t.Fatalf("request %d is not approved or left as it should be", i+2)
		}
	}
	for _, test := range []struct {
		name string
		keep bool
		want bool
	}{{"by default", false, false}, {"unless it is to go on", true, true}} {
		t.Run(test.name, func(t *testing.T) {
			st := newStore(t)
			restored := must[Restored](t)(Restore(ctx, st, clk, Restoration{Backup: backup, Request: pkitest.HostRequest(t, "alice"), KeepAutoApproval: test.keep}))
			if len(restored.AutoApproval) != map[bool]int{false: 2, true: 0}[test.keep] {
				t.Errorf("%+v", restored.AutoApproval)
			}
			// Also if the daemon is meanwhile told to approve more than then.
			for _, approve := range []int{3, 1 << 20} {
				if got := approved(open(st, approve)); got != test.want {
					t.Errorf("of %d: approved %v", approve, got)
				}
			}
			wantClean(t, st, clk.Now())
		})
	}
}

// A lock that was lower than what has been received stays.
func TestRestoreKeepsLowerLock(t *testing.T) {
	s := newSite(t)
	err := s.store.Update(t.Context(), func(tx store.Tx) error {
		if _, err := tx.AddCounter(t.Context(), store.Services, store.CounterReceivedCSR, 9); err != nil {
			return err
		}
		return tx.PutSetting(t.Context(), store.Services, store.SettingAutoApprove, "4")
	})
	if err != nil {
		t.Fatal(err)
	}
	restored := must[Restored](t)(Restore(t.Context(), newStore(t), s.clock, Restoration{Backup: sealedFile(s.backup(), s.key), Request: pkitest.HostRequest(t, "alice")}))
	if got := restored.AutoApproval; len(got) != 2 || got[1] != (LockedApproval{store.Services, 4}) {
		t.Errorf("%+v", got)
	}
}

// Where every CA certificate of the users has expired, a restore makes one, which points to where the daemon is reached.
func TestRestoredCAPointsToTheDaemon(t *testing.T) {
	for _, test := range []struct{ recorded, want string }{{"ca.example.org:8009", "http://ca.example.org:8009/"}, {"", "http://restored.invalid/"}} {
		t.Run("recorded "+test.recorded, func(t *testing.T) {
			st, clk := newStore(t), clock.NewFake(start)
			for _, row := range familyRows(t) {
				if row.Name == store.Users {
					row.Parent = "home-root"
				}
				putAuthority(t, st, row)
			}
			f := openFamily(t, st, clk)
			if test.recorded != "" {
				err := st.Update(t.Context(), func(tx store.Tx) error { return tx.PutSetting(t.Context(), "", store.SettingNetloc, test.recorded) })
				if err != nil {
					t.Fatal(err)
				}
			}
			s := &site{t: t, clock: clk, store: st, users: f.authority(store.Users), dir: t.TempDir()}
			key, _ := s.enrol(s.users, "alice")
			backup := sealedFile(s.backup(), key)
			clk.Advance(2 * years) // the root goes on
			restored := newStore(t)
			must[Restored](t)(Restore(t.Context(), restored, clk, Restoration{Backup: backup, Request: pkitest.HostRequest(t, "alice")}))
			var cas []store.CA
			err := restored.View(t.Context(), func(r store.Reader) (err error) {
				cas, err = r.CAs(t.Context(), store.Users)
				return err
			})
			if err != nil || len(cas) != 2 {
				t.Fatalf("%d CA certificates, %v", len(cas), err)
			}
			made := must[*x509.Certificate](t)(x509.ParseCertificate(cas[1].Certificate))
			if points := made.CRLDistributionPoints; len(points) != 1 || !strings.HasPrefix(points[0], test.want) {
				t.Errorf("the CA certificate points to %q", points)
			}
		})
	}
}
