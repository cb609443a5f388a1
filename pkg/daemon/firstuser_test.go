package daemon

import (
	"context"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/ca"
	"cauase/pkg/ca/catest"
	"cauase/pkg/clock"
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
		req, inviter.Of(signed), ca.Asked{})
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

// Of several daemons that start at once on an empty database one makes the invitation, and the others say where it is.
func TestSeveralDaemonsMakeOneInvitation(t *testing.T) {
	dsn := postgres(t).NewDatabase(t)
	now := time.Now()
	var files []string
	var cfgs []Config
	for range 3 {
		dir := t.TempDir()
		files = append(files, filepath.Join(dir, "first-user.invite"))
		cfgs = append(cfgs, testConfig(t, dir, inviting(dir), on(dsn)))
	}
	all := launchTogether(t, cfgs, now)
	var found []string
	owner := 0
	for n, path := range files {
		if _, err := os.Stat(path); err == nil {
			found, owner = append(found, path), n
		}
	}
	if len(found) != 1 {
		t.Fatalf("invitations: %v", found)
	}
	first := mustRead(t, found[0])
	other := (owner + 1) % len(all)
	says := func() {
		t.Helper()
		for n, r := range all {
			r.welcome(t.Context())
			if _, where, until := r.FirstUser(); where != found[0] || !until.Equal(first.Until) {
				t.Errorf("daemon %d says %s until %s", n, where, until)
			}
			if _, err := os.Stat(files[n]); (err == nil) != (n == owner) {
				t.Errorf("the file of daemon %d: %v", n, err)
			}
		}
		if again := mustRead(t, found[0]); again.ID != first.ID {
			t.Fatal("it is another one")
		}
	}
	says()
	// Whichever of them is started anew, it stays as it is.
	for _, n := range []int{owner, other} {
		if err := all[n].stop(); err != nil {
			t.Fatal(err)
		}
		all[n] = launch(t, cfgs[n], now.Add(time.Hour))
		says()
	}
	if n := len(invitations(t, all[0])); n != 1 {
		t.Errorf("%d invitations are on record", n)
	}
	// It is used at another daemon, and removed where it is.
	if err := all[other].accept(t, first, "alice"); err != nil {
		t.Fatal(err)
	}
	for _, r := range all {
		r.welcome(t.Context())
	}
	if _, err := os.Stat(found[0]); !os.IsNotExist(err) {
		t.Errorf("it is still there: %v", err)
	}
}

// launchTogether starts daemons at once.
func launchTogether(t *testing.T, cfgs []Config, now time.Time) []running {
	t.Helper()
	all := make([]running, len(cfgs))
	errs := make([]error, len(cfgs))
	var wg sync.WaitGroup
	for n, cfg := range cfgs {
		wg.Go(func() {
			all[n].clk = clock.NewFake(now)
			all[n].Daemon, errs[n] = Start(t.Context(), cfg, all[n].clk, discard())
		})
	}
	wg.Wait()
	for n, d := range all {
		if errs[n] == nil {
			all[n].stop = testkit.Background(t, func(ctx context.Context) error {
				return errors.Join(d.Run(ctx, context.Background()), d.Close())
			})
		}
	}
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	return all
}

func invitations(t *testing.T, r running) []store.Invitation {
	t.Helper()
	list, err := catest.Named(t, r, store.Users).Invitations(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return list
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
