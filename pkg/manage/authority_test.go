package manage

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/clock"
	"cauase/pkg/rollover"
	"cauase/pkg/store"
	"cauase/pkg/testkit/pkitest"
)

// foreignRoot is a CA certificate as another program might have made it.
func foreignRoot(t *testing.T, now time.Time, change func(*x509.Certificate)) *x509.Certificate {
	t.Helper()
	key := pkitest.Key(t)
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: "Foreign Root"}, NotBefore: now.Add(-day), NotAfter: now.Add(10 * year),
		BasicConstraintsValid: true, IsCA: true, MaxPathLen: 1, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		SubjectKeyId: pkitest.KeyID(t, key.Public()),
	}
	change(template)
	return pkitest.SelfSigned(t, key, template).Crt
}

func TestAddExternalRoot(t *testing.T) {
	s := newStage(t)
	now := s.clk.Now()
	known := must[Export](t)(ExportAuthority(t.Context(), s.online, s.clk, "home-root", ""))
	good := foreignRoot(t, now, func(*x509.Certificate) {})
	for _, test := range []struct {
		name string
		crts []*x509.Certificate
		want string
	}{
		{"a leaf", []*x509.Certificate{foreignRoot(t, now, func(c *x509.Certificate) { c.IsCA, c.MaxPathLen = false, 0 })}, "not a CA certificate"},
		{"no authority may be below it", []*x509.Certificate{foreignRoot(t, now, func(c *x509.Certificate) { c.MaxPathLen, c.MaxPathLenZero = 0, true })}, "path length"},
		{"no key usage", []*x509.Certificate{foreignRoot(t, now, func(c *x509.Certificate) { c.KeyUsage = 0 })}, "key usage"},
		{"no lists", []*x509.Certificate{foreignRoot(t, now, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCertSign })}, "may not sign"},
		{"expired", []*x509.Certificate{foreignRoot(t, now, func(c *x509.Certificate) { c.NotAfter = now.Add(-time.Hour) })}, "expired"},
		{"from the future", []*x509.Certificate{foreignRoot(t, now, func(c *x509.Certificate) { c.NotBefore = now.Add(day) })}, "not valid"},
		{"for a moment", []*x509.Certificate{foreignRoot(t, now, func(c *x509.Certificate) { c.NotAfter = now.Add(day) })}, "too short"},
		{"two CAs", []*x509.Certificate{good, known.Certificates[0]}, "of two CAs"},
		{"twice the same", []*x509.Certificate{good, good}, "twice"},
		{"one that is here", known.Certificates, "is that of a CA in this database"},
	} {
		t.Run(test.name, func(t *testing.T) {
			refusedWithoutTrace(t, s.online, test.want, func() error {
				return AddAuthority(t.Context(), s.online, s.clk, NewAuthority{
					Row: store.Authority{Name: "foreign", Title: "Foreign", Role: store.RoleRoot}, External: test.crts,
				})
			})
		})
	}
	t.Run("lists of another CA", func(t *testing.T) {
		refusedWithoutTrace(t, s.online, "is of none of foreign", func() error {
			return AddAuthority(t.Context(), s.online, s.clk, NewAuthority{
				Row: store.Authority{Name: "foreign", Title: "Foreign", Role: store.RoleRoot}, External: []*x509.Certificate{good}, Lists: known.Lists,
			})
		})
	})
	// What has expired is left out.
	s.add(s.online, NewAuthority{
		Row:      store.Authority{Name: "foreign", Title: "Foreign", Role: store.RoleRoot},
		External: []*x509.Certificate{good, foreignRoot(t, now, func(c *x509.Certificate) { c.NotAfter = now.Add(-time.Hour) })},
	})
	if v := s.view(s.online, "foreign"); !v.External || len(v.Generations) != 1 || v.Generations[0].Phase != rollover.Active || v.NextCA != nil {
		t.Errorf("%+v", v)
	}
}

