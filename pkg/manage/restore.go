package manage

import (
	"context"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"cauase/pkg/archive"
	"cauase/pkg/audit"
	"cauase/pkg/ca"
	"cauase/pkg/clock"
	"cauase/pkg/pki"
	"cauase/pkg/store"
	"cauase/pkg/vault"
)

// crlJump is by how much revocation lists are numbered ahead after a restore. Hosts refuse a list with a
// lower number than theirs, and nobody knows the numbers that were published after the backup. Each is
// one committed transaction, of which no database does more than some thousands a second: at ten
// thousand a second, without a pause, it takes three and a half years to come so far.
const crlJump = 1 << 40

// restoredAt is the least number after a restore at now. One backup may be restored again and again, and
// hosts have seen lists of each time: whichever is the later one must begin behind those of the earlier,
// of which the backup knows nothing. As each second has 2^30 numbers, it does so even behind a database
// that has jumped ahead, unless it follows within minutes.
func restoredAt(now time.Time) int64 {
	return min(max(now.Unix(), 0), 1<<32) << 30
}

// maxRestored is how far the numbers may come in a restore: beyond what can be imported, and with room for
// a store to go on counting.
const maxRestored = 5 << 60

// A Restoration is what is to be restored, and who restores it.
type Restoration struct {
	Backup  Sealed
	Request *pki.Request // of the key that the user has from now on

	// KeepAutoApproval leaves automatic approval as it was when the backup was taken. Otherwise it is over, see lockApproval.
	KeepAutoApproval bool

	// Span is the validity of the user's new certificate; 0: that of the old one.
	Span time.Duration

	// Stage, when set, gets the new certificate, PEM, as the last step before everything is committed.
	Stage func(crtPEM []byte) error

	Progress Progress
}

// Restored is the result of a Restoration.
type Restored struct {
	Contents
	Certificate []byte   `json:"-"`                     // the user's new one, PEM
	ID          int64    `json:"certificate_id,string"` // its id
	Revoked     string   `json:"revoked_serial"`        // of the certificate that opened the backup, as --serial takes it
	Decimal     string   `json:"revoked_serial_decimal"`
	CRLNumbers  []Number `json:"crl_numbers_from"` // of the next revocation lists, at least

	// AutoApproval is at how many requests automatic approval was locked, and how many have been counted.
	AutoApproval []LockedApproval `json:"auto_approval_locked"`
}

// A Number is one of an authority.
type Number struct {
	Authority store.AuthorityName `json:"authority"`
	Number    int64               `json:"number"`
}

// A LockedApproval says that an authority approves no request automatically any more.
type LockedApproval struct {
	Authority store.AuthorityName `json:"authority"`
	Count     int64               `json:"auto_approve_count"`
}

// Restore fills a store that holds nothing, store.ErrExists otherwise, with what a backup holds. The
// user whose key opens it gives that key up: the certificate moves to the key of the request, and what has
// the old key is revoked, as it may have been in many hands to come to this. An expired user may restore,
// too: a backup outlives certificates, and the key has shown itself by opening it.
//
// All of it is one transaction.
func Restore(ctx context.Context, st store.Store, clk clock.Clock, in Restoration) (Restored, error) {
	if pki.SameKey(in.Backup.Key.Public(), in.Request.CSR.PublicKey) {
		return Restored{}, ca.ErrKeyKept
	}
	if _, ok := st.(*vault.Vault); !ok {
		st = vault.New(st, clk) // which leaves keys in the clear
	}
	var done Restored
	err := st.Update(ctx, func(tx store.Tx) (err error) {
		done, err = in.restore(ctx, tx, clk)
		return err
	})
	return done, err
}

func (in Restoration) restore(ctx context.Context, tx store.Tx, clk clock.Clock) (Restored, error) {
	now := clk.Now()
	s, contents, err := in.Backup.load(ctx, tx, now, in.Progress)
	if err != nil {
		return Restored{}, err
	}
	done := Restored{Contents: contents, AutoApproval: []LockedApproval{}}
	if err := tx.BeginEpoch(ctx, now); err != nil {
		return done, err
	}
	if done.CRLNumbers, err = jump(ctx, tx, now, contents.Created); err != nil {
		return done, err
	}
	if !in.KeepAutoApproval {
		if done.AutoApproval, err = lockApproval(ctx, tx, now); err != nil {
			return done, err
		}
	}
	if err := archive.Forget(ctx, tx); err != nil {
		return done, err
	}
	if err := endInvitations(ctx, tx, now, contents.Created); err != nil {
		return done, err
	}
	crt, row, err := s.user()
	if err != nil {
		return done, err
	}
	operator := audit.Actor{Kind: audit.Operator}
	if err := tx.AppendAudit(ctx, restoredEntry(now, operator, done, in.Backup)); err != nil {
		return done, err
	}
	issued, err := in.replace(ctx, tx, clk, operator, crt, row)
	if err != nil {
		return done, err
	}
	done.ID, done.Certificate = issued.ID, pki.EncodeCertificatePEM(issued.Certificate.Raw)
	done.Revoked, done.Decimal = pki.FormatSerial(crt.SerialNumber), crt.SerialNumber.String()
	if in.Stage == nil {
		return done, nil
	}
	return done, in.Stage(done.Certificate)
}

