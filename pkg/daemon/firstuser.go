package daemon

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/ca"
	"cauase/pkg/durable"
	"cauase/pkg/invite"
	"cauase/pkg/inviter"
	"cauase/pkg/store"
)

// firstUserTTL is how long the invitation for the first user is good. As long as there is no user, another is
// made when it has ended.
const firstUserTTL = 7 * 24 * time.Hour

// A firstUser looks after the invitation for the first user.
type firstUser struct {
	mu     sync.Mutex
	known  bool          // there is a user: nothing is left to do
	made   firstUserNote // the one that is good, zero if there is none
	signed chan struct{} // somebody has been certified, who may be the first user
}

// A firstUserNote says which invitation was made for the first user, and where it is: one, of however many daemons.
type firstUserNote struct {
	ID    string    `json:"id"`
	Until time.Time `json:"until"`
	Host  string    `json:"host"`
	File  string    `json:"file"`
}

// here reports whether it is this daemon's to keep.
func (n firstUserNote) here(path string) bool {
	host, file := placeOf(path)
	return n.Host == host && n.File == file
}

func placeOf(path string) (host, file string) {
	host, _ = os.Hostname() // empty is as good a name as any
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	return host, path
}

// FirstUser returns where the invitation for the first user is and until when it is good, with the host if it is on
// another than this. The zero time: there is none.
func (d *Daemon) FirstUser() (host, path string, until time.Time) {
	f := &d.first
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.made.here(d.cfg.FirstUser) {
		host = f.made.Host
	}
	return host, f.made.File, f.made.Until
}

// inviteFirstUser makes an invitation for the first user, as long as there is none, and removes it when there is one.
func (d *Daemon) inviteFirstUser(ctx context.Context) error {
	f := &d.first
	f.mu.Lock()
	defer f.mu.Unlock()
	users := d.withRole(store.RoleUsers)
	if f.known || d.cfg.FirstUser == "" || len(users) == 0 || d.retired(users[0]) {
		return nil
	}
	note, good, err := d.firstUserNote(ctx, users[0])
	if err != nil {
		return err
	}
	none, err := d.NoUserYet(ctx)
	if err != nil {
		return err
	}
	if !none {
		f.known, f.made = true, firstUserNote{}
		return d.forgetFirstUser(ctx, users[0], note)
	}
	if d.cfg.Users.AutoApprove > 0 {
		return nil // the first who asks becomes one
	}
	found := isInvitation(d.cfg.FirstUser, note.ID)
	if good && (found || !note.here(d.cfg.FirstUser)) {
		if f.made = note; found { // also if this host, a container, had another name
			f.made.Host, f.made.File = placeOf(d.cfg.FirstUser)
		}
		return nil
	}
	return d.makeFirstUser(ctx, users[0], note)
}

// firstUserNote reads what was made, the zero note if nothing was, and whether that still counts: operators may have
// withdrawn it, or restored the database.
func (d *Daemon) firstUserNote(ctx context.Context, users *ca.Authority) (note firstUserNote, good bool, err error) {
	since, err := users.InvitationsSince(ctx)
	if err != nil {
		return note, false, err
	}
	err = d.store.View(ctx, func(r store.Reader) error {
		if note, err = readFirstUserNote(ctx, r, users.Name()); err != nil {
			return err
		}
		row, err := r.Invitation(ctx, users.Name(), note.ID)
		good = err == nil && row.VoidedAt.IsZero() && row.Used < row.Uses && !row.MadeAt.Before(since) && d.clock.Now().Before(note.Until)
		if errors.Is(err, store.ErrNotFound) {
			err = nil
		}
		return err
	})
	return note, good, err
}

func readFirstUserNote(ctx context.Context, r store.Reader, users store.AuthorityName) (note firstUserNote, err error) {
	text, err := r.Setting(ctx, users, store.SettingFirstUser)
	if errors.Is(err, store.ErrNotFound) {
		return note, nil
	} else if err != nil {
		return note, err
	}
	if json.Unmarshal([]byte(text), &note) != nil {
		return firstUserNote{}, nil // another is made
	}
	return note, nil
}

// errOvertaken means that another daemon has made the invitation.
var errOvertaken = errors.New("made meanwhile by another daemon")

// makeFirstUser makes the invitation, in place of one that has ended or was lost.
func (d *Daemon) makeFirstUser(ctx context.Context, users *ca.Authority, old firstUserNote) error {
	path := d.cfg.FirstUser
	if err := errors.Join(replaceable(path), writable(path)); err != nil {
		return err
	}
	names, err := invite.ParseNames([]string{"cn:*"})
	if err != nil {
		return err
	}
	var note firstUserNote
	record := func(ctx context.Context, tx store.Tx, signed *invite.Signed) error {
		switch now, err := readFirstUserNote(ctx, tx, users.Name()); {
		case err != nil:
			return err
		case now != old:
			return errOvertaken
		}
		note = firstUserNote{ID: signed.ID.String(), Until: signed.Until}
		note.Host, note.File = placeOf(path)
		text, err := json.Marshal(note)
		if err != nil {
			return err
		}
		if err := d.voidFirstUser(ctx, tx, users.Name(), old); err != nil {
			return err
		}
		return tx.PutSetting(ctx, users.Name(), store.SettingFirstUser, string(text))
	}
	signed, err := inviter.Make(ctx, d.store, d.clock, users, audit.Actor{Kind: audit.Daemon},
		inviter.Order{Names: names, Uses: 1, TTL: firstUserTTL}, record)
	if errors.Is(err, errOvertaken) {
		d.first.made, _, err = d.firstUserNote(ctx, users)
		return err
	}
	if err != nil {
		return err
	}
	// If this is never done, the invitation is found to be lost, and another one made.
	if err := writeInvitation(path, signed); err != nil {
		// Other daemons would say for days that it is here.
		return errors.Join(err, d.endFirstUser(ctx, users, note))
	}
	d.first.made = note
	d.log.InfoContext(ctx, "an invitation for the first user was made", "file", path, "until", note.Until, "id", note.ID)
	return nil
}

