package updater

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"cauase/pkg/client"
	"cauase/pkg/enroll"
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

// finish stores what came of an exchange.
func (w *worker) finish(ctx context.Context, x *exchange) {
	if ctx.Err() != nil && x.issue == nil {
		return // cut off: no news
	}
	now := w.o.Clock.Now()
	w.finishLog(x)
	switch {
	case x.refreshTried:
		w.finishRefresh(x, now)
	case x.listsTried:
		w.finishLists(x, now)
	}
	w.finishSubmission(x)
	w.finishInvited()
	w.finishConfirm(x)
	w.finishReminder(x)
	if x.enrolTried {
		w.finishEnrol(x)
	}
	if x.spared != "" {
		w.spared = x.spared
		delete(w.retries, TaskRenew)
		w.resolved(TaskRenew)
	}
	if x.renewTried {
		left := x.snapshot.files.Pair.Crt.NotAfter.Sub(now)
		if x.renewErr == nil {
			if err := w.install(x.issue, "renewed"); err != nil {
				w.tried(TaskFiles, err, left)
				w.tried(TaskRenew, err, left)
				return
			}
			w.memory.Counts.Renewals++
		}
		w.tried(TaskRenew, x.renewErr, left)
		if x.renewErr == nil {
			w.rest(x.issue.Pair.Crt, now)
		}
	}
}

// longestRest is for how long a certificate is left alone that is due as soon as it is there.
const longestRest = 10 * time.Minute

// rest puts the next renewal off if a certificate is due as soon as it was issued, as one is that was backdated by more than it is valid:
// the agent would do nothing else until the daemon has had enough.
func (w *worker) rest(crt *x509.Certificate, now time.Time) {
	if w.timing().RenewAt(Life{crt.NotBefore, crt.NotAfter}, 0).After(now) {
		return
	}
	w.retryAt(TaskRenew, now.Add(clamp(crt.NotAfter.Sub(now)/2, time.Second, longestRest)))
}

// finishSubmission remembers what was handed in together with the invitation that went with it: what was handed in is not
// again, and so is the only chance to learn that the invitation was used.
func (w *worker) finishSubmission(x *exchange) {
	news := x.enrolTried && !sameRequest(w.memory.Request, x.submission)
	if news {
		w.memory.Request = x.submission
	}
	if x.used != "" && w.memory.Invited != x.used {
		w.memory.Invited, news = x.used, true
	}
	if news {
		w.save()
	}
}

// finishConfirm remembers what the daemon was told of. One that does not ask, as those of earlier versions, is not told again before
// there is something new to tell; nothing on this host depends on it.
func (w *worker) finishConfirm(x *exchange) {
	switch err := x.confirmErr; {
	case x.confirmed == "":
	case err == nil:
		delete(w.retries, taskConfirm)
		w.memory.Confirmed = x.confirmed
		w.save()
	case errors.Is(err, client.ErrNotTold):
		delete(w.retries, taskConfirm)
		w.untold = x.confirmed
		w.log.Debug("the daemon was not told which CA certificate is here", "error", err.Error())
	default:
		t := w.retryOf(taskConfirm)
		pause := min(t.backoff.NextBackOff(), unhurried)
		if wanted := client.RetryAfter(err); wanted > 0 {
			pause = max(pause, jittered(min(wanted, longestWish)))
		}
		t.next = w.o.Clock.Now().Add(pause)
		w.log.Debug("the daemon could not be told which CA certificate is here", "error", err.Error())
	}
}

func sameRequest(a, b *submission) bool {
	return a == nil && b == nil || a != nil && b != nil && *a == *b
}

func (w *worker) finishRefresh(x *exchange, now time.Time) {
	life, _ := x.snapshot.crlLife(now)
	slack := life.To.Sub(now)
	for _, trust := range []client.Trust{x.trust, x.casTrust, x.rootTrust} {
		if !trust.FirstUse {
			continue
		}
		for _, ca := range trust.CAs {
			w.log.Warn("first contact: from now on this CA is trusted; compare its fingerprint with the CA's administrators",
				"subject", pki.SubjectString(ca.RawSubject), "fingerprint", client.PinOf(ca).String())
		}
	}
	err := w.storeAuthority(x)
	w.tried(TaskRefresh, x.caErr, slack)
	if x.caErr == nil || !unreachable(x.caErr) {
		w.tried(taskCRL, x.crlErr, slack)
	}
	if err != nil || w.memory.problem(TaskFiles) != nil {
		w.tried(TaskFiles, err, time.Minute)
	}
	if x.caErr == nil && x.crlErr == nil {
		w.memory.Contact = now
		w.touched = false
		if err == nil {
			w.refreshed, w.checked = now, now
		} else {
			// Fetched again when writing may be tried again.
			w.retryAt(TaskRefresh, w.retries[TaskFiles].next)
		}
		w.save()
	}
}

// finishLists is finishRefresh where revocation lists alone were looked for. That happens so often that what it found is
// written down only if it is news.
func (w *worker) finishLists(x *exchange, now time.Time) {
	life, _ := x.snapshot.crlLife(now)
	err := w.storeAuthority(x)
	w.tried(taskCRL, x.crlErr, life.To.Sub(now))
	if err != nil || w.memory.problem(TaskFiles) != nil {
		w.tried(TaskFiles, err, time.Minute)
	}
	if x.crlErr != nil {
		return
	}
	w.memory.Contact = now
	if err == nil {
		w.checked = now
	} else {
		w.retryAt(taskCRL, w.retries[TaskFiles].next)
	}
}