func TestAddNeedsANetloc(t *testing.T) {
	st, clk := newStore(t), clock.NewFake(time.Date(2026, 5, 1, 10, 0, 0, 0, time.UTC))
	row := labRow()
	row.Parent = ""
	refusedWithoutTrace(t, st, ErrNetloc.Error(), func() error { return AddAuthority(t.Context(), st, clk, NewAuthority{Row: row}) })
	err := st.Update(t.Context(), func(tx store.Tx) error { return tx.PutSetting(t.Context(), "", store.SettingNetloc, netloc) })
	if err != nil {
		t.Fatal(err)
	}
	if err := AddAuthority(t.Context(), st, clk, NewAuthority{Row: row}); err != nil {
		t.Fatal(err)
	}
	v := must[AuthorityView](t)(ViewAuthority(t.Context(), st, clk, "lab"))
	if !strings.HasSuffix(v.Generations[0].Subject, "at "+netloc) {
		t.Errorf("subject %s", v.Generations[0].Subject)
	}
}

// TestSetParent drops what was prepared for another parent, and its keys with it.
func TestSetParent(t *testing.T) {
	s := newStage(t)
	s.request(2)
	if _, err := s.install(s.sign(s.request(1))); err != nil {
		t.Fatal(err)
	}
	if before, err := SetParent(t.Context(), s.online, s.clk, "lab", ""); err != nil || before != "home-root" {
		t.Fatalf("before it was %q, %v", before, err)
	}
	v := s.view(s.online, "lab")
	if v.Parent != "" || len(v.Signoffs) != 0 || v.MustSign {
		t.Errorf("%+v", v)
	}
	var actions []audit.Action
	err := s.online.View(t.Context(), func(r store.Reader) error {
		return r.Audit(t.Context(), audit.Filter{Authority: "lab", ActorKind: audit.Operator}, func(e audit.Entry) error {
			actions = append(actions, e.Action)
			return nil
		})
	})
	want := []audit.Action{audit.AddAuthority, audit.RequestSignoff, audit.RequestSignoff, audit.InstallSignoff, audit.ChangeAuthority, audit.DropSignoff}
	if err != nil || !slices.Equal(actions, want) {
		t.Errorf("%v, %v", actions, err)
	}
	// Its next CA certificate is its own again.
	s.clk.Set(*v.NextCA)
	if _, err := openOne(t.Context(), s.online, s.clk, "lab", netloc); err != nil {
		t.Fatal(err)
	}
	v = s.view(s.online, "lab")
	if newest := v.Newest(); len(v.Generations) != 2 || newest.Issuer != "" || newest.Phase != rollover.Passive {
		t.Errorf("%+v", v)
	}
	t.Run("spans that are not known", func(t *testing.T) {
		row := labRow()
		row.Name, row.Parent, row.Span = "early", "", 0
		if err := s.online.Update(t.Context(), func(tx store.Tx) error { return tx.PutAuthority(t.Context(), row) }); err != nil {
			t.Fatal(err)
		}
		refusedWithoutTrace(t, s.online, "start it once", func() error { _, err := SetParent(t.Context(), s.online, s.clk, "early", "home-root"); return err })
	})
}

func TestRetireNeedsNoChildren(t *testing.T) {
	s := newStage(t)
	s.request(1)
	err := RetireAuthority(t.Context(), s.online, s.clk, "home-root")
	if !errors.Is(err, ErrNeeded) {
		t.Errorf("a root with a child: %v", err)
	}
	if err := RetireAuthority(t.Context(), s.online, s.clk, "lab"); err != nil {
		t.Fatal(err)
	}
	if v := s.view(s.online, "lab"); v.RetiredAt == nil || len(v.Signoffs) != 0 || v.MustSign {
		t.Errorf("%+v", v)
	}
	refusedWithoutTrace(t, s.online, "is retired", func() error {
		_, err := RequestSignoffs(t.Context(), s.online, s.clk, "lab", netloc, 1)
		return err
	})
	if err := RetireAuthority(t.Context(), s.online, s.clk, "home-root"); err != nil {
		t.Error(err)
	}
	refusedWithoutTrace(t, s.online, "is retired", func() error {
		row := labRow()
		row.Name = "late"
		return AddAuthority(t.Context(), s.online, s.clk, NewAuthority{Row: row, Netloc: netloc})
	})
}