// load fills tx with what the backup holds.
func (s Sealed) load(ctx context.Context, tx store.Tx, now time.Time, progress Progress) (*survey, Contents, error) {
	o, err := s.open()
	if err != nil {
		return nil, Contents{}, err
	}
	defer o.close()
	seen, err := newSurvey(now, s)
	if err != nil {
		return nil, Contents{}, err
	}
	if sealing, ok := tx.(*vault.Tx); ok {
		sealing.OpenWith(s.Key)
	}
	if err := tx.Load(ctx, seen.watch(o.rows(ctx, now), progress.follow("restoring"))); err != nil {
		return nil, Contents{}, err
	}
	contents, err := seen.contents(ctx, o)
	return seen, contents, err
}

// Inspect reads a backup to its end, verifies and parses all of it, and says what it holds. It
// changes nothing.
func Inspect(ctx context.Context, now time.Time, backup Sealed, progress Progress) (Contents, error) {
	o, err := backup.open()
	if err != nil {
		return Contents{}, err
	}
	defer o.close()
	seen, err := newSurvey(now, backup)
	if err != nil {
		return Contents{}, err
	}
	for _, err := range seen.watch(o.rows(ctx, now), progress.follow("reading")) {
		if err != nil {
			return Contents{}, err
		}
	}
	return seen.contents(ctx, o)
}

// jump numbers the next revocation lists of every authority ahead of all that may have been published, and has hosts asked for
// those that were, until everything has expired that the backup does not know of.
func jump(ctx context.Context, tx store.Tx, now time.Time, backup *time.Time) ([]Number, error) {
	numbers := []Number{}
	rows, err := authorities(ctx, tx)
	if err != nil {
		return nil, err
	}
	for _, row := range rows {
		name := row.Name
		cas, err := tx.CAs(ctx, name)
		switch {
		case err != nil:
			return nil, err
		case len(cas) == 0:
			continue
		}
		was, err := tx.Counter(ctx, name, store.CounterCRLNumber)
		if err != nil {
			return nil, err
		}
		if was < 0 || was > maxRestored-crlJump {
			return nil, fmt.Errorf("%w: the number of the revocation lists of %s is %d", ca.ErrDamaged, name, was)
		}
		number, err := tx.AddCounter(ctx, name, store.CounterCRLNumber, max(crlJump, restoredAt(now)-was))
		if err != nil {
			return nil, err
		}
		numbers = append(numbers, Number{name, number})
		f := ca.Forgetting{RestoredAt: now, BackupOf: backup, Number: was, Next: number}
		for _, row := range cas { // which nothing outlives that they have signed
			if row.NotAfter.After(f.Until) {
				f.Until = row.NotAfter
			}
		}
		if err := ca.Forget(ctx, tx, name, f); err != nil {
			return nil, err
		}
	}
	return numbers, nil
}

// endInvitations ends all that were made before, as the backup does not know how often they were used since. Those on
// record are withdrawn; of others, which users have signed, their time decides: if the clock is behind, that of the
// backup at least.
func endInvitations(ctx context.Context, tx store.Tx, now time.Time, backup *time.Time) error {
	rows, err := tx.Authorities(ctx)
	if err != nil {
		return err
	}
	for _, a := range rows {
		list, err := tx.Invitations(ctx, a.Name, 0)
		if err != nil {
			return err
		}
		for _, i := range list {
			if !i.VoidedAt.IsZero() {
				continue
			}
			i.VoidedAt = now
			if err := tx.PutInvitation(ctx, i); err != nil {
				return err
			}
		}
	}
	since := now
	if backup != nil && backup.After(now) {
		since = *backup
	}
	text := since.UTC().Truncate(time.Second).Add(time.Second).Format(time.RFC3339)
	return tx.PutSetting(ctx, "", store.SettingInvitationsSince, text)
}

