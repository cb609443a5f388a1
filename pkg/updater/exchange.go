package updater

import (
	"context"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"cauase/pkg/client"
	"cauase/pkg/enroll"
	"cauase/pkg/pki"
)

// An exchange is one conversation with the daemon: what is asked for, and what came of it. It
// changes no file but the staged key.
type exchange struct {
	job     *Job
	engine  *enroll.Engine
	service *client.Client // of the job's authority
	cas     *client.Client // of the authority for services; the same, or nil if not needed
	witness enroll.Witness

	// What is known.
	snapshot   *snapshot
	known      known
	submission *submission
	pushed     *client.ServedCRLs // lists that the daemon has sent by itself, nil if there are none

	afresh func(context.Context) context.Context // see network.afresh

	// keep makes a submission durable.
	keep func(submission) error

	// What came of it.
	trust, casTrust, rootTrust client.Trust
	crls                       []*x509.RevocationList
	tag                        string
	refreshTried               bool // which includes the lists
	listsTried                 bool
	lookedAgain                bool // see overtaken
	strange                    bool // there are lists of a CA that is not known here
	caErr, crlErr              error
	enrolTried                 bool
	enrolErr                   error
	used                       string // id of the invitation that a request was submitted with
	renewTried                 bool
	spared                     string // see snapshot.orphan: of a certificate that needs no other
	renewErr                   error
	issue                      *enroll.Issue // nil if there is none
	confirmed                  string        // key identifier of the CA certificate that was to be confirmed; "" if none was
	confirmErr                 error
	reminded                   string // see memory.Reminded
	reminder                   reminder

	logTried  bool
	logErr    error // nothing is taken from the daemon then
	testimony enroll.Testimony
}

func (x *exchange) run(ctx context.Context, actions []Action) {
	for _, action := range actions {
		switch action {
		case ActRefresh:
			if x.refresh(ctx); errors.Is(x.caErr, client.ErrUnknownAnchor) || x.strange && x.crlErr != nil {
				x.lookAgain(ctx)
			}
		case ActLists:
			x.refreshLists(ctx)
			if x.strange && !x.refreshTried {
				x.refresh(ctx) // there may be a new CA certificate
			}
		case ActEnrol:
			x.enrolTried = true
			if x.enrolErr = x.caErr; !x.hopeless() {
				x.enrolErr = x.enrol(ctx)
			}
		case ActRenew:
			x.renew(ctx)
		case ActReplace:
			x.replace(ctx)
		case ActConfirm:
			x.confirm(ctx)
		}
	}
}

func (x *exchange) renew(ctx context.Context) {
	x.renewTried = true
	if x.renewErr = x.caErr; !x.hopeless() {
		// By the previous CA certificates, if the current ones could not be fetched.
		if x.renewErr = x.testify(ctx); x.renewErr != nil {
			return
		}
		x.issue, x.renewErr = x.engine.Renew(ctx, x.snapshot.files, x.verification())
		if x.overtaken(ctx, x.renewErr) {
			x.issue, x.renewErr = x.engine.Renew(ctx, x.snapshot.files, x.verification())
		}
	}
}

// overtaken reports whether a certificate that cannot be verified may be of a CA that is younger than what was known, and is known now.
func (x *exchange) overtaken(ctx context.Context, err error) bool {
	if !errors.Is(err, pki.ErrUnknownIssuer) || errors.Is(err, client.ErrIssuerWithdrawn) || x.lookedAgain {
		return false
	}
	before := x.trusted()
	x.lookAgain(ctx)
	return x.caErr == nil && !sameCertificates(before, x.trusted())
}

// lookAgain is refresh, once, where answers do not go together: between two of them a CA certificate may have been made, and others withdrawn.
// Whoever answers in the daemon's place has to lie once more.
func (x *exchange) lookAgain(ctx context.Context) {
	if !x.lookedAgain {
		x.lookedAgain = true
		x.refresh(x.afresh(ctx))
	}
}

// replace renews a certificate if its CA was withdrawn.
func (x *exchange) replace(ctx context.Context) {
	if x.caErr != nil {
		x.renewTried, x.renewErr = true, x.caErr
		return
	}
	switch withdrawn, err := x.service.IssuerWithdrawn(ctx, x.snapshot.files.Pair.Crt, x.trusted()); {
	case err != nil:
		x.renewTried, x.renewErr = true, err
	case withdrawn:
		x.renew(ctx)
	default:
		x.spared = x.snapshot.orphan()
	}
}

