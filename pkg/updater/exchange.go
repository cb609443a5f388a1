package updater

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"path/filepath"
	"slices"
	"time"

	"cauase/pkg/client"
	"cauase/pkg/pemfile"
	"cauase/pkg/pki"
)

// A talk is one conversation with the daemon: what is asked for, and what came of it. It
// changes no file but the staged key.
type talk struct {
	job     *Job
	clock   func() time.Time
	service *client.Client // of the job's authority
	cas     *client.Client // of the authority for services; the same, or nil if not needed
	paths   pemfile.PairPaths

	// What is known.
	sight    *sight
	known    known
	handedIn *handedIn

	// What came of it.
	trust, casTrust client.Trust
	crls            []*x509.RevocationList
	tag             string
	refreshTried    bool
	caErr, crlErr   error
	enrolTried      bool
	enrolErr        error
	differences     []string
	renewTried      bool
	renewErr        error
	pair            pemfile.Pair // new, nil Crt if there is none
	staged          bool         // its key is the staged one
}

// errRejected says that somebody has decided against a request.
var errRejected = errors.New("the request was rejected, or is long forgotten")

func (t *talk) run(ctx context.Context, actions []Action) {
	for _, action := range actions {
		switch action {
		case ActRefresh:
			t.refresh(ctx)
		case ActEnrol:
			t.enrolTried = true
			t.enrolErr = t.enrol(ctx)
		case ActRenew:
			t.renewTried = true
			if t.renewErr = t.caErr; !unreachable(t.caErr) {
				t.renewErr = t.renew(ctx)
			}
		}
	}
}

// trusted is what certificates are judged by.
func (t *talk) trusted() []*x509.Certificate {
	if t.trust.CAs != nil {
		return t.trust.CAs
	}
	return firstOf(t.sight.ca.crts, t.known.ca)
}

func firstOf(lists ...[]*x509.Certificate) []*x509.Certificate {
	for _, list := range lists {
		if len(list) > 0 {
			return list
		}
	}
	return nil
}

func (t *talk) refresh(ctx context.Context) {
	t.refreshTried, t.caErr, t.crlErr = true, nil, nil
	local := firstOf(t.sight.ca.crts, t.known.ca)
	separate := t.job.CASCA != "" && filepath.Clean(t.job.CASCA) != filepath.Clean(t.job.CA)
	if t.job.Authority == client.CAS && t.sight.casca.state != StoreBroken {
		local = firstOf(local, t.sight.casca.crts)
	}
	trust, err := t.service.UpdateTrust(ctx, local, t.job.Pins)
	if err != nil {
		t.caErr = err
		if unreachable(err) {
			return
		}
	} else {
		t.trust = trust
	}
	if separate && t.sight.casca.state != StoreBroken {
		local := firstOf(t.sight.casca.crts, t.known.casca)
		if t.job.Authority == client.CAS {
			local = firstOf(local, t.trust.CAs)
		}
		trust, err := t.cas.UpdateTrust(ctx, local, t.job.Pins)
		if err != nil {
			t.caErr = errors.Join(t.caErr, fmt.Errorf("service CA: %w", err))
		} else {
			t.casTrust = trust
		}
	}
	trusted := t.trusted()
	if len(trusted) == 0 {
		return
	}
	have := slices.Concat(t.sight.crls, t.known.crls)
	tag := t.known.tag
	if t.sight.crl.state != StoreGood || !sameCRLs(t.sight.crls, t.known.crls) {
		tag = ""
	}
	t.crls, t.tag, t.crlErr = t.service.RevalidateCRLs(ctx, trusted, have, tag)
}

// renew gets a successor of the certificate, for a key that is on disk before anybody
// hears of it.
func (t *talk) renew(ctx context.Context) error {
	old := t.sight.pair
	keyType := t.job.KeyType
	if keyType == "" {
		var err error
		if keyType, err = pki.KeyTypeOf(old.Key.Public()); err != nil {
			return fmt.Errorf("%w: choose one with --key-type", err)
		}
	}
	key, err := t.stagedKey(keyType, old.Key)
	if err != nil {
		return err
	}
	crt, err := t.service.Renew(ctx, old.Crt, old.Key, key, t.trusted())
	if err != nil {
		// An answer that says no has issued nothing, so that the key can go. Those of
		// a proxy say nothing about what lies behind it.
		if refusal(err) || errors.Is(err, client.ErrWrongKey) {
			err = errors.Join(err, pemfile.DropStagedKey(t.paths))
		}
		return err
	}
	t.pair, t.staged = pemfile.Pair{Key: key, Crt: crt}, true
	return nil
}

