//go:build pkcs11

package token

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/pkcs11"

	"cauase/pkg/clock"
	"cauase/pkg/envelope"
	"cauase/pkg/keys"
	"cauase/pkg/pki"
	"cauase/pkg/testkit"
	"cauase/pkg/testkit/softhsm"
)

// A bench is a SoftHSM with what a daemon has for it.
type bench struct {
	*softhsm.HSM
	t      *testing.T
	clock  *clock.Fake
	log    *testkit.Buffer
	tokens *Tokens
	*Custody
}

const label = "cauase test"

func newBench(t *testing.T, labels ...string) *bench {
	t.Helper()
	softhsm.Check(t)
	h, err := softhsm.Make(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("SOFTHSM2_CONF", h.Conf)
	b := &bench{HSM: h, t: t, clock: clock.NewFake(time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)), log: &testkit.Buffer{}}
	b.pin(softhsm.PIN)
	var uris []URI
	for _, label := range append([]string{label}, labels...) {
		b.init(label)
		uri, err := Parse(b.URI(label))
		if err != nil {
			t.Fatal(err)
		}
		uris = append(uris, uri)
	}
	if b.tokens, err = New(Config{Tokens: uris, Clock: b.clock, Log: slog.New(slog.NewTextHandler(b.log, nil))}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.tokens.Close)
	b.Custody = NewCustody(b.tokens, keys.Row{})
	return b
}

func (b *bench) check(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) init(label string) { b.t.Helper(); b.check(b.Init(label)) }
func (b *bench) pin(pin string)    { b.t.Helper(); b.check(b.SetPIN(pin)) }

func (b *bench) run(label string, args ...string) string {
	b.t.Helper()
	out, err := b.Run(label, args...)
	b.check(err)
	return out
}

func (b *bench) generate(authority string, keyType pki.KeyType) (keys.Ref, crypto.Signer) {
	b.t.Helper()
	ref, key, err := b.Generate(b.t.Context(), placed(authority), keyType)
	if err != nil {
		b.t.Fatal(err)
	}
	return ref, key
}

func placed(authority string) keys.Purpose {
	place := "pkcs11:token=cauase%20test;object=" + authority
	if authority == "other" {
		place = "pkcs11:token=second"
	}
	return keys.Purpose{Authority: authority, Place: place}
}

// sign has a key sign what CAs sign, and checks it.
func (b *bench) sign(key crypto.Signer) error {
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "CA"}, NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<33, 0),
		IsCA: true, BasicConstraintsValid: true, SubjectKeyId: []byte{1}, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return err
	}
	crt, err := x509.ParseCertificate(der)
	if err != nil {
		return err
	}
	if _, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{Number: big.NewInt(1), NextUpdate: time.Unix(1<<33, 0)}, crt, key); err != nil {
		return err
	}
	return crt.CheckSignatureFrom(crt)
}

// Keys of all types are made on a token, sign there, are found again by their reference, cannot be read, and are gone when they are erased.
func TestKeysOnToken(t *testing.T) {
	b := newBench(t)
	for _, keyType := range pki.KeyTypes() {
		t.Run(string(keyType), func(t *testing.T) {
			ref, made := b.generate("cas", keyType)
			if got, err := pki.KeyTypeOf(made.Public()); err != nil || got != keyType {
				t.Fatalf("it is %s, %v", got, err)
			}
			key, err := b.Open(t.Context(), keys.Purpose{Authority: "cas"}, ref)
			if err != nil {
				t.Fatal(err)
			}
			for _, key := range []crypto.Signer{made, key} {
				if err := b.sign(key); err != nil {
					t.Fatal(err)
				}
			}
			checkStatement(t, key)
			where, err := Locate(ref)
			if err != nil {
				t.Fatal(err)
			}
			objects := b.run(label, "--list-objects", "--id", hex.EncodeToString(where.URI.ID))
			for _, want := range []string{"Private Key Object", "Public Key Object", "label:      cas", "sensitive", "always sensitive", "never extractable", "local"} {
				if !strings.Contains(objects, want) {
					t.Errorf("pkcs11-tool says nothing of %q:\n%s", want, objects)
				}
			}
			b.cannotBeRead(where.URI.ID)
			if err := b.Erase(t.Context(), ref); err != nil {
				t.Fatal(err)
			}
			if objects := b.run(label, "--list-objects", "--id", hex.EncodeToString(where.URI.ID)); strings.Contains(objects, "Key Object") {
				t.Errorf("it is still there:\n%s", objects)
			}
			if err := b.sign(key); !errors.Is(err, keys.ErrUnusable) {
				t.Errorf("a key that is gone: %v", err)
			}
			if err := b.Erase(t.Context(), ref); err != nil {
				t.Errorf("again: %v", err)
			}
		})
	}
}

