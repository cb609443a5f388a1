package backup

import (
	"bytes"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"io"
	"strings"
	"testing"

	"cauase/pkg/pki"
)

// rewrite makes another header for a backup.
func rewrite(t *testing.T, sealed []byte, change func(h *Header)) []byte {
	t.Helper()
	h, err := ReadHeader(bytes.NewReader(sealed))
	if err != nil {
		t.Fatal(err)
	}
	change(&h)
	start, err := h.encode()
	if err != nil {
		t.Fatal(err)
	}
	return append(start, sealed[payloadOf(sealed):]...)
}

func TestKeyLists(t *testing.T) {
	alice, bob := key(t, pki.KeyRSA2048, "alice"), key(t, pki.KeyECDSAP256, "bob")
	stranger := key(t, pki.KeyEd25519, "stranger")
	clear := text(2 * small)
	_, sealed := seal(t, clear, small, alice, bob)
	entry := func(keys *sessionKeys, to crypto.Signer) Recipient {
		r, err := sealKeys(keys, to.Public())
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	// Anybody can encrypt anything to alice and bob.
	lureAlice, lureBob := entry(new(sessionKeys), alice), entry(new(sessionKeys), bob)
	short, err := rsa.EncryptOAEP(sha1.New(), rand.Reader, alice.Public().(*rsa.PublicKey), make([]byte, 63), nil)
	if err != nil {
		t.Fatal(err)
	}
	garbage := func(h *Header, key string) { h.Recipients[0].Key, h.Recipients[1].Key = key, key }
	first := func(h *Header, rs ...Recipient) { h.Recipients = append(rs, h.Recipients...) }
	for _, c := range []struct {
		name       string
		change     func(h *Header)
		alice, bob error
	}{
		{"as it was", func(h *Header) {}, nil, nil},
		{"upper case", func(h *Header) {
			for i := range h.Recipients {
				h.Recipients[i].Key, h.Recipients[i].KeyID = strings.ToUpper(h.Recipients[i].Key), strings.ToUpper(h.Recipients[i].KeyID)
			}
		}, nil, nil},
		{"nobody", func(h *Header) { h.Recipients = nil }, ErrNotRecipient, ErrNotRecipient},
		{"not alice", func(h *Header) { h.Recipients = h.Recipients[1:] }, ErrNotRecipient, nil},
		{"keys changed round", func(h *Header) {
			h.Recipients[0].Key, h.Recipients[1].Key = h.Recipients[1].Key, h.Recipients[0].Key
		}, ErrDamaged, ErrDamaged},
		{"identifiers changed round", func(h *Header) {
			h.Recipients[0].KeyID, h.Recipients[1].KeyID = h.Recipients[1].KeyID, h.Recipients[0].KeyID
		}, ErrNotRecipient, ErrNotRecipient},
		{"no key", func(h *Header) { garbage(h, "") }, ErrDamaged, ErrDamaged},
		{"a short key", func(h *Header) { garbage(h, "00") }, ErrDamaged, ErrDamaged},
		{"odd hexadecimal", func(h *Header) { h.Recipients[0].Key += "0"; h.Recipients[1].Key += "0" }, ErrDamaged, ErrDamaged},
		{"no hexadecimal", func(h *Header) { garbage(h, "zz") }, ErrDamaged, ErrDamaged},
		{"zeros", func(h *Header) {
			h.Recipients[0].Key, h.Recipients[1].Key = strings.Repeat("0", 512), strings.Repeat("0", len(h.Recipients[1].Key))
		}, ErrDamaged, ErrDamaged},
		{"a byte more", func(h *Header) { h.Recipients[0].Key += "00"; h.Recipients[1].Key += "00" }, ErrDamaged, ErrDamaged},
		{"session keys that are too short", func(h *Header) { h.Recipients[0].Key = hex.EncodeToString(short) }, ErrDamaged, nil},
		{"other session keys", func(h *Header) { h.Recipients = []Recipient{lureAlice, lureBob} }, ErrDamaged, ErrDamaged},
		{"other session keys first", func(h *Header) { first(h, lureAlice, lureBob) }, nil, nil},
		{"other session keys last", func(h *Header) { h.Recipients = append(h.Recipients, lureAlice, lureBob) }, nil, nil},
		{"seven others first", func(h *Header) {
			for range maxSameID - 1 {
				first(h, lureAlice, lureBob)
			}
		}, nil, nil},
		{"eight others first", func(h *Header) {
			for range maxSameID {
				first(h, lureAlice, lureBob)
			}
		}, ErrDamaged, ErrDamaged},
		{"garbage first", func(h *Header) {
			a, b := lureAlice, lureBob
			a.Key, b.Key = "00", "x"
			first(h, a, b)
		}, nil, nil},
		{"entries of the future first", func(h *Header) {
			a, b := lureAlice, lureBob
			a.Cipher.Name, b.Cipher.Name = "tomorrow", "tomorrow"
			first(h, a, b)
		}, nil, nil},
		{"entries of the future only", func(h *Header) {
			h.Recipients[0].Cipher.Name, h.Recipients[1].Cipher.Name = "tomorrow", "tomorrow"
		}, ErrNotRecipient, ErrNotRecipient},
		{"each other's cipher", func(h *Header) {
			h.Recipients[0].Cipher, h.Recipients[1].Cipher = h.Recipients[1].Cipher, h.Recipients[0].Cipher
		}, ErrNotRecipient, ErrNotRecipient},
		{"payload of the future", func(h *Header) { h.Cipher.Name = "tomorrow" }, ErrNotBackup, ErrNotBackup},
		{"no initialisation vector", func(h *Header) { h.Cipher.Parameter = "" }, ErrNotBackup, ErrNotBackup},
		{"odd initialisation vector", func(h *Header) { h.Cipher.Parameter = h.Cipher.Parameter[1:] }, ErrNotBackup, ErrNotBackup},
		{"short initialisation vector", func(h *Header) { h.Cipher.Parameter = h.Cipher.Parameter[2:] }, ErrNotBackup, ErrNotBackup},
		{"long initialisation vector", func(h *Header) { h.Cipher.Parameter += "00" }, ErrNotBackup, ErrNotBackup},
		{"another initialisation vector", func(h *Header) { h.Cipher.Parameter = strings.Repeat("5a", 16) }, ErrDamaged, ErrDamaged},
	} {
		t.Run(c.name, func(t *testing.T) {
			changed := rewrite(t, sealed, c.change)
			for who, want := range map[crypto.Signer]error{alice: c.alice, bob: c.bob} {
				got, err := unseal(changed, small, who)
				if !errors.Is(err, want) || want == ErrDamaged && err != ErrDamaged || want == nil && !bytes.Equal(got, clear) || want != nil && len(got) > 0 {
					t.Errorf("%T: %d bytes, %v", who, len(got), err)
				}
			}
			if _, err := unseal(changed, small, stranger); !errors.Is(err, ErrNotRecipient) && !errors.Is(err, ErrNotBackup) {
				t.Errorf("a stranger: %v", err)
			}
		})
	}
}

func TestUsable(t *testing.T) {
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p521, err := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	x25519, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	point := func(digits string) ed25519.PublicKey {
		b, err := hex.DecodeString(digits + strings.Repeat("00", 32-len(digits)/2))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for _, c := range []struct {
		name   string
		key    crypto.PublicKey
		usable bool
	}{
		{"RSA 2048", key(t, pki.KeyRSA2048, "alice").Public(), true},
		{"P-256", key(t, pki.KeyECDSAP256, "bob").Public(), true},
		{"P-384", key(t, pki.KeyECDSAP384, "carol").Public(), true},
		{"P-521", p521.Public(), true},
		{"Ed25519", key(t, pki.KeyEd25519, "dave").Public(), true},
		{"RSA 1024", weak.Public(), false},
		{"RSA without modulus", &rsa.PublicKey{E: 65537}, false},
		{"P-224", p224.Public(), false},
		{"ECDSA without curve", &ecdsa.PublicKey{}, false},
		{"Ed25519, the neutral element", point("01"), false},
		{"Ed25519, its other sign", point("01" + strings.Repeat("00", 30) + "80"), false},
		{"Ed25519 of order 4", point(""), false},
		{"Ed25519 of order 8", point("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"), false},
		{"Ed25519, no point", point("02"), false},
		{"Ed25519, not canonical", point("f0" + strings.Repeat("ff", 30) + "7f"), false},
		{"Ed25519, short", ed25519.PublicKey{1, 2, 3}, false},
		{"X25519", x25519.Public(), false},
		{"a private key", key(t, pki.KeyECDSAP256, "bob"), false},
		{"nothing", nil, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := Usable(c.key); (err == nil) != c.usable {
				t.Errorf("usable: %v", err)
			}
			var out bytes.Buffer
			_, err := Create(&out, []crypto.PublicKey{key(t, pki.KeyECDSAP256, "bob").Public(), c.key})
			if (err == nil) != c.usable || !c.usable && out.Len() > 0 {
				t.Errorf("created: %v, %d bytes", err, out.Len())
			}
		})
	}
}

func TestP521(t *testing.T) {
	k, err := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, sealed := seal(t, text(5), small, k)
	if got, err := unseal(sealed, small, k); err != nil || string(got) != string(text(5)) {
		t.Errorf("%q, %v", got, err)
	}
}

// The reference makes backups for users whose keys we would refuse today.
func TestOpenWithAWeakKey(t *testing.T) {
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	w, sealed := seal(t, text(5), small, key(t, pki.KeyECDSAP256, "bob"))
	entry, err := rsa.EncryptOAEP(sha1.New(), rand.Reader, &weak.PublicKey, w.keys[:], nil)
	if err != nil {
		t.Fatal(err)
	}
	id, err := pki.KeyID(weak.Public())
	if err != nil {
		t.Fatal(err)
	}
	theirs := rewrite(t, sealed, func(h *Header) {
		h.Recipients = []Recipient{{KeyID: hex.EncodeToString(id), Cipher: Cipher{Name: cipherRSA}, Key: hex.EncodeToString(entry)}}
	})
	if got, err := unseal(theirs, small, weak); err != nil || len(got) != 5 {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

// An RSA key may be in hardware, which has a method to decrypt and no more.
type hardware struct{ crypto.Decrypter }

type signerOnly struct{ crypto.Signer }

func TestOpenWithKeysOfOtherTypes(t *testing.T) {
	alice, bob := key(t, pki.KeyRSA2048, "alice"), key(t, pki.KeyECDSAP256, "bob")
	_, sealed := seal(t, text(5), small, alice, bob)
	if _, err := unseal(sealed, small, hardware{alice.(crypto.Decrypter)}); err != nil {
		t.Error(err)
	}
	for name, k := range map[string]crypto.PrivateKey{
		"nothing": nil, "bytes": []byte("key"), "RSA that only signs": signerOnly{alice},
		"ECDSA that only signs": signerOnly{bob}, "a public key": alice.Public(),
	} {
		if _, err := unseal(sealed, small, k); err == nil || errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCreateForTooManyOrNone(t *testing.T) {
	bob := key(t, pki.KeyECDSAP256, "bob").Public()
	if _, err := Create(io.Discard, nil); !errors.Is(err, ErrNoRecipient) {
		t.Error(err)
	}
	many := make([]crypto.PublicKey, MaxRecipients+1)
	for i := range many {
		many[i] = bob
	}
	if _, err := Create(io.Discard, many); !errors.Is(err, ErrTooManyRecipients) {
		t.Error(err)
	}
	w, err := Create(io.Discard, []crypto.PublicKey{bob, bob})
	if err != nil || len(w.Header().Recipients) != 1 {
		t.Errorf("a key twice: %v", err)
	}
	// The largest entry there is, for an RSA 8192.
	h := Header{Recipients: make([]Recipient, MaxRecipients)}
	for i := range h.Recipients {
		h.Recipients[i] = Recipient{KeyID: alice, Cipher: Cipher{Name: cipherRSA}, Key: strings.Repeat("00", 8192/8)}
	}
	if _, err := h.encode(); err != nil {
		t.Error(err)
	}
}

// From the tests of libsodium, and against the way from the private key.
func TestX25519OfEd25519(t *testing.T) {
	seed, _ := hex.DecodeString("421151a459faeade3d247115f94aedae42318124095afabe4d1451a559faedee")
	known := ed25519.NewKeyFromSeed(seed)
	pub, err := x25519Public(known.Public().(ed25519.PublicKey))
	if err != nil || hex.EncodeToString(pub.Bytes()) != "f1814f0e8ff1043d8a44d25babff3cedcae6c22c3edaa48f857ae70de2baae50" {
		t.Errorf("%x, %v", pub.Bytes(), err)
	}
	for range 100 {
		pub, private, err := ed25519.GenerateKey(nil)
		if err != nil {
			t.Fatal(err)
		}
		u, err := x25519Public(pub)
		if err != nil {
			t.Fatal(err)
		}
		scalar, err := x25519Private(private)
		if err != nil || !scalar.PublicKey().Equal(u) {
			t.Fatalf("seed %x: %v", private.Seed(), err)
		}
	}
	if _, err := x25519Private(ed25519.PrivateKey{1}); err == nil {
		t.Error("took a short private key")
	}
}