// lockApproval ends the automatic approval of all authorities, by locking it at a count that has been reached. The counter
// of received requests is as old as the backup: whatever was approved since would be approved once more, and for
// whoever asks first. The daemon's options may allow for more than they did then, which is why not the counter is raised.
func lockApproval(ctx context.Context, tx store.Tx, now time.Time) ([]LockedApproval, error) {
	locked := []LockedApproval{}
	rows, err := authorities(ctx, tx)
	if err != nil {
		return nil, err
	}
	for _, row := range rows {
		if row.Role != store.RoleUsers && row.Role != store.RoleServices {
			continue
		}
		count, err := tx.Counter(ctx, row.Name, store.CounterReceivedCSR)
		if err != nil {
			return nil, err
		}
		if count < 0 {
			return nil, fmt.Errorf("%w: counter %s of %s is %d", ca.ErrDamaged, store.CounterReceivedCSR, row.Name, count)
		}
		switch text, err := tx.Setting(ctx, row.Name, store.SettingAutoApprove); {
		case err == nil:
			before, err := store.ParseCount(text)
			if err != nil {
				return nil, fmt.Errorf("%w: setting %s of %s: %w", ca.ErrDamaged, store.SettingAutoApprove, row.Name, err)
			}
			count = min(count, before)
		case !errors.Is(err, store.ErrNotFound):
			return nil, err
		}
		if err := tx.PutSetting(ctx, row.Name, store.SettingAutoApprove, store.FormatCount(count)); err != nil {
			return nil, err
		}
		e := audit.NewEntry(now, string(row.Name), operator(), audit.LockAuto, audit.Object{Kind: audit.KindSetting, ID: store.SettingAutoApprove})
		e.Detail = fmt.Sprintf("count %d, by a restore", count)
		if err := tx.AppendAudit(ctx, e); err != nil {
			return nil, err
		}
		locked = append(locked, LockedApproval{row.Name, count})
	}
	return locked, nil
}

// replace moves the user's certificate to the key of the request.
func (in Restoration) replace(ctx context.Context, tx store.Tx, clk clock.Clock, operator audit.Actor, crt *x509.Certificate, row store.Certificate) (ca.Issued, error) {
	span := in.Span
	if span == 0 {
		span = row.NotAfter.Sub(row.NotBefore)
	}
	bench, err := newWorkbench(ctx, store.Within(tx), clk)
	if err != nil {
		return ca.Issued{}, err
	}
	users, err := bench.authority(ctx, row.Authority, func(a *store.Authority) { a.Span = span })
	if err != nil {
		return ca.Issued{}, err
	}
	issued, err := users.Replace(ctx, operator, crt, in.Request)
	if err != nil {
		return ca.Issued{}, fmt.Errorf("the new certificate: %w", err)
	}
	return issued, nil
}

func restoredEntry(now time.Time, operator audit.Actor, done Restored, from Sealed) audit.Entry {
	e := audit.NewEntry(now, "", operator, audit.Restore, audit.Object{Kind: audit.KindBackup, ID: done.Format})
	if done.Created != nil {
		e.Detail = "of " + done.Created.UTC().Format(time.RFC3339) + ", "
	}
	if keyID, err := pki.KeyID(from.Key.Public()); err == nil {
		e.Detail += "opened by key " + hex.EncodeToString(keyID)
	}
	return e
}

// Lost returns what a restore may have lost: what happened after the backup, and what to do about it.
func (r Restored) Lost(now time.Time) []string {
	since := "the backup"
	if r.Created != nil {
		since = r.Created.UTC().Format(time.RFC3339)
	}
	lost := []string{
		"Certificates issued after " + since + " are not on record. They verify, can be renewed and can be revoked; agents show theirs with their next fetch.",
		"Requests that came in after it have to be sent again.",
		"Revocations made after it are forgotten. Hosts have the lists that name them: agents of this version send the newest before they fetch the next one. " +
			"Not to wait for them, copy the newest from a host, and give it to cauased manage import-crl before you start the daemon.",
		"A CA certificate made after it is lost with its key. Hosts that have met it must be anchored anew.",
		"A CA certificate that was withdrawn after it, as its key was stolen, signs again: withdraw it again, with cauased manage rotate NAME --compromised, before you start the daemon.",
	}
	newest := map[store.AuthorityName]time.Time{}
	for _, c := range r.CAs {
		newest[c.Authority] = c.NotAfter
	}
	for _, a := range r.Authorities {
		ends, ok := newest[a.Name]
		switch {
		case !ok || !now.After(ends) || a.Role == store.RoleDaemon: // which its peers learn of by themselves
		case a.Parent != "":
			lost = append(lost, fmt.Sprintf("Every CA certificate of %s in the backup has expired: its parent, %s, has to sign a new one.", a.Name, a.Parent))
		default:
			lost = append(lost, fmt.Sprintf("Every CA certificate of %s in the backup has expired: a new one is made, and whoever trusts it must be anchored anew.", a.Name))
		}
	}
	return lost
}