// refusal reports whether the daemon itself has said no.
func refusal(err error) bool {
	var status *client.StatusError
	if !errors.As(err, &status) {
		return false
	}
	switch status.Status {
	case http.StatusRequestTimeout, http.StatusTooManyRequests:
		return false
	}
	return status.Status >= 400 && status.Status <= 500
}

// stagedKey returns the key to ask with: the one of an attempt of which nobody knows the
// end, or a new one.
func (t *talk) stagedKey(keyType pki.KeyType, current crypto.Signer) (crypto.Signer, error) {
	key, err := pemfile.StagedKey(t.paths)
	if err == nil {
		found, typeErr := pki.KeyTypeOf(key.Public())
		if typeErr == nil && found == keyType && (current == nil || !pki.SameKey(key.Public(), current.Public())) {
			return key, nil
		}
	}
	if key, err = keyType.Generate(); err != nil {
		return nil, err
	}
	return key, pemfile.StageKey(t.paths, key)
}

// enrol gets a certificate for the configured request. The first time it hands in the
// request itself; later, when its key is gone or its certificate has expired, one with the
// same names for a new key.
func (t *talk) enrol(ctx context.Context) error {
	request := t.sight.request
	digest := digestOf(request)
	h := t.handedIn
	if h != nil && h.Digest != digest {
		h = nil
	}
	own := h != nil && h.Own || t.sight.pairState != PairNoCertificate ||
		t.sight.pair.Key == nil || !pki.SameKey(t.sight.pair.Key.Public(), request.CSR.PublicKey)
	key := t.sight.pair.Key
	content := request.PEM
	if own {
		var err error
		if key, h, err = t.ownRequest(request, digest, h); err != nil {
			return err
		}
		content = []byte(h.PEM)
	}
	if h == nil {
		h = &handedIn{Digest: digest}
	}
	if h.ID == 0 {
		id, err := t.service.Submit(ctx, content)
		if err != nil {
			return err
		}
		h.ID = id
	}
	t.handedIn = h
	crt, err := t.service.Certificate(ctx, h.ID)
	if errors.Is(err, client.ErrUnknown) {
		h.Rejected = true
		return fmt.Errorf("request %s: %w", h.ID, errRejected)
	}
	if err != nil {
		return err
	}
	err = t.checkEnrolled(ctx, crt, key)
	switch {
	case errors.Is(err, pki.ErrExpired) && !own:
		// The one issued long ago for the same request. Ask anew, with a new key.
		t.handedIn = &handedIn{Digest: digest, Own: true}
		return err
	case err != nil:
		return err
	}
	t.differences = client.Differences(crt, request)
	t.pair, t.staged = pemfile.Pair{Key: key, Crt: crt}, own
	t.handedIn = nil
	return nil
}

// checkEnrolled checks a first certificate, of a CA that may be younger than what is known.
func (t *talk) checkEnrolled(ctx context.Context, crt *x509.Certificate, key crypto.Signer) error {
	err := client.CheckIssued(crt, key.Public(), t.trusted(), t.clock())
	if errors.Is(err, pki.ErrUnknownIssuer) && !t.refreshTried {
		t.refresh(ctx)
		err = client.CheckIssued(crt, key.Public(), t.trusted(), t.clock())
	}
	return err
}

// ownRequest returns a request like the configured one, for the staged key.
func (t *talk) ownRequest(like *pki.Request, digest string, h *handedIn) (crypto.Signer, *handedIn, error) {
	if h != nil && h.Own && h.PEM != "" {
		request, err := pki.ParseRequest([]byte(h.PEM))
		key, keyErr := pemfile.StagedKey(t.paths)
		if err == nil && keyErr == nil && pki.SameKey(key.Public(), request.CSR.PublicKey) {
			return key, h, nil
		}
	}
	keyType := t.job.KeyType
	if keyType == "" {
		var err error
		if keyType, err = pki.KeyTypeOf(like.CSR.PublicKey); err != nil {
			keyType = pki.DefaultKeyType
		}
	}
	key, err := t.stagedKey(keyType, t.sight.pair.Key)
	if err != nil {
		return nil, nil, err
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		RawSubject: like.CSR.RawSubject, ExtraExtensions: like.CSR.Extensions,
	}, key)
	if err != nil {
		return nil, nil, err
	}
	return key, &handedIn{Digest: digest, Own: true, PEM: string(bytes.TrimSpace(pki.EncodeCSRPEM(der))) + "\n"}, nil
}

// unreachable reports whether an error says that there is no use in asking for more.
func unreachable(err error) bool {
	if err == nil {
		return false
	}
	switch classify(err) {
	case classNetwork, classNotCA, classServer:
		return true
	}
	return errors.Is(err, fs.ErrPermission)
}
