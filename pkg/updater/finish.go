package updater

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"cauase/pkg/client"
	"cauase/pkg/pemfile"
	"cauase/pkg/pki"
)

// announcing returns attributes with which, before the first change on disk, it is
// remembered that the hook has to hear of it.
func (w *worker) announcing(what ...string) pemfile.Attributes {
	announced := false
	return w.job.attributes(func(step string) {
		if !announced {
			announced = true
			w.wrote = true
			w.changed(what...)
		}
		if w.o.Step != nil {
			w.o.Step(step)
		}
	})
}

// finish stores what came of a talk.
func (w *worker) finish(ctx context.Context, t *talk) {
	if ctx.Err() != nil && t.pair.Crt == nil {
		return // cut off: no news
	}
	now := w.o.Clock.Now()
	if t.refreshTried {
		w.finishRefresh(t, now)
	}
	if t.handedIn != nil || w.memory.Request != nil {
		if !sameRequest(w.memory.Request, t.handedIn) && t.enrolTried {
			w.memory.Request = t.handedIn
			w.save()
		}
	}
	if t.enrolTried {
		w.finishEnrol(t)
	}
	if t.renewTried {
		left := t.sight.pair.Crt.NotAfter.Sub(now)
		if t.renewErr == nil {
			if err := w.storePair(t, "renewed"); err != nil {
				w.tried(TaskFiles, err, left)
				w.tried(TaskRenew, err, left)
				return
			}
			w.counts.Renewals++
		}
		w.tried(TaskRenew, t.renewErr, left)
	}
}

func sameRequest(a, b *handedIn) bool {
	return a == nil && b == nil || a != nil && b != nil && *a == *b
}

func (w *worker) finishRefresh(t *talk, now time.Time) {
	life, _ := t.sight.crlLife(now)
	slack := life.To.Sub(now)
	for _, trust := range []client.Trust{t.trust, t.casTrust} {
		if !trust.FirstUse {
			continue
		}
		for _, ca := range trust.CAs {
			w.log.Warn("first contact: from now on this CA is trusted; compare its fingerprint with the CA's administrators",
				"subject", pki.SubjectString(ca.RawSubject), "fingerprint", client.PinOf(ca).String())
		}
	}
	err := w.storeAuthority(t)
	w.tried(TaskRefresh, t.caErr, slack)
	if t.caErr == nil || !unreachable(t.caErr) {
		w.tried(taskCRL, t.crlErr, slack)
	}
	if err != nil || w.memory.problem(TaskFiles) != nil {
		w.tried(TaskFiles, err, time.Minute)
	}
	if t.caErr == nil && t.crlErr == nil {
		w.memory.Contact = now
		w.touched = false
		if err == nil {
			w.refreshed = now
		} else {
			// Fetched again when writing may be tried again.
			trial := w.trials[TaskFiles]
			w.trials[TaskRefresh] = trial
		}
		w.save()
	}
}

// storeAuthority writes CA certificates and revocation lists.
func (w *worker) storeAuthority(t *talk) error {
	var failed error
	if t.trust.CAs != nil {
		store := pemfile.CAStore(w.job.CA)
		store.Attributes, store.Ours = w.announcing("ca"), w.known.ca != nil
		changed, err := store.WriteCertificates(t.trust.CAs)
		failed = errors.Join(failed, err)
		w.wroteStore(changed, "CA certificates", w.job.CA, len(t.trust.CAs))
	}
	if t.casTrust.CAs != nil {
		store := pemfile.CAStore(w.job.CASCA)
		store.Attributes, store.Ours = w.announcing("ca"), w.known.casca != nil
		changed, err := store.WriteCertificates(t.casTrust.CAs)
		failed = errors.Join(failed, err)
		w.wroteStore(changed, "service CA certificates", w.job.CASCA, len(t.casTrust.CAs))
	}
	if t.crlErr == nil && len(t.crls) > 0 {
		store := pemfile.CRLStore(w.job.CRL)
		store.Attributes, store.Ours = w.announcing("crl"), w.known.crls != nil
		changed, err := store.WriteCRLs(t.crls)
		failed = errors.Join(failed, err)
		w.wroteStore(changed, "revocation lists", w.job.CRL, len(t.crls))
		if err == nil {
			w.known.crls, w.known.tag = t.crls, t.tag
		}
	}
	return failed
}

func (w *worker) wroteStore(changed bool, what, path string, n int) {
	if changed {
		w.wrote = true
		w.log.Info("new "+what, "file", path, "count", n)
	}
}