// cannotBeRead checks that the token gives nobody the secret of a private key, nor lets anybody make it readable.
func (b *bench) cannotBeRead(id []byte) {
	b.t.Helper()
	err := b.tokens.list[0].do(b.t.Context(), func(d device) error {
		m := d.(*module)
		return m.with(func(session pkcs11.SessionHandle) error {
			handles, err := m.objects(session, id, pkcs11.CKO_PRIVATE_KEY)
			if err != nil || len(handles) != 1 {
				return fmt.Errorf("%d private keys, %v", len(handles), err)
			}
			for _, secret := range []uint{pkcs11.CKA_VALUE, pkcs11.CKA_PRIVATE_EXPONENT, pkcs11.CKA_PRIME_1} {
				values, err := m.raw.GetAttributeValue(session, handles[0], []*pkcs11.Attribute{pkcs11.NewAttribute(secret, nil)})
				if err == nil && len(values[0].Value) > 0 {
					b.t.Errorf("attribute %#x can be read", secret)
				}
			}
			for attribute, value := range map[uint]bool{pkcs11.CKA_EXTRACTABLE: true, pkcs11.CKA_SENSITIVE: false} {
				if m.raw.SetAttributeValue(session, handles[0], []*pkcs11.Attribute{pkcs11.NewAttribute(attribute, value)}) == nil {
					b.t.Errorf("attribute %#x can be changed", attribute)
				}
			}
			return nil
		})
	})
	if err != nil {
		b.t.Error(err)
	}
}

// checkStatement has a key sign as envelopes do: RSA with PSS, others as they do anyway.
func checkStatement(t *testing.T, key crypto.Signer) {
	t.Helper()
	signed, err := envelope.Sign(key, []byte("statement"))
	if err != nil {
		t.Fatal(err)
	}
	e, err := envelope.Parse(signed)
	if err == nil {
		err = e.Verify(key.Public())
	}
	if err != nil {
		t.Error(err)
	}
}

// A token that is pulled out is unavailable, and usable when it is back, without anybody's doing; so is another one by the same library.
func TestTokenAwayAndBack(t *testing.T) {
	b := newBench(t, "second")
	_, key := b.generate("cas", pki.KeyECDSAP256)
	rsaRef, _ := b.generate("cau", pki.KeyRSA2048)
	_, second := b.generate("other", pki.KeyECDSAP256)
	for round := range 3 {
		b.check(b.Pull())
		if err := b.sign(key); !errors.Is(err, keys.ErrLocked) {
			t.Fatalf("round %d, away: %v", round, err)
		}
		if err := b.Ready("cas"); !errors.Is(err, keys.ErrLocked) {
			t.Errorf("round %d, away: ready: %v", round, err)
		}
		if _, _, err := b.Generate(t.Context(), placed("cas"), pki.KeyECDSAP256); !errors.Is(err, keys.ErrLocked) {
			t.Errorf("round %d, away: a new key: %v", round, err)
		}
		other, err := b.Open(t.Context(), keys.Purpose{Authority: "cau"}, rsaRef)
		if err != nil {
			t.Fatalf("a key on a token that is away: %v", err)
		}
		b.check(b.Put())
		if err := b.sign(key); round == 0 && !errors.Is(err, keys.ErrLocked) {
			t.Errorf("it was looked for at once again: %v", err)
		}
		b.clock.Advance(rest)
		for _, key := range []crypto.Signer{key, other, second} {
			if err := b.sign(key); err != nil {
				t.Fatalf("round %d, back: %v", round, err)
			}
		}
		if err := b.Ready("cas"); err != nil {
			t.Errorf("round %d, back: ready: %v", round, err)
		}
		b.clock.Advance(time.Minute)
		// Nobody has noticed.
		b.check(errors.Join(b.Pull(), b.Put()))
		for _, key := range []crypto.Signer{key, second} {
			if err := b.sign(key); err != nil {
				t.Fatalf("round %d, away and back unnoticed: %v", round, err)
			}
		}
		b.clock.Advance(time.Minute)
	}
	if n := strings.Count(b.log.String(), softhsm.PIN); n != 0 {
		t.Errorf("the PIN is in the log")
	}
}

