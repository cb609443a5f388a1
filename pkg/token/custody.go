package token

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"

	"cauase/pkg/keys"
	"cauase/pkg/pki"
)

// Name is the name of the custody of keys on tokens.
const Name = "pkcs11"

// A Custody has keys made on tokens where that is asked for, and elsewhere otherwise.
type Custody struct {
	tokens *Tokens
	next   keys.Custody

	mu     sync.Mutex
	used   map[string]map[*connection]bool // by authorities
	doomed map[string]keys.Ref             // keys that could not be destroyed yet
}

// NewCustody returns the custody of keys on tokens, and of those that next keeps. Keys whose purpose has a PKCS #11 URI for a place are made on
// a token, the others by next.
func NewCustody(t *Tokens, next keys.Custody) *Custody {
	return &Custody{tokens: t, next: next, used: map[string]map[*connection]bool{}, doomed: map[string]keys.Ref{}}
}

// Over has next keep the keys that are on no token, in place of what NewCustody was given: a command knows the database only later. It is
// called before the first key is made or opened.
func (k *Custody) Over(next keys.Custody) { k.next = next }

// A reference is a Ref of a key on a token. It has the public key, so that it is known which key it is while the token is elsewhere.
type reference struct {
	URI    string `json:"uri"`
	Public []byte `json:"public"` // SubjectPublicKeyInfo
}

// A Location is where a key is.
type Location struct {
	URI    URI
	Public crypto.PublicKey
}

// Locate reads the reference to a key on a token.
func Locate(ref keys.Ref) (l Location, err error) {
	if ref.Custody != Name {
		return l, fmt.Errorf("%w: it is in the custody of %q", keys.ErrUnusable, pki.EscapeText(ref.Custody))
	}
	var r reference
	if err := json.Unmarshal(ref.Ref, &r); err != nil {
		return l, fmt.Errorf("%w: its reference cannot be parsed", keys.ErrUnusable)
	}
	if l.URI, err = Parse(r.URI); err != nil {
		return l, fmt.Errorf("%w: %w", keys.ErrUnusable, err)
	}
	if len(l.URI.ID) == 0 || !l.URI.Names() || l.URI.Module != "" || l.URI.PIN != (Source{}) {
		return l, fmt.Errorf("%w: its reference does not say which key on which token it is, or more than that", keys.ErrUnusable)
	}
	if l.Public, err = x509.ParsePKIXPublicKey(r.Public); err != nil {
		return l, fmt.Errorf("%w: its public key cannot be parsed", keys.ErrUnusable)
	}
	return l, nil
}

// idLength is how many octets an id has: enough that no two are the same by accident.
const idLength = 16

// Generate makes a key on the token that its purpose names, if it names one.
func (k *Custody) Generate(ctx context.Context, purpose keys.Purpose, keyType pki.KeyType) (keys.Ref, crypto.Signer, error) {
	if !Is(purpose.Place) {
		return k.next.Generate(ctx, purpose, keyType)
	}
	uri, err := Parse(purpose.Place)
	if err == nil {
		err = CheckPlace(uri)
	}
	if err != nil {
		return keys.Ref{}, nil, err
	}
	c, err := k.tokens.find(uri)
	if err != nil {
		return keys.Ref{}, nil, err
	}
	uri = uri.object(purpose.Authority)
	uri.ID = make([]byte, idLength)
	_, _ = rand.Read(uri.ID) // which does not fail
	var pub crypto.PublicKey
	err = c.do(ctx, func(d device) (err error) {
		if err := d.Supports(keyType); err != nil {
			return err
		}
		pub, err = d.Generate(uri.ID, uri.Object, keyType)
		return err
	})
	if err != nil {
		return keys.Ref{}, nil, err
	}
	ref, err := refer(uri, pub)
	if err != nil {
		return keys.Ref{}, nil, errors.Join(err, c.do(context.WithoutCancel(ctx), func(d device) error { return d.Destroy(uri.ID) }))
	}
	k.use(purpose.Authority, c)
	return ref, signer{c, uri.ID, pub}, nil
}

