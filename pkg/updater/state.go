package updater

import (
	"bytes"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"os"
	"time"

	"cauase/pkg/pki"
)

// notice compares what is seen with what is known.
func (w *worker) notice(s *snapshot, now time.Time) {
	if s.pairState != w.pairState || w.pairSince.IsZero() {
		w.pairState, w.pairSince, w.recovered = s.pairState, now, false
	}
	if s.pairState == PairGood {
		if w.known.crt != nil && !w.known.crt.Equal(s.files.Pair.Crt) && !w.wrote {
			w.memory.Confirmed = "" // by whoever had the other
		}
		if !w.wrote && w.known.crt != nil && !w.known.crt.Equal(s.files.Pair.Crt) {
			w.log.Info("another key and certificate are here, from now on these are kept", "certificate", w.job.Crt,
				"subject", pki.SubjectString(s.files.Pair.Crt.RawSubject), "not_after", stamp(s.files.Pair.Crt.NotAfter))
		}
		w.known.keep(s.files)
	}
	w.touched = w.noticeCAs(w.job.CA, &w.known.ca, s.ca) || w.touched
	if w.job.CASCA != "" {
		w.touched = w.noticeCAs(w.job.CASCA, &w.known.casca, s.casca) || w.touched
	}
	if w.job.Root != "" {
		w.touched = w.noticeCAs(w.job.Root, &w.known.root, s.root) || w.touched
	}
	if !w.wrote && s.crl.state == StoreGood && w.known.crls != nil && !sameCRLs(w.known.crls, s.crls) {
		w.log.Info("other revocation lists are here", "file", w.job.CRL)
		w.touched = true
	}
	// Those known are kept, too, to notice lists that are older. A partial one beside them changes nothing in them.
	if (s.crl.state == StoreGood || errors.Is(s.crl.err, pki.ErrPartialCRL)) && len(s.crls) > 0 && (w.known.crls == nil || newerCRLs(s.crls, w.known.crls)) {
		if w.known.crls == nil && w.memory.Lists != nil && w.memory.Lists.Digest == digestOfCRLs(s.crls) {
			w.known.tag = w.memory.Lists.Tag // as before the restart
		}
		w.known.crls = s.crls
	}
	w.announceLists(s)
	w.wrote = false
}

func newerCRLs(a, b []*x509.RevocationList) bool {
	for _, crl := range a {
		for _, other := range b {
			if bytes.Equal(crl.AuthorityKeyId, other.AuthorityKeyId) && crl.Number != nil && other.Number != nil && crl.Number.Cmp(other.Number) < 0 {
				return false
			}
		}
	}
	return true
}

func (w *worker) noticeCAs(path string, known *[]*x509.Certificate, seen storeSnapshot) bool {
	if seen.state != StoreGood {
		return false
	}
	other := !w.wrote && *known != nil && !sameCertificates(*known, seen.crts)
	if other {
		w.log.Info("other CA certificates are here", "file", path)
	}
	*known = seen.crts
	return other
}

// state puts together what Decide needs.
func (w *worker) state(s *snapshot, now time.Time) State {
	state := State{
		Pair: s.pairState, Since: w.pairSince, Recovered: w.recovered,
		Revoked:  s.revoked(),
		Orphaned: s.orphan() != "" && s.orphan() != w.spared, Unconfirmed: w.unconfirmed(s),
		Mendable: w.mendable(s),
		CA:       max(s.ca.state, s.casca.state, s.root.state), CAMendable: w.caMendable(s),
		CRL: s.crl.state, CRLMendable: w.crlMendable(s, now),
		Refreshed: w.refreshed, Checked: w.checked, Touched: w.touched, Asked: w.asked.Load(), Pushed: w.pushed.Load() != nil,
		Retry:       map[Task]time.Time{},
		NetworkBusy: w.netBusy, HookBusy: w.hookBusy,
	}
	if s.pairState == PairGood {
		state.Certificate = Life{s.files.Pair.Crt.NotBefore, s.files.Pair.Crt.NotAfter}
		state.Jitter = fraction(s.files.Pair.Crt.Raw)
	}
	if life, first := s.crlLife(now); first != nil {
		host, _ := os.Hostname()
		state.CRLs, state.CRLJitter = life, fraction(first.Raw[:min(len(first.Raw), 256)], []byte(host), []byte(w.job.CRL))
	}
	switch {
	case w.job.CSR == "":
		state.Request = RequestNone
	case s.request == nil:
		state.Request = RequestBroken
	case w.memory.Request != nil && w.memory.Request.Rejected && w.memory.Request.Digest == digestOf(s.request):
		state.Request = RequestRejected
	default:
		state.Request = RequestReady
	}
	for task, t := range w.retries {
		// A clock that was set back must not put this off for years.
		if t.next.Before(now.Add(farthestTry)) {
			state.Retry[task] = t.next
		}
	}
	state.Retry[TaskRefresh] = later(state.Retry[TaskRefresh], state.Retry[taskCRL])
	if len(w.memory.Changed) > 0 && w.job.OnRenew != "" && w.hasSomethingToServe(s) {
		state.HookDue = w.memory.HookNext
		if state.HookDue.IsZero() || state.HookDue.After(now.Add(farthestTry)) {
			state.HookDue = now
		}
	}
	return state
}

// unconfirmed reports whether the daemon is to be told of the newest CA certificate on disk.
func (w *worker) unconfirmed(s *snapshot) bool {
	newest := s.newestCA()
	if newest == nil || w.silent || len(newest.SubjectKeyId) == 0 {
		return false
	}
	id := hex.EncodeToString(newest.SubjectKeyId)
	return id != w.memory.Confirmed && id != w.untold
}

// hasSomethingToServe reports whether there is, or has been, the certificate that is wanted. A service that is told to use
// its files before that fails.
func (w *worker) hasSomethingToServe(s *snapshot) bool {
	return w.job.Crt == "" || s.pairState == PairGood || w.known.crt != nil
}

func (w *worker) mendable(s *snapshot) bool {
	k := &w.known
	if k.crt == nil || k.keyFile == nil {
		return false
	}
	// What is there now may be somebody else's, who would get to read the key.
	if there := s.files.KeyFile; there != nil && (there.UID() != k.keyFile.UID() || there.GID() != k.keyFile.GID()) {
		return false
	}
	switch s.pairState {
	case PairNoKey, PairNoCertificate:
		// A key that somebody else has put there is not overwritten.
		return s.pairState == PairNoKey || bytes.Equal(s.files.RawKey, k.rawKey) || w.paths.Combined() && bytes.HasPrefix(k.rawKey, bytes.TrimSpace(s.files.RawKey))
	case PairMismatch, PairBroken:
		return !w.paths.Combined() && bytes.Equal(s.files.RawKey, k.rawKey)
	}
	return false
}

func (w *worker) caMendable(s *snapshot) bool {
	return (s.ca.state == StoreGood || w.known.ca != nil) && (s.casca.state == StoreGood || w.known.casca != nil) &&
		(s.root.state == StoreGood || w.known.root != nil)
}

func (w *worker) crlMendable(s *snapshot, now time.Time) bool {
	if w.known.crls == nil || s.ca.state != StoreGood {
		return false
	}
	// As much as is known may be there already.
	return s.crl.state == StoreBroken || !containsCRLs(s.crls, w.known.crls, s.ca.crts)
}

func containsCRLs(have, wanted []*x509.RevocationList, cas []*x509.Certificate) bool {
	for _, crl := range wanted {
		i := issuerOf(crl, cas)
		if i == nil || crlOf(i, have) != nil {
			continue
		}
		return false
	}
	return true
}
