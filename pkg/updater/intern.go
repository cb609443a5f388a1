package updater

import (
	"crypto/sha256"
	"crypto/x509"
	"runtime"
	"sync"
	"weak"
)

// Jobs of one authority hold the same CA certificates and revocation lists, and of a long list a thousand copies are more than
// a host has room for. So what was parsed from the same bytes is kept once, for as long as somebody holds it.
var (
	sharedCertificates interned[x509.Certificate]
	sharedLists        interned[x509.RevocationList]
)

type interned[T any] struct {
	mu   sync.Mutex
	kept map[[sha256.Size]byte]weak.Pointer[T]
}

// one returns what was parsed from the bytes of v before, or v.
func (t *interned[T]) one(raw []byte, v *T) *T {
	digest := sha256.Sum256(raw)
	t.mu.Lock()
	defer t.mu.Unlock()
	if before := t.kept[digest].Value(); before != nil {
		return before
	}
	if t.kept == nil {
		t.kept = map[[sha256.Size]byte]weak.Pointer[T]{}
	}
	t.kept[digest] = weak.Make(v)
	runtime.AddCleanup(v, t.forget, digest)
	return v
}

// forget drops what nobody holds any more, unless the same was parsed again since.
func (t *interned[T]) forget(digest [sha256.Size]byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.kept[digest].Value() == nil {
		delete(t.kept, digest)
	}
}

func shareCertificates(crts []*x509.Certificate) []*x509.Certificate {
	for i, crt := range crts {
		crts[i] = sharedCertificates.one(crt.Raw, crt)
	}
	return crts
}

func shareLists(crls []*x509.RevocationList) []*x509.RevocationList {
	for i, crl := range crls {
		crls[i] = sharedLists.one(crl.Raw, crl)
	}
	return crls
}