// hopeless reports whether there is no use in asking for a certificate after CA certificates could not be fetched. Without any
// it could not be judged, and whoever answers may be somebody else than is meant: that one does not get to see a request.
func (x *exchange) hopeless() bool {
	return unreachable(x.caErr) || x.caErr != nil && len(x.trusted()) == 0
}

// trusted is what certificates are judged by.
func (x *exchange) trusted() []*x509.Certificate {
	if x.trust.CAs != nil {
		return x.trust.CAs
	}
	return firstOf(x.snapshot.ca.crts, x.known.ca)
}

func (x *exchange) verification() enroll.Trust {
	return enroll.Trust{CAs: x.trusted(), Roots: x.roots}
}

// roots are those to verify a chain by: the ones kept, or, where none are, those that the CA
// certificates trusted here vouch for.
func (x *exchange) roots(ctx context.Context) ([]*x509.Certificate, error) {
	if roots := firstOf(x.rootTrust.CAs, x.snapshot.root.crts, x.known.root); len(roots) > 0 {
		return roots, nil
	}
	if x.job.Root != "" {
		return nil, client.ErrRoots // not before they are there
	}
	trust, err := x.service.UpdateRoots(ctx, client.Trust{CAs: x.trusted()}, nil, nil)
	return trust.CAs, err
}

func firstOf(lists ...[]*x509.Certificate) []*x509.Certificate {
	for _, list := range lists {
		if len(list) > 0 {
			return list
		}
	}
	return nil
}

func (x *exchange) refresh(ctx context.Context) {
	x.refreshTried, x.caErr, x.crlErr = true, nil, nil
	local := firstOf(x.snapshot.ca.crts, x.known.ca)
	if x.job.Authority == client.CAS && x.snapshot.casca.state != StoreBroken {
		local = firstOf(local, x.snapshot.casca.crts)
	}
	pins, err := x.pins(x.job.Authority, local)
	var trust client.Trust
	if err == nil {
		trust, err = x.service.UpdateTrust(ctx, local, pins)
	}
	if err != nil {
		x.caErr = err
		if unreachable(err) {
			return
		}
	} else {
		x.trust = trust
	}
	if err := x.testify(ctx); err != nil {
		// Whoever has rewritten the log may have made CA certificates, too.
		x.trust, x.caErr = client.Trust{}, err
		return
	}
	x.refreshServices(ctx)
	x.refreshRoots(ctx)
	x.refreshLists(ctx)
}

// refreshLists gets the newest revocation lists.
func (x *exchange) refreshLists(ctx context.Context) {
	x.listsTried, x.crlErr = true, nil
	trusted := x.trusted()
	if len(trusted) == 0 {
		return
	}
	have := slices.Concat(x.snapshot.crls, x.known.crls)
	if x.pushed != nil {
		x.strange = x.pushed.Strange(trusted)
		x.crls, x.tag, x.crlErr = x.service.TakeCRLs(trusted, have, x.pushed)
		x.pushed = nil
		if x.crlErr == nil {
			if x.vetLists(ctx); x.crlErr == nil {
				x.remind(ctx, trusted, have)
			}
			return
		}
	}
	tag := x.known.tag
	if x.snapshot.crl.state != StoreGood || !sameCRLs(x.snapshot.crls, x.known.crls) {
		tag = ""
	}
	var served *client.ServedCRLs
	x.crls, x.tag, served, x.crlErr = x.service.LookForCRLs(ctx, trusted, have, tag)
	x.crls = shareLists(x.crls)
	x.strange = served != nil && served.Strange(trusted)
	if served != nil && x.crlErr == nil {
		x.vetLists(ctx)
	}
	if x.crlErr == nil {
		x.remind(ctx, trusted, have)
	}
}

// vetLists drops lists that have come from a daemon whose log is not what it was. To who asks whether there are newer ones, and is told
// that there are not, that makes no difference.
func (x *exchange) vetLists(ctx context.Context) {
	if err := x.testify(ctx); err != nil {
		x.crls, x.tag, x.crlErr = nil, "", err
	}
}

// confirm tells the daemon which CA certificate is on disk. The snapshot was read from there.
func (x *exchange) confirm(ctx context.Context) {
	newest := x.snapshot.newestCA()
	if newest == nil {
		return
	}
	x.confirmed = hex.EncodeToString(newest.SubjectKeyId)
	pair := x.snapshot.files.Pair
	x.confirmErr = x.service.ConfirmCA(ctx, pair.Crt, pair.Key, newest.SubjectKeyId)
}

