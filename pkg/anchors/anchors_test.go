package anchors_test

import (
	"context"
	"crypto/x509"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"cauase/pkg/anchors"
	"cauase/pkg/testkit"
	"cauase/pkg/testkit/pkitest"
)

func TestMain(m *testing.M) {
	// Java would spend most of its time on compiling itself.
	os.Setenv("JAVA_TOOL_OPTIONS", "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Xshare:auto")
	os.Exit(m.Run())
}

var owner = anchors.Owner{CA: "ca.example.org:8009", Authority: "cas"}

func generation(t *testing.T) *x509.Certificate {
	t.Helper()
	now := time.Now()
	return pkitest.NewCA(t, "Example CAS", now.Add(-time.Hour), now.Add(time.Hour)).Crt
}

func TestNames(t *testing.T) {
	crt := generation(t)
	name := owner.NameOf(crt)
	if !owner.Owns(name) || !anchors.IsOurs(name) {
		t.Errorf("%s is not ours", name)
	}
	for _, other := range []anchors.Owner{
		{CA: "ca.example.org:8010", Authority: "cas"}, {CA: "ca.example.org:8009", Authority: "cau"}, {CA: "ca.example.org", Authority: "cas"},
		{CA: "8009", Authority: "cas@ca.example.org"}, {CA: "[::1]:80", Authority: "cas"},
	} {
		if other.Owns(name) || owner.Owns(other.NameOf(crt)) {
			t.Errorf("%+v and %+v are confused", owner, other)
		}
	}
	for _, foreign := range []string{"", "cauase", "Example_Root", "cauase-cas@h-12", name + "0", "x" + name, name + "\n", "cauase-cas@h/../../x-0123456789abcdef"} {
		if anchors.IsOurs(foreign) {
			t.Errorf("%q is taken for ours", foreign)
		}
	}
}

func TestPlan(t *testing.T) {
	old, now, next := generation(t), generation(t), generation(t)
	entry := func(o anchors.Owner, crt *x509.Certificate) anchors.Entry {
		return anchors.Entry{Name: o.NameOf(crt), Crt: crt}
	}
	elsewhere := anchors.Owner{CA: "other", Authority: "cas"}
	damaged := anchors.Entry{Name: owner.NameOf(now), Crt: old}
	for name, c := range map[string]struct {
		there             []anchors.Entry
		wanted            []*x509.Certificate
		add, remove, keep int
	}{
		"empty":               {nil, []*x509.Certificate{now, now}, 1, 0, 0},
		"again":               {[]anchors.Entry{entry(owner, now)}, []*x509.Certificate{now}, 0, 0, 1},
		"rollover":            {[]anchors.Entry{entry(owner, old), entry(owner, now)}, []*x509.Certificate{now, next}, 1, 1, 1},
		"of another CA":       {[]anchors.Entry{entry(elsewhere, old)}, []*x509.Certificate{now}, 1, 0, 0},
		"by another address":  {[]anchors.Entry{entry(elsewhere, now)}, []*x509.Certificate{now}, 0, 0, 1},
		"damaged":             {[]anchors.Entry{damaged}, []*x509.Certificate{now}, 1, 1, 0},
		"unreadable":          {[]anchors.Entry{{Name: owner.NameOf(old)}}, nil, 0, 1, 0},
		"nothing trusted now": {[]anchors.Entry{entry(owner, now)}, nil, 0, 1, 0},
	} {
		plan := owner.Plan(c.there, c.wanted)
		if len(plan.Add) != c.add || len(plan.Remove) != c.remove || len(plan.Keep) != c.keep || plan.Empty() != (c.add+c.remove == 0) {
			t.Errorf("%s: %+v", name, plan)
		}
	}
	if plan := anchors.PlanRemoval([]anchors.Entry{entry(owner, now), entry(elsewhere, now)}, func(e anchors.Entry) bool { return owner.Owns(e.Name) }); len(plan.Remove) != 1 {
		t.Errorf("%+v", plan)
	}
}