// voidFirstUser withdraws an invitation in whose place another is made.
func (d *Daemon) voidFirstUser(ctx context.Context, tx store.Tx, users store.AuthorityName, old firstUserNote) error {
	row, err := tx.Invitation(ctx, users, old.ID)
	if errors.Is(err, store.ErrNotFound) || err == nil && (!row.VoidedAt.IsZero() || row.Used >= row.Uses) {
		return nil
	} else if err != nil {
		return err
	}
	row.VoidedAt = d.clock.Now()
	if err := tx.PutInvitation(ctx, row); err != nil {
		return err
	}
	return tx.AppendAudit(ctx, audit.NewEntry(row.VoidedAt, string(users), audit.Actor{Kind: audit.Daemon}, audit.VoidInvitation, audit.InvitationObject(old.ID)))
}

// forgetFirstUser removes the file of this daemon's, and the note about it.
func (d *Daemon) forgetFirstUser(ctx context.Context, users *ca.Authority, note firstUserNote) error {
	found := isInvitation(d.cfg.FirstUser, note.ID)
	if note.ID == "" || !found && !note.here(d.cfg.FirstUser) {
		return nil
	}
	if found {
		if err := os.Remove(d.cfg.FirstUser); err != nil {
			return err
		}
		d.log.InfoContext(ctx, "there is a user: the invitation for the first one was removed", "file", d.cfg.FirstUser)
	}
	return d.endFirstUser(ctx, users, note)
}

// endFirstUser withdraws an invitation and removes the note about it.
func (d *Daemon) endFirstUser(ctx context.Context, users *ca.Authority, note firstUserNote) error {
	return d.store.Update(ctx, func(tx store.Tx) error {
		now, err := readFirstUserNote(ctx, tx, users.Name())
		if err != nil || now.ID != note.ID {
			return err
		}
		return errors.Join(d.voidFirstUser(ctx, tx, users.Name(), note), tx.DeleteSetting(ctx, users.Name(), store.SettingFirstUser))
	})
}

// readInvitation reads the invitation in a file.
func readInvitation(path string) (*invite.Signed, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, invite.MaxText+1))
	if err != nil {
		return nil, err
	}
	return invite.Read(content)
}

func isInvitation(path, id string) bool {
	signed, err := readInvitation(path)
	return err == nil && signed.ID.String() == id
}

// replaceable reports whether there is nothing at path but an invitation, which then is none that counts.
func replaceable(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is not a regular file", path)
	}
	if _, err := readInvitation(path); errors.Is(err, invite.ErrInvalid) {
		return fmt.Errorf("%s holds something else than an invitation, and would lose it", path)
	} else if err != nil {
		return err
	}
	return nil
}

// writable reports whether a file can be made at path, before there is an invitation on record that is to be in it.
func writable(path string) error {
	temp := durable.TempName(path)
	err := durable.WriteNew(temp, nil, durable.Options{})
	if err == nil {
		return os.Remove(temp)
	}
	var file *fs.PathError
	if errors.As(err, &file) {
		err = &fs.PathError{Op: "create", Path: path, Err: file.Err} // the name of the temporary one says nothing
	}
	return err
}

// writeInvitation puts an invitation where only the daemon's own user can read it.
func writeInvitation(path string, signed *invite.Signed) error {
	var content bytes.Buffer
	fmt.Fprintf(&content, "# Whoever has this becomes the first user of the CA. It is good once, until %s, and removed when it was used:\n"+
		"#   cauase request --cn NAME --invite FILE\n%s\n", signed.Until.Format(time.RFC3339), signed.Text())
	temp := durable.TempName(path)
	if err := durable.WriteNew(temp, content.Bytes(), durable.Options{}); err != nil {
		return err
	}
	if err := durable.Rename(temp, path); err != nil {
		_ = os.Remove(temp)
		return err
	}
	return nil
}

// observe tells the metrics of an operation, and the loop of one that may have made the first user.
func (d *Daemon) observe() func(store.AuthorityName, audit.Action, error) {
	count := d.metrics.observeOperation()
	return func(name store.AuthorityName, action audit.Action, err error) {
		if count != nil {
			count(name, action, err)
		}
		if (action == audit.Sign || action == audit.Renew) && err == nil {
			d.outbox.Kick()
		}
		if action == audit.Sign && err == nil {
			select {
			case d.first.signed <- struct{}{}:
			default: // it knows
			}
		}
	}
}

// welcome looks after the invitation for the first user, beside what time makes due.
func (d *Daemon) welcome(ctx context.Context) {
	err := d.inviteFirstUser(ctx)
	if err != nil && !waitsForCA(err) && ctx.Err() == nil {
		d.log.ErrorContext(ctx, "the invitation for the first user cannot be looked after", "file", d.cfg.FirstUser, "error", err)
	}
}

// waitsForCA reports whether there is no CA yet that could sign an invitation.
func waitsForCA(err error) bool {
	return errors.Is(err, ca.ErrSignoff) || errors.Is(err, ca.ErrNoSigner) || errors.Is(err, ca.ErrLocked)
}