// refreshServices follows the CA of services, where that is kept in a place of its own.
func (x *exchange) refreshServices(ctx context.Context) {
	separate := x.job.CASCA != "" && filepath.Clean(x.job.CASCA) != filepath.Clean(x.job.CA)
	if !separate || x.snapshot.casca.state == StoreBroken {
		return
	}
	local := firstOf(x.snapshot.casca.crts, x.known.casca)
	if x.job.Authority == client.CAS {
		local = firstOf(local, x.trust.CAs)
	}
	pins, err := x.pins(client.CAS, local)
	var trust client.Trust
	if err == nil {
		trust, err = x.cas.UpdateTrust(ctx, local, pins)
	}
	if err != nil {
		x.caErr = errors.Join(x.caErr, fmt.Errorf("service CA: %w", err))
		return
	}
	x.casTrust = trust
}

// refreshRoots follows the roots, where they are kept.
func (x *exchange) refreshRoots(ctx context.Context) {
	if x.job.Root == "" || x.trust.CAs == nil || x.snapshot.root.state == StoreBroken {
		return
	}
	local := firstOf(x.snapshot.root.crts, x.known.root)
	trust, err := x.service.UpdateRoots(ctx, x.trust, local, x.job.Pins)
	if err != nil {
		x.caErr = errors.Join(x.caErr, err)
		return
	}
	x.rootTrust = trust
}

// enrol gets a certificate for the configured request. The first time it hands in the
// request itself; later, when its key is gone or its certificate has expired, one with the
// same names for a new key.
func (x *exchange) enrol(ctx context.Context) error {
	configured := x.snapshot.request
	digest := digestOf(configured)
	s := submission{Digest: digest}
	if h := x.submission; h != nil && h.Digest == digest {
		s = *h
	}
	if s.ID == 0 {
		// What could not be stored is not asked for.
		if err := x.engine.Paths.Check(); err != nil {
			return err
		}
	}
	r, err := x.request(&s, configured)
	if err != nil {
		return err
	}
	x.submission = &s
	if r.ID = s.ID; r.ID == 0 {
		engine, err := x.submitting(ctx)
		if err != nil {
			return err
		}
		if err := engine.Submit(ctx, r); err != nil {
			s.Rejected = errors.Is(err, enroll.ErrRejected)
			return err
		}
		s.ID = r.ID
		if engine.Invitation != nil {
			x.used = engine.Invitation.ID.String()
		}
	}
	issue, err := x.engine.Collect(ctx, r, x.verification())
	if x.overtaken(ctx, err) {
		issue, err = x.engine.Collect(ctx, r, x.verification())
	}
	switch {
	case errors.Is(err, enroll.ErrRejected):
		s.Rejected = true
		return err
	case errors.Is(err, client.ErrIssuerWithdrawn) && enroll.Refused(err):
		// The daemon has it, and does not exchange it. Ask anew, with a key of which nobody has heard yet.
		x.submission = &submission{Digest: digest, Own: true}
		return errors.Join(err, x.engine.Withdraw(r))
	case errors.Is(err, pki.ErrExpired) && !s.Own:
		// The one issued long ago for the same request. Ask anew, with a new key.
		x.submission = &submission{Digest: digest, Own: true}
		return err
	case err != nil:
		return err
	}
	if err := x.testify(ctx); err != nil {
		return err
	}
	x.issue = issue // of the submission, which can be collected again until it is installed
	return nil
}

// request returns what to hand in: the configured request while its key has no certificate yet,
// or one like it.
func (x *exchange) request(s *submission, configured *pki.Request) (*enroll.Request, error) {
	files := x.snapshot.files
	if !s.Own {
		r, err := x.engine.Resume(configured.PEM, files)
		if err == nil && (r.Staged || x.snapshot.pairState == PairNoCertificate) {
			return r, nil
		}
	}
	if s.Own && s.PEM != "" {
		if r, err := x.engine.Resume([]byte(s.PEM), files); err == nil && r.Staged {
			return r, nil
		}
	}
	engine := *x.engine
	if engine.KeyType == "" {
		engine.KeyType, _ = pki.LikeKeyType(configured.CSR.PublicKey) // or the usual one
	}
	template := &x509.CertificateRequest{RawSubject: configured.CSR.RawSubject, ExtraExtensions: configured.CSR.Extensions}
	return engine.NewRequest(template, files, func(r *enroll.Request) error {
		*s = submission{Digest: s.Digest, Own: true, PEM: string(r.PEM)}
		return x.keep(*s)
	})
}

// unreachable reports whether an error says that there is no use in asking for more.
func unreachable(err error) bool {
	if err == nil {
		return false
	}
	switch class, _ := enroll.Explain(err, enroll.Reader{}); class {
	case enroll.ClassNetwork, enroll.ClassNotCA, enroll.ClassServer:
		return true
	}
	return errors.Is(err, fs.ErrPermission)
}
