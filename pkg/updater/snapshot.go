package updater

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"cauase/pkg/client"
	"cauase/pkg/enroll"
	"cauase/pkg/pemfile"
	"cauase/pkg/pki"
)

// A snapshot is what the files hold at one moment.
type snapshot struct {
	files     enroll.Files // of the pair, if there is to be one
	pairState PairState
	pairErr   error // why the pair is not good

	request    *pki.Request // nil if there is none that can be read
	requestErr error

	ca, casca, root, crl storeSnapshot
	crls                 []*x509.RevocationList
	partial              error // a partial list where ours are, in a file that is not ours to remove
}

type storeSnapshot struct {
	state StoreState
	crts  []*x509.Certificate
	err   error
}

// look reads all files of a job.
func look(j *Job, now time.Time) *snapshot {
	s := &snapshot{}
	lookAtPair(j, s)
	if j.CSR != "" {
		s.request, s.requestErr = readRequest(j)
	}
	s.ca = lookAtCAs(j, j.CA)
	if j.CASCA != "" {
		s.casca = s.ca
		if filepath.Clean(j.CASCA) != filepath.Clean(j.CA) {
			s.casca = lookAtCAs(j, j.CASCA)
		}
	}
	if j.Root != "" {
		s.root = lookAtCAs(j, j.Root)
	}
	lookAtCRLs(j, s, now)
	return s
}

func readRequest(j *Job) (*pki.Request, error) {
	content, err := j.attributes(nil).Read(j.CSR)
	if err != nil {
		return nil, err
	}
	// Text around it, DER and the encodings of editors make no other request of it.
	der, err := pki.RequestOfFile(content.Data)
	var request *pki.Request
	if err == nil {
		request, err = pki.ParseRequest(pki.EncodeCSRPEM(der))
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", j.CSR, discreet(err))
	}
	return request, nil
}

func lookAtPair(j *Job, s *snapshot) {
	if j.Crt == "" {
		return
	}
	f := enroll.Look(pemfile.PairPaths{Crt: j.Crt, Key: j.Key, Attributes: j.attributes(nil)})
	s.files, s.pairErr = f, discreet(f.Err)
	switch {
	case f.Err == nil && f.Pair.Crt != nil:
		s.pairState = PairGood
	case f.Err == nil && len(bytes.TrimSpace(f.RawCrt)) > 0:
		s.pairState, s.pairErr = PairBroken, fmt.Errorf("%s holds no certificate", j.Crt)
	case f.Err == nil:
		s.pairState = PairNoCertificate
	case errors.Is(f.Err, pemfile.ErrMismatch):
		s.pairState = PairMismatch
	case errors.Is(f.Err, fs.ErrNotExist) && len(bytes.TrimSpace(f.RawKey)) == 0:
		s.pairState = PairNoKey
	default:
		s.pairState = PairBroken
	}
}

func lookAtCAs(j *Job, path string) storeSnapshot {
	crts, err := j.caStore(path).ReadCertificates()
	switch {
	case err != nil:
		return storeSnapshot{state: StoreBroken, err: discreet(err)}
	case len(crts) == 0:
		return storeSnapshot{state: StoreMissing}
	}
	return storeSnapshot{crts: shareCertificates(crts)}
}

func lookAtCRLs(j *Job, s *snapshot, now time.Time) {
	all, partial, err := j.crlStore().LookAtCRLs()
	if err != nil {
		s.crl = storeSnapshot{state: StoreBroken, err: discreet(err)}
		return
	}
	all = shareLists(all)
	for _, ca := range s.ca.crts {
		if crl := crlOf(ca, all); crl != nil {
			s.crls = append(s.crls, crl)
		} else if pki.CheckValidity(ca, now) == nil {
			s.crl.state = StoreMissing
		}
	}
	if len(s.crls) == 0 {
		s.crl.state = StoreMissing
		s.crls = nil
		if s.ca.state != StoreGood {
			s.crls = all // nothing to judge them by
		}
	}
	for _, p := range partial {
		err := fmt.Errorf("%s: %w", p.Path, p.Err)
		if p.Foreign {
			s.partial = err
			continue
		}
		// Servers that read the file would take it for a complete one.
		s.crl.state, s.crl.err = StoreBroken, err
	}
}

// crlOf returns the newest list of ca.
func crlOf(ca *x509.Certificate, crls []*x509.RevocationList) *x509.RevocationList {
	var newest *x509.RevocationList
	for _, crl := range crls {
		if !bytes.Equal(crl.RawIssuer, ca.RawSubject) || pki.CheckCRLScope(crl) != nil || crl.CheckSignatureFrom(ca) != nil {
			continue
		}
		if newest == nil || newest.Number == nil || crl.Number != nil && crl.Number.Cmp(newest.Number) > 0 {
			newest = crl
		}
	}
	return newest
}