func (w *worker) finishEnrol(t *talk) {
	err := t.enrolErr
	wasPending := w.pending
	w.pending = errors.Is(err, client.ErrPending)
	switch {
	case w.pending && !wasPending:
		w.log.Info("the request waits for an administrator to sign it", "id", t.handedIn.ID.String(), "csr", w.job.CSR,
			"command", "cauase --ca-url "+w.job.CAURL+" --user-key FILE "+modeFlag(w.job.Authority)+"csr sign "+t.handedIn.ID.String())
	case err == nil:
		if err = w.storePair(t, "certificate issued"); err != nil {
			w.tried(TaskFiles, err, 0)
			break
		}
		w.counts.Enrolments++
		w.memory.Request = nil
		w.save()
	}
	w.tried(TaskEnrol, err, 0)
	if errors.Is(err, errRejected) {
		delete(w.trials, TaskEnrol) // it is the file that is waited for
	}
}

func modeFlag(a client.Authority) string {
	if a == client.CAU {
		return "--mode user "
	}
	return ""
}

// errOvertaken says that somebody has put other files in place meanwhile.
var errOvertaken = errors.New("key or certificate were changed meanwhile by somebody else")

// storePair puts a new certificate, and its key if that is new, in place.
func (w *worker) storePair(t *talk, event string) error {
	now := &sight{}
	lookAtPair(w.job, now)
	if !bytes.Equal(now.rawKey, t.sight.rawKey) || !bytes.Equal(now.rawCrt, t.sight.rawCrt) {
		return errOvertaken // the staged key stays for the next try
	}
	paths := w.paths
	var err error
	switch {
	case t.staged:
		paths.Attributes = w.announcing("crt", "key")
		_, err = pemfile.WritePair(paths, t.pair)
	case paths.Combined():
		paths.Attributes = w.announcing("crt")
		_, err = pemfile.AddCertificate(paths, t.pair.Crt)
	default:
		_, err = pemfile.Write(pemfile.File{Path: paths.Crt, Content: pki.EncodeCertificatePEM(t.pair.Crt.Raw), Attributes: w.announcing("crt")})
	}
	if err != nil {
		return err
	}
	if t.staged {
		if err := pemfile.DropStagedKey(w.paths); err != nil {
			w.log.Warn("cannot remove a key that is in place by now", "error", err.Error())
		}
	}
	w.wrote = true
	if len(t.differences) > 0 {
		w.log.Warn("the certificate has other names than were requested", "differences", fmt.Sprint(t.differences))
	}
	w.log.Info(event, "certificate", w.job.Crt, "subject", pki.SubjectString(t.pair.Crt.RawSubject),
		"serial", "0x"+t.pair.Crt.SerialNumber.Text(16), "not_after", stamp(t.pair.Crt.NotAfter))
	return nil
}

// mend puts back what is known, and reports whether it could.
func (w *worker) mend(what string, write func(attributes pemfile.Attributes) error, changed ...string) bool {
	err := write(w.announcing(changed...))
	if err != nil || w.memory.problem(TaskFiles) != nil {
		w.tried(TaskFiles, err, time.Minute)
	}
	if err != nil {
		return false
	}
	w.counts.Mended++
	w.log.Warn("files were missing or damaged, and are back", "what", what)
	return true
}

func (w *worker) mendPair(attributes pemfile.Attributes) error {
	if w.paths.Combined() {
		_, err := pemfile.Write(pemfile.File{Path: w.job.Crt, Content: w.known.rawKey, Secret: true, Attributes: attributes})
		return err
	}
	_, err := pemfile.WriteAll(
		pemfile.File{Path: w.job.Key, Content: w.known.rawKey, Secret: true, Attributes: attributes},
		pemfile.File{Path: w.job.Crt, Content: w.known.rawCrt, Attributes: attributes})
	return err
}

func (w *worker) mendCAs(attributes pemfile.Attributes) error {
	store := pemfile.CAStore(w.job.CA)
	store.Attributes, store.Ours = attributes, true
	_, err := store.WriteCertificates(w.known.ca)
	if err != nil || w.job.CASCA == "" || filepath.Clean(w.job.CASCA) == filepath.Clean(w.job.CA) {
		return err
	}
	store = pemfile.CAStore(w.job.CASCA)
	store.Attributes, store.Ours = attributes, true
	_, err = store.WriteCertificates(w.known.casca)
	return err
}

func (w *worker) mendCRLs(attributes pemfile.Attributes) error {
	store := pemfile.CRLStore(w.job.CRL)
	store.Attributes, store.Ours = attributes, true
	_, err := store.WriteCRLs(w.known.crls)
	return err
}