// object is u with a label for keys of the authority, unless it has one.
func (u URI) object(authority string) URI {
	if u.Object == "" {
		u.Object = "cauase " + authority
	}
	return u
}

func refer(uri URI, pub crypto.PublicKey) (keys.Ref, error) {
	spki, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return keys.Ref{}, err
	}
	content, err := json.Marshal(reference{uri.String(), spki})
	return keys.Ref{Custody: Name, Ref: content}, err
}

// Open returns the key that ref refers to. It does not wait for the token: that may be elsewhere until somebody needs a signature.
func (k *Custody) Open(ctx context.Context, purpose keys.Purpose, ref keys.Ref) (crypto.Signer, error) {
	if ref.Custody != Name {
		return k.next.Open(ctx, purpose, ref)
	}
	l, err := Locate(ref)
	if err != nil {
		return nil, err
	}
	c, err := k.tokens.find(l.URI)
	if err != nil {
		return nil, fmt.Errorf("%w: it is on a token: %w", keys.ErrElsewhere, err)
	}
	k.use(purpose.Authority, c)
	return signer{c, l.URI.ID, l.Public}, nil
}

func (k *Custody) use(authority string, c *connection) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.used[authority] == nil {
		k.used[authority] = map[*connection]bool{}
	}
	k.used[authority][c] = true
}

// Rebind returns ref: a key on a token is bound to the token.
func (k *Custody) Rebind(ctx context.Context, ref keys.Ref, from, to keys.Purpose) (keys.Ref, error) {
	if ref.Custody != Name {
		return k.next.Rebind(ctx, ref, from, to)
	}
	return ref, nil
}

// Erase destroys a key. One on a token that is not there is destroyed by one of the next calls.
func (k *Custody) Erase(ctx context.Context, ref keys.Ref) error {
	if ref.Custody != Name {
		return k.next.Erase(ctx, ref)
	}
	k.mu.Lock()
	due := maps.Clone(k.doomed)
	k.mu.Unlock()
	due[string(ref.Ref)] = ref
	var errs []error
	for _, id := range slices.Sorted(maps.Keys(due)) {
		err := k.destroy(ctx, due[id])
		k.mu.Lock()
		if errors.Is(err, keys.ErrLocked) {
			k.doomed[id] = due[id]
		} else {
			delete(k.doomed, id)
		}
		k.mu.Unlock()
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (k *Custody) destroy(ctx context.Context, ref keys.Ref) error {
	l, err := Locate(ref)
	if err != nil {
		return err
	}
	c, err := k.tokens.find(l.URI)
	if err == nil {
		err = c.do(ctx, func(d device) error { return d.Destroy(l.URI.ID) })
	}
	if err != nil {
		return fmt.Errorf("%s is still on its token: %w", l.URI, err)
	}
	return nil
}

// Ready says why keys of the authority on tokens cannot be used now, as far as is known.
func (k *Custody) Ready(authority string) error {
	k.mu.Lock()
	used := slices.Collect(maps.Keys(k.used[authority]))
	k.mu.Unlock()
	for _, c := range used {
		if err := c.state(); err != nil {
			return err
		}
	}
	return k.next.Ready(authority)
}

// A signer is a key on a token, wherever that is.
type signer struct {
	c   *connection
	id  []byte
	pub crypto.PublicKey
}

func (s signer) Public() crypto.PublicKey { return s.pub }

// Sign has the token sign. It waits for a token that takes its time, and not for one that is not there.
func (s signer) Sign(random io.Reader, digest []byte, opts crypto.SignerOpts) (signature []byte, err error) {
	err = s.c.do(context.Background(), func(d device) (err error) {
		signature, err = d.Sign(s.id, s.pub, random, digest, opts)
		return err
	})
	return signature, err
}