func (s *snapshot) revoked() bool {
	if s.pairState != PairGood {
		return false
	}
	for _, crl := range s.crls {
		if !bytes.Equal(crl.RawIssuer, s.files.Pair.Crt.RawIssuer) {
			continue
		}
		for _, entry := range crl.RevokedCertificateEntries {
			if entry.SerialNumber.Cmp(s.files.Pair.Crt.SerialNumber) == 0 {
				return true
			}
		}
	}
	return false
}

// newestCA is the CA certificate on disk whose validity began last; nil if there is none.
func (s *snapshot) newestCA() *x509.Certificate { return client.Newest(s.ca.crts) }

// orphan names the CA that has issued the certificate and is not trusted here, and the newest one that is; empty: the former is trusted.
func (s *snapshot) orphan() string {
	if s.pairState != PairGood || s.ca.state != StoreGood || !client.Orphaned(s.files.Pair.Crt, s.ca.crts) {
		return ""
	}
	return hex.EncodeToString(s.files.Pair.Crt.AuthorityKeyId) + " " + hex.EncodeToString(s.newestCA().SubjectKeyId)
}

// crlLife is the validity of the list that ends first, among those of CAs still valid.
func (s *snapshot) crlLife(now time.Time) (life Life, first *x509.RevocationList) {
	for _, crl := range s.crls {
		if i := issuerOf(crl, s.ca.crts); i != nil && pki.CheckValidity(i, now) != nil {
			continue
		}
		if first == nil || crl.NextUpdate.Before(life.To) {
			first, life = crl, Life{crl.ThisUpdate, crl.NextUpdate}
		}
	}
	return life, first
}

func issuerOf(crl *x509.RevocationList, cas []*x509.Certificate) *x509.Certificate {
	for _, ca := range cas {
		if bytes.Equal(crl.AuthorityKeyId, ca.SubjectKeyId) {
			return ca
		}
	}
	return nil
}

// fraction turns what does not change into a number from 0 to 1, so that neither a
// restart nor a second look moves what depends on it.
func fraction(seeds ...[]byte) float64 {
	h := sha256.New()
	for _, seed := range seeds {
		h.Write(seed)
		h.Write([]byte{0})
	}
	return float64(binary.BigEndian.Uint64(h.Sum(nil))>>11) / (1 << 53)
}

func digestOf(r *pki.Request) string { return hex.EncodeToString(r.Digest[:]) }

// fingerprint changes when any of the files may have: a cheap way to find out.
func fingerprint(paths []string) string {
	var b strings.Builder
	for _, path := range paths {
		if !stat(&b, path) {
			continue
		}
		entries, err := os.ReadDir(path)
		if err != nil {
			continue
		}
		for i, e := range entries {
			if i == maxWatched {
				break
			}
			if !strings.HasPrefix(e.Name(), ".") {
				stat(&b, filepath.Join(path, e.Name()))
			}
		}
	}
	return b.String()
}

// maxWatched bounds the files of a directory that are looked at for changes.
const maxWatched = 1000

// stat writes down what a file looks like from outside, and reports whether it is a folder.
func stat(b *strings.Builder, path string) (folder bool) {
	info, err := os.Stat(path)
	if err != nil {
		fmt.Fprintf(b, "%s: gone\n", path)
		return false
	}
	ino, ctime := identityOf(info)
	fmt.Fprintf(b, "%s: %d %d %d %d %v\n", path, ino, ctime, info.Size(), info.ModTime().UnixNano(), info.IsDir())
	return info.IsDir()
}

func sameCertificates(a, b []*x509.Certificate) bool {
	return len(a) == len(b) && !slices.ContainsFunc(a, func(crt *x509.Certificate) bool { return !slices.ContainsFunc(b, crt.Equal) })
}

func sameCRLs(a, b []*x509.RevocationList) bool {
	return len(a) == len(b) && !slices.ContainsFunc(a, func(x *x509.RevocationList) bool {
		return !slices.ContainsFunc(b, func(y *x509.RevocationList) bool { return bytes.Equal(x.Raw, y.Raw) })
	})
}

// checkIssued is client.CheckIssued, by the CA certificates on disk.
func (s *snapshot) checkIssued(now time.Time) error {
	return client.CheckIssued(s.files.Pair.Crt, s.files.Pair.Key.Public(), s.ca.crts, now)
}