// story has generations of a CA, which have one name, come and go in a store.
func story(t *testing.T, find func() anchors.Store, look func() (trusts func(crt *x509.Certificate) bool)) {
	t.Helper()
	ctx := context.Background()
	first, second, third := generation(t), generation(t), generation(t)
	elsewhere := anchors.Owner{CA: "other", Authority: "cas"}
	apply := func(o anchors.Owner, wanted ...*x509.Certificate) anchors.Change {
		t.Helper()
		store := find()
		there, err := store.List(ctx)
		if err != nil {
			t.Fatal(err)
		}
		plan := o.Plan(there, wanted)
		if err := errors.Join(store.Check(), store.Apply(ctx, plan)); err != nil {
			t.Fatal(err)
		}
		return plan
	}
	trusted := func(what string, want ...bool) {
		t.Helper()
		var got []bool
		trusts := look()
		for _, crt := range []*x509.Certificate{first, second, third} {
			got = append(got, trusts(crt))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: trusted are %v, want %v", what, got, want)
		}
	}
	apply(owner, first, second)
	apply(elsewhere, third)
	trusted("two generations, and another CA", true, true, true)
	if plan := apply(owner, first, second); !plan.Empty() {
		t.Errorf("again: %+v", plan)
	}
	apply(owner, second)
	trusted("the first has expired", false, true, true)
	apply(owner, second, first)
	apply(owner)
	trusted("removed", false, false, true)
	apply(elsewhere)
	trusted("all removed", false, false, false)
}

func find(t *testing.T, search anchors.Search) func() anchors.Store {
	return func() anchors.Store {
		t.Helper()
		found, err := search.Find()
		if err != nil || len(found) != 1 || found[0].Store == nil {
			t.Fatalf("%+v, %v", found, err)
		}
		return found[0].Store
	}
}

func tool(t *testing.T, argv ...string) (string, error) {
	t.Helper()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func must(t *testing.T, argv ...string) string {
	t.Helper()
	out, err := tool(t, argv...)
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(argv, " "), err, out)
	}
	return out
}

