package server

import (
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cauase/pkg/store"
)

// privateOnly fails unless the folder of path holds nothing beside it that we have left,
// and nobody else can read it.
func privateOnly(t *testing.T, path string) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
	left, err := filepath.Glob(filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

func TestKeyPairFile(t *testing.T) {
	s := newSite(t)
	k, path := s.keyPair, s.keyPair.cfg.Path
	privateOnly(t, path)
	serial := func() string { return k.Certificate().Leaf.SerialNumber.String() }
	// refreshed tells whether looking after the file brings another certificate.
	refreshed := func() bool {
		t.Helper()
		before := serial()
		if err := k.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		privateOnly(t, path)
		if err := k.Check(); err != nil {
			t.Error(err)
		}
		return serial() != before
	}
	if refreshed() {
		t.Error("renewed for no reason")
	}
	other := newSite(t)
	foreign, err := os.ReadFile(other.keyPair.cfg.Path)
	if err != nil {
		t.Fatal(err)
	}
	own, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	_, certificates, _ := strings.Cut(string(own), "-----END PRIVATE KEY-----\n")
	key, _, _ := strings.Cut(string(foreign), "-----BEGIN CERTIFICATE")
	for name, content := range map[string]string{
		"empty":                "",
		"junk":                 "junk",
		"cut":                  string(own[:len(own)/2]),
		"foreign":              string(foreign),
		"another key":          key + certificates,
		"no key":               certificates,
		"no certificate":       key,
		"two keys":             key + string(own),
		"readable to everyone": string(own),
	} {
		mode := os.FileMode(0o600)
		if name == "readable to everyone" {
			mode = 0o644
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), mode); err != nil {
			t.Fatal(err)
		}
		if !refreshed() {
			t.Errorf("%s: not replaced", name)
		}
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if !refreshed() {
		t.Error("missing: not replaced")
	}

	// What somebody puts there is used if it can be.
	if err := os.WriteFile(path, own, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := k.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if now, _ := os.ReadFile(path); string(now) != string(own) {
		t.Error("a usable file was replaced")
	}

	s.Clock.Advance(testSpan - 31*testDay - time.Second)
	if refreshed() {
		t.Error("renewed too early")
	}
	s.Clock.Advance(2 * time.Second)
	if !refreshed() {
		t.Error("not renewed at the threshold")
	}
	s.Clock.Advance(2 * testSpan)
	if err := k.Check(); err == nil {
		t.Error("an expired certificate counts")
	}
	if !refreshed() {
		t.Error("not renewed after its expiry")
	}
}

// TestKeyPairOfShortLife makes sure that a threshold beyond the certificate's life does
// not renew it at every look.
func TestKeyPairOfShortLife(t *testing.T) {
	s := newSite(t)
	s.keyPair.cfg.Threshold = 10 * testSpan
	before := s.keyPair.Certificate()
	s.refresh()
	if s.keyPair.Certificate() != before {
		t.Error("renewed at once")
	}
	s.Clock.Advance(testSpan/2 + time.Minute)
	s.refresh()
	if s.keyPair.Certificate() == before {
		t.Error("not renewed in half its life")
	}
}

// TestKeyPairSwitch renews the certificate under a running listener.
func TestKeyPairSwitch(t *testing.T) {
	s := newSite(t)
	old, idle := s.Client(t, nil), s.Client(t, nil)
	first := s.shown(old)
	s.Clock.Advance(testSpan - testDay)
	s.refresh()
	if second := s.shown(idle); second[0].Equal(first[0]) || len(second) != 2 || !second[1].IsCA {
		t.Error("the new certificate is not shown")
	}
	if again := s.shown(old); !again[0].Equal(first[0]) {
		t.Error("the connection was dropped")
	}
}

// noIssuer cannot issue.
type noIssuer struct{ ServerIssuer }

func (noIssuer) IssueServer(context.Context, crypto.PublicKey) (*x509.Certificate, *x509.Certificate, error) {
	return nil, nil, store.ErrUnavailable
}

func TestKeyPairFailures(t *testing.T) {
	s := newSite(t)
	before := s.keyPair.Certificate()
	s.Clock.Advance(testSpan - testDay)

	good := s.keyPair.cfg.Issuer
	s.keyPair.cfg.Issuer = noIssuer{good}
	if err := s.keyPair.Refresh(t.Context()); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("database away: %v", err)
	}
	s.keyPair.cfg.Issuer = good
	s.keyPair.cfg.Path = filepath.Join(t.TempDir(), "missing", "server.key.pem")
	if err := s.keyPair.Refresh(t.Context()); err == nil {
		t.Error("no error for a folder that is not there")
	}
	if s.keyPair.Certificate() != before || s.keyPair.Check() != nil {
		t.Error("what was usable is not used any more")
	}
}

// countingIssuer counts what it issues.
type countingIssuer struct {
	ServerIssuer
	issued int
}

func (i *countingIssuer) IssueServer(ctx context.Context, pub crypto.PublicKey) (*x509.Certificate, *x509.Certificate, error) {
	i.issued++
	return i.ServerIssuer.IssueServer(ctx, pub)
}

// TestKeyPairUnwritable makes sure that a file which cannot be written does not fill the records with a
// certificate at every look.
func TestKeyPairUnwritable(t *testing.T) {
	s := newSite(t)
	k, path := s.keyPair, s.keyPair.cfg.Path
	counting := &countingIssuer{ServerIssuer: k.cfg.Issuer}
	k.cfg.Issuer = counting
	before := k.Certificate()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		if err := k.Refresh(t.Context()); err == nil {
			t.Error("no error for a folder in its place")
		}
	}
	if counting.issued != 1 || k.Certificate() != before {
		t.Errorf("%d certificates issued, want 1; still the old one: %v", counting.issued, k.Certificate() == before)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := k.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	privateOnly(t, path)
	if counting.issued != 1 || k.Certificate() == before {
		t.Errorf("%d certificates issued, want 1; a new one in use: %v", counting.issued, k.Certificate() != before)
	}
}

func TestWritePrivateFile(t *testing.T) {
	dir := t.TempDir()
	target, link := filepath.Join(dir, "target"), filepath.Join(dir, "link")
	if err := os.WriteFile(target, []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, link); err != nil {
		t.Fatal(err)
	}
	if err := writePrivateFile(link, []byte("new")); err != nil {
		t.Fatal(err)
	}
	privateOnly(t, target)
	if got, _ := os.ReadFile(target); string(got) != "new" {
		t.Errorf("%q", got)
	}
	if info, err := os.Lstat(link); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Error("the link was replaced")
	}
	// A folder cannot be replaced by a file; the attempt leaves nothing.
	folder := filepath.Join(dir, "folder")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := writePrivateFile(folder, []byte("new")); err == nil {
		t.Error("a folder was replaced")
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".folder.*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
