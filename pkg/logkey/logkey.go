// Package logkey keeps the key by which a daemon signs checkpoints of its audit log. There is one for a database, whichever
// daemon uses it. It belongs to no authority, and is in the same custody as the keys of CAs.
package logkey

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"github.com/go-json-experiment/json"

	"cauase/pkg/keys"
	"cauase/pkg/merkle"
	"cauase/pkg/pki"
	"cauase/pkg/store"
)

// Setting is the name of the setting, of the daemon as a whole, that says where the key is.
const Setting = "log-key"

// keyType is what it is: its signatures are short, and verified by whatever reads notes.
const keyType = pki.KeyEd25519

// A Record is the value of the setting.
type Record struct {
	Custody   string    `json:"custody"`
	Ref       []byte    `json:"ref"`
	CreatedAt time.Time `json:"created_at"`
	Public    []byte    `json:"public"` // DER, SubjectPublicKeyInfo: known while the key is locked
}

// Parse reads the value of the setting.
func Parse(value string) (Record, error) {
	var r Record
	if err := json.Unmarshal([]byte(value), &r, json.RejectUnknownMembers(true)); err != nil {
		return r, fmt.Errorf("setting %s: it cannot be read", Setting) // and may hold a key
	}
	_, err := r.PublicKey()
	return r, err
}

// Value is the value of the setting.
func (r Record) Value() (string, error) {
	text, err := json.Marshal(r, json.Deterministic(true))
	return string(text), err
}

// PublicKey is the public key.
func (r Record) PublicKey() (ed25519.PublicKey, error) {
	key, err := x509.ParsePKIXPublicKey(r.Public)
	public, ok := key.(ed25519.PublicKey)
	if err != nil || !ok {
		return nil, fmt.Errorf("setting %s: its public key is not one of Ed25519", Setting)
	}
	return public, nil
}

// KeyRef is where the key is.
func (r Record) KeyRef() keys.Ref { return keys.Ref{Custody: r.Custody, Ref: r.Ref} }

// Purpose is what the key is for.
func (r Record) Purpose() keys.Purpose {
	p := keys.Purpose{Generation: r.CreatedAt}
	if public, err := r.PublicKey(); err == nil {
		p.KeyID, _ = pki.KeyID(public) // which is known of each such key
	}
	return p
}

// Read returns the setting, store.ErrNotFound as long as there is no key.
func Read(ctx context.Context, r store.Reader) (Record, error) {
	value, err := r.Setting(ctx, "", Setting)
	if err != nil {
		return Record{}, err
	}
	return Parse(value)
}

// Public returns the public key of the log, store.ErrNotFound as long as there is none.
func Public(ctx context.Context, r store.Reader) (merkle.Key, error) {
	record, err := Read(ctx, r)
	if err != nil {
		return merkle.Key{}, err
	}
	log, err := r.Log(ctx)
	if err != nil {
		return merkle.Key{}, err
	}
	public, err := record.PublicKey()
	return merkle.Key{Origin: log.Origin, Public: public}, err
}

// Open returns the key, which is made if there is none. Its errors are those of the custody: keys.ErrLocked as long as it is locked.
func Open(ctx context.Context, db store.Store, custody keys.Custody, now time.Time) (crypto.Signer, error) {
	var record Record
	err := db.View(ctx, func(r store.Reader) (err error) { record, err = Read(ctx, r); return err })
	if errors.Is(err, store.ErrNotFound) {
		record, err = create(ctx, db, custody, now)
	}
	if err != nil {
		return nil, err
	}
	signer, err := custody.Open(ctx, record.Purpose(), record.KeyRef())
	if err != nil {
		return nil, err
	}
	public, err := record.PublicKey()
	if err == nil && !public.Equal(signer.Public()) {
		err = fmt.Errorf("setting %s: the private key is another one", Setting)
	}
	return signer, err
}

// create makes a key and records it, unless another daemon has been faster.
func create(ctx context.Context, db store.Store, custody keys.Custody, now time.Time) (Record, error) {
	made := Record{CreatedAt: now.UTC().Truncate(time.Microsecond)}
	ref, signer, err := custody.Generate(ctx, keys.Purpose{Generation: made.CreatedAt}, keyType)
	if err != nil {
		return made, err
	}
	made.Custody, made.Ref = ref.Custody, ref.Ref
	if made.Public, err = x509.MarshalPKIXPublicKey(signer.Public()); err != nil {
		return made, err
	}
	value, err := made.Value()
	if err != nil {
		return made, err
	}
	record := made
	err = db.Update(ctx, func(tx store.Tx) error {
		var err error
		if record, err = Read(ctx, tx); !errors.Is(err, store.ErrNotFound) {
			return err
		}
		record = made
		return tx.PutSetting(ctx, "", Setting, value)
	})
	if err != nil && !errors.Is(err, store.ErrUncertain) || err == nil && !bytes.Equal(record.Public, made.Public) {
		err = errors.Join(err, custody.Erase(context.WithoutCancel(ctx), ref))
	}
	return record, err
}
