package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/ca/catest"
	"cauase/pkg/invite"
	"cauase/pkg/store"
	"cauase/pkg/testkit"
)

// A container has another name at each start, and finds on its volume what it has made.
func TestTheInvitationIsFoundUnderAnotherNameOfTheHost(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "first-user.invite")
	r := startOf(t, dir, testTime())
	first := mustRead(t, path)
	noted := func(note firstUserNote) {
		t.Helper()
		text, err := json.Marshal(note)
		if err != nil {
			t.Fatal(err)
		}
		err = r.store.Update(t.Context(), func(tx store.Tx) error {
			return tx.PutSetting(t.Context(), store.Users, store.SettingFirstUser, string(text))
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	noted(firstUserNote{ID: first.ID.String(), Until: first.Until, Host: "0123456789ab", File: "/data/first-user.invite"})
	r.welcome(t.Context())
	if host, where, until := r.FirstUser(); host != "" || where != path || !until.Equal(first.Until) {
		t.Errorf("%q %s %s", host, where, until)
	}
	if err := r.accept(t, first, "alice"); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the file is removed", func() bool { _, err := os.Stat(path); return os.IsNotExist(err) })
}

// Where the invitation cannot be put none is made: no other daemon says that there is one, and the next start makes it.
func TestAnInvitationThatCannotBeWrittenIsNotMade(t *testing.T) {
	for name, place := range map[string]func(dir string) string{
		"a folder that is missing": func(dir string) string { return filepath.Join(dir, "missing", "first-user.invite") },
		"a file for a folder":      func(dir string) string { return filepath.Join(dir, "letter", "first-user.invite") },
		"a folder for a file":      func(dir string) string { return filepath.Join(dir, "folder") },
		"nothing can be written":   func(string) string { return "/proc/first-user.invite" }, // not even by root
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for _, err := range []error{os.Mkdir(filepath.Join(dir, "folder"), 0o700), os.WriteFile(filepath.Join(dir, "letter"), nil, 0o600)} {
				if err != nil {
					t.Fatal(err)
				}
			}
			dsn := postgres(t).NewDatabase(t)
			path := place(dir)
			_, err := Start(t.Context(), testConfig(t, dir, on(dsn), func(c *Config) { c.Users.AutoApprove, c.FirstUser = 0, path }), fixed{}, discard())
			var setting *SettingError
			if !errors.As(err, &setting) || setting.Setting != FirstUser || !strings.Contains(err.Error(), path) || strings.Contains(err.Error(), ".new-") {
				t.Fatal(err)
			}
			if names := testkit.Files(t, dir); !slices.Equal(names, []string{"folder", "letter"}) {
				t.Errorf("left: %v", names)
			}
			// Elsewhere the next one is made at once.
			other := t.TempDir()
			r := startOf(t, other, testTime(), on(dsn))
			signed := mustRead(t, filepath.Join(other, "first-user.invite"))
			if list := invitations(t, r); len(list) != 1 || list[0].ID != signed.ID.String() || !list[0].VoidedAt.IsZero() {
				t.Errorf("on record: %+v", list)
			}
			if host, where, _ := r.FirstUser(); host != "" || where != filepath.Join(other, "first-user.invite") {
				t.Errorf("%q %s", host, where)
			}
		})
	}
}

// watched has something done whenever something is read.
type watched struct {
	store.Store
	reading func()
}

func (w watched) View(ctx context.Context, fn func(store.Reader) error) error {
	w.reading()
	return w.Store.View(ctx, fn)
}

// What cannot be written after all is withdrawn.
func TestAnInvitationThatIsNotWrittenIsWithdrawn(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "sub", "first-user.invite")
	if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	d, err := Start(t.Context(), testConfig(t, dir, func(c *Config) { c.Users.AutoApprove = 1 }), fixed{}, discard())
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	r := running{Daemon: d}
	users := catest.Named(t, d, store.Users)
	d.cfg.FirstUser = path
	d.store = watched{d.store, func() { _ = os.RemoveAll(filepath.Dir(path)) }}
	if err := d.makeFirstUser(t.Context(), users, firstUserNote{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
	if list := invitations(t, r); len(list) != 1 || list[0].VoidedAt.IsZero() {
		t.Errorf("%+v", list)
	}
	note, good, err := d.firstUserNote(t.Context(), users)
	if err != nil || good || note.ID != "" {
		t.Errorf("%+v %v %v", note, good, err)
	}
}

// Whoever withdraws the invitation, as it was seen by others, or restores the database gets another one.
func TestAnInvitationThatDoesNotCountIsReplaced(t *testing.T) {
	for name, end := range map[string]func(t *testing.T, r running, signed *invite.Signed) error{
		"withdrawn": func(t *testing.T, r running, signed *invite.Signed) error {
			return catest.Named(t, r, store.Users).Void(t.Context(), audit.Actor{Kind: audit.Operator}, signed.ID.String())
		},
		"restored": func(t *testing.T, r running, _ *invite.Signed) error {
			return r.store.Update(t.Context(), func(tx store.Tx) error {
				return tx.PutSetting(t.Context(), "", store.SettingInvitationsSince, testTime().Add(time.Second).UTC().Format(time.RFC3339))
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "first-user.invite")
			r := startOf(t, dir, testTime())
			first := mustRead(t, path)
			if err := end(t, r, first); err != nil {
				t.Fatal(err)
			}
			r.clk.Advance(time.Minute)
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

// A clock that was ahead at a restore does not have it made anew at each look.
func TestTheInvitationStaysThoughAClockWasAhead(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "first-user.invite")
	r := startOf(t, dir, testTime())
	err := r.store.Update(t.Context(), func(tx store.Tx) error {
		return tx.PutSetting(t.Context(), "", store.SettingInvitationsSince, testTime().Add(30*24*time.Hour).UTC().Format(time.RFC3339))
	})
	if err != nil {
		t.Fatal(err)
	}
	first := mustRead(t, path)
	for range 3 {
		r.clk.Advance(time.Minute)
		r.welcome(t.Context())
	}
	if again := mustRead(t, path); again.ID != first.ID || len(invitations(t, r)) != 1 {
		t.Error("it was made anew")
	}
	if err := r.accept(t, first, "alice"); err != nil {
		t.Error(err)
	}
}