// A wrong PIN is tried once, until there is another one.
func TestWrongPIN(t *testing.T) {
	b := newBench(t)
	ref, _ := b.generate("cas", pki.KeyECDSAP256)
	b.tokens.Close()
	b.pin("wrong")
	key, err := b.Open(t.Context(), keys.Purpose{Authority: "cas"}, ref)
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		b.clock.Advance(time.Hour)
		if err := b.sign(key); !errors.Is(err, keys.ErrLocked) || !errors.Is(err, errWrongPIN) {
			t.Fatal(err)
		}
	}
	if n := strings.Count(b.log.String(), "the token cannot be used"); n != 1 {
		t.Errorf("it was said %d times:\n%s", n, b.log)
	}
	b.pin(softhsm.PIN)
	b.clock.Advance(rest)
	if err := b.sign(key); err != nil {
		t.Error(err)
	}
}

// Many sign at once, with few sessions.
func TestManySignAtOnce(t *testing.T) {
	b := newBench(t)
	_, key := b.generate("cas", pki.KeyECDSAP256)
	_, edwards := b.generate("cas", pki.KeyEd25519)
	var running sync.WaitGroup
	for i := range 8 * maxSessions {
		running.Go(func() {
			message := []byte{byte(i)}
			digest := sha256.Sum256(message)
			if signature, err := key.Sign(rand.Reader, digest[:], crypto.SHA256); err != nil || !ecdsa.VerifyASN1(key.Public().(*ecdsa.PublicKey), digest[:], signature) {
				t.Errorf("ECDSA: %v", err)
			}
			if signature, err := edwards.Sign(rand.Reader, message, crypto.Hash(0)); err != nil || !ed25519.Verify(edwards.Public().(ed25519.PublicKey), message, signature) {
				t.Errorf("Ed25519: %v", err)
			}
		})
	}
	running.Wait()
}

// What a token cannot do, and what is not the token that is meant, is said.
func TestTokenRefuses(t *testing.T) {
	b := newBench(t, "twin")
	b.init("twin")
	junk := t.TempDir() + "/junk.so"
	if err := os.WriteFile(junk, []byte("junk"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ uri, want string }{
		{b.URI("nobody"), "no such token"},
		{b.URI("twin"), "add serial="},
		{"pkcs11:token=x?module-path=/nowhere.so&pin-source=/nowhere", "cannot be loaded"},
		{"pkcs11:token=x?module-path=" + junk, "cannot be loaded"},
		{"pkcs11:token=cauase%20test?module-path=" + b.Module, "where its PIN is is not said"},
		{"pkcs11:token=cauase%20test?module-path=" + b.Module + "&pin-source=/nowhere", "no such file"},
	} {
		uri, err := Parse(c.uri)
		if err != nil {
			t.Fatal(err)
		}
		tokens, err := New(Config{Tokens: []URI{uri}})
		if err != nil {
			t.Fatal(err)
		}
		err = tokens.Check(t.Context(), uri, pki.KeyECDSAP256)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), softhsm.PIN) {
			t.Errorf("%s: %v, want %q", c.uri, err, c.want)
		}
		tokens.Close()
	}
	if err := b.tokens.Check(t.Context(), b.tokens.list[0].uri, "rsa-8192"); !errors.Is(err, ErrIncapable) {
		t.Errorf("a type that is none: %v", err)
	}
	_, key := b.generate("cas", pki.KeyRSA2048)
	digest := sha256.Sum256(nil)
	if _, err := key.Sign(rand.Reader, digest[:], &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthAuto, Hash: crypto.SHA256}); err == nil {
		t.Error("a salt of any length was made")
	}
	if err := b.sign(key); err != nil {
		t.Error(err)
	}
}
