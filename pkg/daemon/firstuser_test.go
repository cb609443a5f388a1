package daemon

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/ca/catest"
	"cauase/pkg/invite"
	"cauase/pkg/inviter"
	"cauase/pkg/store"
	"cauase/pkg/testkit"
	"cauase/pkg/testkit/pkitest"
)

// inviting has a daemon make an invitation for its first user, in its folder.
func inviting(dir string) func(*Config) {
	return func(c *Config) {
		c.Users.AutoApprove, c.FirstUser = 0, filepath.Join(dir, "first-user.invite")
	}
}

func startOf(t *testing.T, dir string, now time.Time, change ...func(*Config)) running {
	t.Helper()
	return launch(t, testConfig(t, dir, append([]func(*Config){inviting(dir)}, change...)...), now)
}

func mustRead(t *testing.T, path string) *invite.Signed {
	t.Helper()
	signed, err := readInvitation(path)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info.Mode(), err)
	}
	return signed
}

func (r running) accept(t *testing.T, signed *invite.Signed, cn string) error {
	t.Helper()
	// A common name and nothing else, as the first user's invitation allows.
	req := pkitest.ParsedRequest(t, pkitest.Key(t), &x509.CertificateRequest{Subject: pkix.Name{CommonName: cn}})
	_, err := catest.Named(t, r, store.Users).SubmitInvited(t.Context(), audit.Actor{Kind: audit.Anonymous, Address: "192.0.2.1"},
		req, inviter.Of(signed), "")
	return err
}

func TestTheFirstStartInvitesTheFirstUser(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "first-user.invite")
	r := startOf(t, dir, testTime())
	first := mustRead(t, path)
	if host, where, until := r.FirstUser(); host != "" || where != path || !until.Equal(first.Until) {
		t.Errorf("%s %s %s", host, where, until)
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	// Another start finds it.
	r = startOf(t, dir, testTime().Add(time.Hour))
	if again := mustRead(t, path); again.ID != first.ID {
		t.Error("another start has made another one")
	}
	if err := r.accept(t, first, "alice"); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the file is removed", func() bool { _, err := os.Stat(path); return os.IsNotExist(err) })
	if err := r.accept(t, first, "mallory"); err == nil {
		t.Error("it is good twice")
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	r = startOf(t, dir, testTime().Add(2*time.Hour))
	if _, err := os.Stat(path); err == nil {
		t.Error("there is another one although there is a user")
	}
	if _, where, until := r.FirstUser(); where != "" || !until.IsZero() {
		t.Errorf("%s %s", where, until)
	}
}

func TestAnInvitationThatWasLostOrHasEndedIsReplaced(t *testing.T) {
	for name, after := range map[string]struct {
		time time.Duration
		lose func(path string) error
	}{
		"lost":  {time.Hour, os.Remove},
		"ended": {firstUserTTL + time.Second, func(string) error { return nil }},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "first-user.invite")
			r := startOf(t, dir, testTime())
			first := mustRead(t, path)
			if err := after.lose(path); err != nil {
				t.Fatal(err)
			}
			r.clk.Advance(after.time)
			r.welcome(t.Context())
			second := mustRead(t, path)
			if second.ID == first.ID {
				t.Fatal("it is the same")
			}
			if err := r.accept(t, first, "mallory"); err == nil {
				t.Error("the old one is good")
			}
			if err := r.accept(t, second, "alice"); err != nil {
				t.Error(err)
			}
		})
	}
}

// Of several daemons one makes the invitation, and the others say where it is.
func TestSeveralDaemonsMakeOneInvitation(t *testing.T) {
	dsn := postgres(t).NewDatabase(t)
	dirs := []string{t.TempDir(), t.TempDir(), t.TempDir()}
	var all []running
	for _, dir := range dirs {
		all = append(all, startOf(t, dir, time.Now(), on(dsn)))
	}
	var found []string
	for _, dir := range dirs {
		path := filepath.Join(dir, "first-user.invite")
		if _, err := os.Stat(path); err == nil {
			found = append(found, path)
		}
	}
	if len(found) != 1 {
		t.Fatalf("invitations: %v", found)
	}
	for _, r := range all {
		if _, where, _ := r.FirstUser(); where != found[0] {
			t.Errorf("one says %s", where)
		}
	}
	// It is used at another daemon, and removed where it is.
	if err := all[2].accept(t, mustRead(t, found[0]), "alice"); err != nil {
		t.Fatal(err)
	}
	for _, r := range all {
		r.welcome(t.Context())
	}
	if _, err := os.Stat(found[0]); !os.IsNotExist(err) {
		t.Errorf("it is still there: %v", err)
	}
}

func TestNothingElseIsOverwrittenByTheInvitation(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "first-user.invite")
	if err := os.WriteFile(path, []byte("letters"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Start(t.Context(), testConfig(t, dir, inviting(dir)), fixed{}, discard())
	if err == nil || !strings.Contains(err.Error(), "holds something else than an invitation") {
		t.Fatal(err)
	}
	if content, err := os.ReadFile(path); err != nil || string(content) != "letters" {
		t.Errorf("%q %v", content, err)
	}
	// What it has begun is gone.
	if names := testkit.Files(t, dir); len(names) != 1 {
		t.Errorf("left: %v", names)
	}
}

func TestWithAutomaticApprovalNobodyIsInvited(t *testing.T) {
	dir := t.TempDir()
	startOf(t, dir, testTime(), func(c *Config) { c.Users.AutoApprove = 1 })
	if names := testkit.Files(t, dir); strings.Contains(strings.Join(names, " "), "invite") {
		t.Errorf("%v", names)
	}
}

func TestTheInvitationIsInNoLog(t *testing.T) {
	dir := t.TempDir()
	var log testkit.Buffer
	r := launchLogged(t, testConfig(t, dir, inviting(dir)), testTime(), &log)
	text := mustRead(t, filepath.Join(dir, "first-user.invite")).Text()
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(log.String(), "first-user.invite") || strings.Contains(log.String(), text[len(invite.Prefix):]) {
		t.Error(log.String())
	}
}