func TestNSS(t *testing.T) {
	testkit.Need(t, "certutil", "libnss3-tools")
	dir := t.TempDir()
	pass := filepath.Join(dir, "pass")
	if err := os.WriteFile(pass, []byte("correct horse\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	look := func(db string) func() func(crt *x509.Certificate) bool {
		return func() func(crt *x509.Certificate) bool {
			out := must(t, "certutil", "-L", "-d", "sql:"+db)
			return func(crt *x509.Certificate) bool { return named(out, crt, "C,,") }
		}
	}
	for name, password := range map[string]string{"open": "", "locked": pass} {
		t.Run(name, func(t *testing.T) {
			db := filepath.Join(dir, name)
			if password == "" {
				if err := anchors.MakeNSS(t.Context(), db); err != nil {
					t.Fatal(err)
				}
			} else {
				if err := os.Mkdir(db, 0o700); err != nil {
					t.Fatal(err)
				}
				must(t, "certutil", "-N", "-d", "sql:"+db, "-f", password)
			}
			story(t, find(t, anchors.Search{Kinds: []string{"nss"}, NSS: []string{db}, NSSPassword: password}), look(db))
		})
	}
	locked := find(t, anchors.Search{Kinds: []string{"nss"}, NSS: []string{filepath.Join(dir, "locked")}})()
	if err := locked.Apply(t.Context(), owner.Plan(nil, []*x509.Certificate{generation(t)})); !errors.Is(err, anchors.ErrPassword) {
		t.Errorf("without the password: %v", err)
	}
	if _, err := (anchors.Search{NSS: []string{dir}}).Find(); err == nil {
		t.Error("a folder without a database is taken")
	}
	// Those of a user are found, whatever they are of.
	home := t.TempDir()
	for _, folder := range []string{".pki/nssdb", ".mozilla/firefox/x.default", ".mozilla/firefox/empty"} {
		folder = filepath.Join(home, folder)
		if err := os.MkdirAll(folder, 0o700); err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(folder, "empty") {
			if err := anchors.MakeNSS(t.Context(), folder); err != nil {
				t.Fatal(err)
			}
		}
	}
	if found, err := (anchors.Search{Kinds: []string{"nss"}, Home: home}).Find(); err != nil || len(found) != 2 {
		t.Errorf("%+v, %v", found, err)
	}
	home = t.TempDir()
	made := find(t, anchors.Search{Kinds: []string{"nss"}, Home: home})()
	there, err := made.List(t.Context())
	crt := generation(t)
	if err = errors.Join(err, made.Check(), made.Apply(t.Context(), owner.Plan(there, []*x509.Certificate{crt}))); err != nil {
		t.Error(err)
	}
	if out := must(t, "certutil", "-L", "-d", "sql:"+anchors.UserNSS(home)); !named(out, crt, "C,,") {
		t.Errorf("made is %s", out)
	}
	if found, err := (anchors.Search{Home: t.TempDir(), Keystores: []string{os.DevNull}}).Find(); err != nil || found[len(found)-1].Store != nil || found[len(found)-1].Why == "" {
		t.Errorf("%+v, %v", found, err)
	}
}

// named reports whether a certificate is in what a tool lists, with something behind it.
func named(list string, crt *x509.Certificate, behind string) bool {
	for line := range strings.Lines(list) {
		for _, o := range []anchors.Owner{owner, {CA: "other", Authority: "cas"}} {
			if rest, found := strings.CutPrefix(line, o.NameOf(crt)); found && strings.Contains(rest, behind) {
				return true
			}
		}
	}
	return false
}

func TestJava(t *testing.T) {
	testkit.Need(t, "keytool", "default-jdk-headless")
	for name, password := range map[string]string{"usual": "", "own": "correct horse"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			keystore, file := filepath.Join(dir, "cacerts"), ""
			pass := filepath.Join(dir, "pass")
			content := "changeit"
			if password != "" {
				content, file = password, pass
			}
			if err := os.WriteFile(pass, []byte(content+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			// What is there from elsewhere stays.
			foreign := filepath.Join(dir, "foreign.pem")
			if err := os.WriteFile(foreign, pkitest.PEM(generation(t)), 0o600); err != nil {
				t.Fatal(err)
			}
			must(t, "keytool", "-importcert", "-noprompt", "-alias", "foreign", "-file", foreign, "-keystore", keystore, "-storepass:file", pass)
			search := anchors.Search{Kinds: []string{"java"}, Keystores: []string{keystore}, Password: file}
			if password != "" {
				crt := generation(t)
				store := find(t, search)()
				for _, wanted := range [][]*x509.Certificate{{crt}, nil} {
					there, err := store.List(t.Context())
					if err = errors.Join(err, store.Apply(t.Context(), owner.Plan(there, wanted))); err != nil {
						t.Fatal(err)
					}
				}
			} else {
				story(t, find(t, search), func() func(crt *x509.Certificate) bool {
					out := must(t, "keytool", "-list", "-keystore", keystore, "-storepass:file", pass)
					return func(crt *x509.Certificate) bool { return named(out, crt, "trustedCertEntry") }
				})
			}
			if out := must(t, "keytool", "-list", "-keystore", keystore, "-storepass:file", pass); !strings.Contains(out, "foreign,") || !strings.Contains(out, "contains 1 entry") {
				t.Errorf("left is %s", out)
			}
			if password != "" {
				if _, err := find(t, anchors.Search{Kinds: []string{"java"}, Keystores: []string{keystore}})().List(t.Context()); !errors.Is(err, anchors.ErrPassword) {
					t.Errorf("without the password: %v", err)
				}
			}
		})
	}
	if _, err := (anchors.Search{Keystores: []string{filepath.Join(t.TempDir(), "nowhere")}}).Find(); err == nil {
		t.Error("a keystore that is not there is taken")
	}
}