// storeAuthority writes CA certificates and revocation lists.
func (w *worker) storeAuthority(x *exchange) error {
	var failed error
	for _, one := range []struct {
		trust client.Trust
		known []*x509.Certificate
		path  string
		kind  string // for the hook
		what  string
	}{
		{x.trust, w.known.ca, w.job.CA, "ca", "CA certificates"},
		{x.casTrust, w.known.casca, w.job.CASCA, "ca", "service CA certificates"},
		{x.rootTrust, w.known.root, w.job.Root, "root", "roots"},
	} {
		if one.trust.CAs == nil {
			continue
		}
		store := w.job.caStore(one.path)
		store.Attributes, store.Ours = w.announcing(one.kind), one.known != nil
		changed, err := store.WriteCertificates(one.trust.CAs)
		failed = errors.Join(failed, err)
		w.wroteStore(changed, one.what, one.path, len(one.trust.CAs))
	}
	if x.crlErr == nil && len(x.crls) > 0 {
		store := w.job.crlStore()
		store.Attributes, store.Ours = w.announcing("crl"), w.known.crls != nil
		changed, err := store.WriteCRLs(x.crls)
		failed = errors.Join(failed, err)
		w.wroteStore(changed, "revocation lists", w.job.CRL, len(x.crls))
		if err == nil {
			w.rememberLists(x.crls, x.tag)
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

func (w *worker) finishEnrol(x *exchange) {
	err := x.enrolErr
	wasPending := w.pending
	w.pending = errors.Is(err, client.ErrPending)
	switch {
	case w.pending && !wasPending:
		w.log.Info("the request waits for an administrator to sign it", "id", x.submission.ID.String(), "csr", w.job.CSR,
			"command", "cauase --ca-url "+w.job.CAURL+" --user-key FILE "+authorityFlag(w.job.Authority)+"csr sign "+x.submission.ID.String())
	case err == nil:
		if err = w.install(x.issue, "certificate issued"); err != nil {
			w.tried(TaskFiles, err, 0)
			break
		}
		w.memory.Counts.Enrolments++
		w.memory.Request = nil
		w.memory.Confirmed, w.untold = "", ""
		w.save()
	}
	w.tried(TaskEnrol, err, 0)
	if errors.Is(err, enroll.ErrRejected) {
		delete(w.retries, TaskEnrol) // it is the file that is waited for
	}
}

func authorityFlag(a client.AuthorityName) string {
	switch a {
	case client.CAS:
		return ""
	case client.CAU:
		return "--mode user "
	}
	return "--authority " + string(a) + " "
}

// install puts a new certificate, and its key if that is new, in place.
func (w *worker) install(issue *enroll.Issue, event string) error {
	engine := *w.engine
	if engine.Paths.Attributes = w.announcing("crt"); issue.Staged {
		engine.Paths.Attributes = w.announcing("crt", "key")
	}
	if _, err := engine.Install(issue); err != nil {
		return err // a staged key stays for the next try
	}
	w.wrote = true
	w.learn(issue)
	if len(issue.Differences) > 0 {
		w.log.Warn("the certificate has other names than were requested", "differences", fmt.Sprint(issue.Differences))
	}
	crt := issue.Pair.Crt
	w.log.Info(event, "certificate", w.job.Crt, "subject", pki.SubjectString(crt.RawSubject),
		"serial", "0x"+crt.SerialNumber.Text(16), "not_after", stamp(crt.NotAfter))
	return nil
}

// learn remembers what was just installed: it is to be mended, too, if somebody removes it before the next look.
func (w *worker) learn(issue *enroll.Issue) {
	files := enroll.Look(w.paths)
	if files.Pair.Key == nil || !pki.SameKey(files.Pair.Key.Public(), issue.Pair.Key.Public()) {
		return
	}
	if files.Pair.Crt == nil {
		if w.paths.Combined() {
			return
		}
		files.Pair.Crt, files.RawCrt = issue.Pair.Crt, issue.Pair.PEM()
	}
	w.known.keep(files)
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
	w.memory.Counts.Mended++
	w.log.Warn("files were missing or damaged, and are back", "what", what)
	return true
}

func (w *worker) mendPair(attributes pemfile.Attributes) error {
	// The key goes back into the hands that it was in, and into no others.
	hands := attributes
	hands.Owner, hands.Group, hands.Mode, hands.Like = nil, nil, 0, w.known.keyFile
	if w.paths.Combined() {
		_, err := pemfile.Write(pemfile.File{Path: w.job.Crt, Content: w.known.rawKey, Secret: true, Attributes: hands})
		return err
	}
	_, err := pemfile.WriteAll(
		pemfile.File{Path: w.job.Key, Content: w.known.rawKey, Secret: true, Attributes: hands},
		pemfile.File{Path: w.job.Crt, Content: w.known.rawCrt, Attributes: attributes})
	return err
}

func (w *worker) mendCAs(attributes pemfile.Attributes) error {
	var failed error
	written := map[string]bool{}
	for _, one := range []struct {
		path  string
		known []*x509.Certificate
	}{{w.job.CA, w.known.ca}, {w.job.CASCA, w.known.casca}, {w.job.Root, w.known.root}} {
		if one.path == "" || written[filepath.Clean(one.path)] {
			continue
		}
		written[filepath.Clean(one.path)] = true
		store := w.job.caStore(one.path)
		store.Attributes, store.Ours = attributes, true
		_, err := store.WriteCertificates(one.known)
		failed = errors.Join(failed, err)
	}
	return failed
}

func (w *worker) mendCRLs(attributes pemfile.Attributes) error {
	store := w.job.crlStore()
	store.Attributes, store.Ours = attributes, true
	_, err := store.WriteCRLs(w.known.crls)
	return err
}
