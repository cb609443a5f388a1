package updater

import (
	"context"
	"crypto/x509"
	"errors"
	"net/http"

	"cauase/pkg/client"
	"cauase/pkg/pki"
)

// A reminder is what a daemon was told that had been restored from a backup.
type reminder struct {
	what   string // which restore, and which certificate was shown; empty: none
	done   client.Recalled
	list   *x509.RevocationList // that was sent; nil: none
	failed error                // why it could not be told
}

// remind shows the daemon what it has forgotten, if it was restored, before what is kept of it is replaced by new lists. A list that
// names what was revoked may be the only one there is: while the daemon cannot be told, it stays. That there was a restore shows in the
// numbers of lists, so that nobody has to ask at other times.
func (x *exchange) remind(ctx context.Context, trusted []*x509.Certificate, have []*x509.RevocationList) {
	pair := x.snapshot.files.Pair
	if pair.Crt == nil || pair.Key == nil || !client.Jumped(have, x.crls) {
		return
	}
	f, err := x.service.Forgotten(ctx)
	switch {
	case err != nil:
		x.reminder.failed = err
		x.holdLists()
		return
	case f == nil:
		return
	}
	list := f.Evidence(trusted, have)
	what := f.RestoredAt.UTC().Format("2006-01-02T15:04:05Z") + " " + pki.FormatSerial(pair.Crt.SerialNumber)
	if list == nil && what == x.reminded {
		return
	}
	done, err := x.service.Recover(ctx, pair.Crt, pair.Key, list)
	if errors.Is(err, client.ErrListTooLong) {
		x.reminder = reminder{list: list, failed: err}
		x.holdLists()
		return
	}
	x.reminder = reminder{done: done, list: list, failed: err}
	switch {
	case err == nil:
		x.reminder.what = what
	case client.IsStatus(err, http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusConflict, http.StatusRequestEntityTooLarge):
		x.reminder.what = what // it does not want to know, which asking again does not change
	default:
		x.holdLists()
	}
}

// holdLists keeps the lists of before a restore while the daemon cannot be told of them, as long as they can be used.
func (x *exchange) holdLists() {
	if life, first := x.snapshot.crlLife(x.engine.Clock.Now()); first != nil && life.To.After(x.engine.Clock.Now().Add(unhurried)) {
		x.crls, x.crlErr = nil, x.reminder.failed
	}
}

// finishReminder remembers what the daemon was told.
func (w *worker) finishReminder(x *exchange) {
	r := x.reminder
	switch {
	case errors.Is(r.failed, client.ErrListTooLong):
		w.log.Error("the daemon was restored from a backup, and the revocation list that is here is too long to be sent: give it to cauased manage import-crl; it is kept until shortly before it expires",
			"file", w.job.CRL, "number", r.list.Number.String())
	case r.failed != nil:
		w.log.Warn("the daemon was restored from a backup and could not be told what is known here", "error", r.failed.Error())
	case r.what != "":
		w.log.Info("the daemon was restored from a backup, and was told what is known here", "certificate_recorded", r.done.Recorded,
			"revocations_added", r.done.Added)
	}
	if r.what != "" && w.memory.Reminded != r.what {
		w.memory.Reminded = r.what
		w.save()
	}
}
