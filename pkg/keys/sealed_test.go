package keys

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"cauase/pkg/pki"
)

func TestMain(m *testing.M) {
	CheapPassphrases()
	os.Exit(m.Run())
}

// rows keep KEKs.
type rows map[string]Wrapped

func (r rows) KEK(_ context.Context, authority string) (Wrapped, error) {
	if w, ok := r[authority]; ok {
		return w, nil
	}
	return Wrapped{}, ErrNoKEK
}

func (r rows) AddKEK(_ context.Context, authority string, w Wrapped) (Wrapped, error) {
	if there, ok := r[authority]; ok {
		return there, nil
	}
	r[authority] = w
	return w, nil
}

func inputs(secret *Secret, passphrase string) Inputs {
	return Inputs{
		Secret: func(string) (*Secret, error) {
			if secret == nil {
				return nil, ErrLocked
			}
			return secret, nil
		},
		Passphrase: func() ([]byte, error) {
			if passphrase == "" {
				return nil, nil
			}
			return []byte(passphrase), nil
		},
	}
}

func newSecret(t *testing.T) *Secret {
	t.Helper()
	s, err := NewSecret()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// begun is a keyring that has sealed its first key, with what is needed to open that.
func begun(t *testing.T, with Wrap) (r rows, purpose Purpose, ref Ref) {
	t.Helper()
	r = rows{}
	ring := NewKeyring(r, time.Now)
	if _, err := ring.Begin(t.Context(), with); err != nil {
		t.Fatal(err)
	}
	purpose = Purpose{Authority: "cas", Generation: time.Date(2026, 3, 1, 0, 0, 0, 1000, time.UTC)}
	ref, key, err := ring.Generate(t.Context(), purpose, pki.KeyECDSAP256)
	if err != nil {
		t.Fatal(err)
	}
	if purpose.KeyID, err = pki.KeyID(key.Public()); err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	if ref.Custody != SealedCustody || bytes.Contains(ref.Ref, der[len(der)-70:len(der)-40]) {
		t.Fatal("the key is in its reference")
	}
	return r, purpose, ref
}

// Each input is worth nothing without the other, nor with another one in its place.
func TestInputsTogether(t *testing.T) {
	secret := newSecret(t)
	r, purpose, ref := begun(t, inputs(secret, "correct horse"))
	for name, c := range map[string]struct {
		with Wrap
		want error
	}{
		"both":                      {inputs(secret, "correct horse"), nil},
		"the secret alone":          {inputs(secret, ""), ErrPassphrase},
		"the passphrase alone":      {inputs(nil, "correct horse"), ErrLocked},
		"another secret":            {inputs(newSecret(t), "correct horse"), ErrLocked},
		"another passphrase":        {inputs(secret, "battery staple"), ErrUnwrap},
		"no wrap that is known":     {fake{}, ErrLocked},
		"a passphrase with a blank": {inputs(secret, "correct horse "), ErrUnwrap},
	} {
		ring := NewKeyring(r, time.Now, c.with)
		if err := ring.Unlock(t.Context()); !errors.Is(err, c.want) || c.want == nil && err != nil {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
		_, err := ring.Open(t.Context(), purpose, ref)
		if c.want == nil && err != nil || c.want != nil && !errors.Is(err, ErrLocked) {
			t.Errorf("%s: open: %v", name, err)
		}
		if locked := ring.Ready("cas"); c.want == nil && locked != nil || c.want != nil && !errors.Is(locked, ErrLocked) {
			t.Errorf("%s: ready: %v", name, locked)
		}
		if _, _, err := ring.Generate(t.Context(), purpose, pki.KeyECDSAP256); c.want != nil && !errors.Is(err, ErrLocked) {
			t.Errorf("%s: a new key: %v", name, err)
		}
	}
}

type fake struct{ Inputs }

func (fake) Name() string { return "fake" }

// Whoever can write rows can neither move a key to another row nor tell a damaged row from a wrong passphrase.
func TestSealedIsBound(t *testing.T) {
	secret := newSecret(t)
	with := inputs(secret, "correct horse")
	r, purpose, ref := begun(t, with)
	ring := NewKeyring(r, time.Now, with)
	moved := map[string]func(*Purpose){
		"another authority":       func(p *Purpose) { p.Authority = "cau" },
		"another generation":      func(p *Purpose) { p.Generation = p.Generation.Add(time.Microsecond) },
		"another key id":          func(p *Purpose) { p.KeyID = append([]byte{1}, p.KeyID[1:]...) },
		"a boundary that shifts":  func(p *Purpose) { p.Authority, p.KeyID = "ca", append([]byte("s"), p.KeyID...) },
		"another one's KEK there": func(p *Purpose) { r["cau"] = r["cas"]; p.Authority = "cau" },
	}
	for name, move := range moved {
		other := purpose
		move(&other)
		if _, err := ring.Open(t.Context(), other, ref); !errors.Is(err, ErrUnusable) && !errors.Is(err, ErrUnwrap) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for i := range ref.Ref {
		bad := Ref{ref.Custody, bytes.Clone(ref.Ref)}
		bad.Ref[i] ^= 1
		if _, err := ring.Open(t.Context(), purpose, bad); !errors.Is(err, ErrUnusable) {
			t.Errorf("octet %d: %v", i, err)
		}
		if _, err := ring.Open(t.Context(), purpose, Ref{ref.Custody, ref.Ref[:i]}); !errors.Is(err, ErrUnusable) {
			t.Errorf("%d octets: %v", i, err)
		}
	}
	damaged := r[""]
	damaged.Key = bytes.Clone(damaged.Key)
	damaged.Key[20] ^= 1
	atRow := NewKeyring(rows{"": damaged}, time.Now, with).Unlock(t.Context())
	atPassphrase := NewKeyring(r, time.Now, inputs(secret, "wrong")).Unlock(t.Context())
	if atRow == nil || atPassphrase == nil || atRow.Error() != atPassphrase.Error() {
		t.Errorf("a damaged row: %v; a wrong passphrase: %v", atRow, atPassphrase)
	}
}

// What a row says about Argon2 is believed within bounds only.
func TestArgonBounds(t *testing.T) {
	good := Argon2{Time: 3, Memory: 64 << 10, Threads: 4, Salt: make([]byte, 16)}
	if err := good.check(); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Argon2){
		"no passes": func(a *Argon2) { a.Time = 0 }, "passes for a day": func(a *Argon2) { a.Time = 1 << 30 },
		"no memory": func(a *Argon2) { a.Memory = 8 }, "all memory": func(a *Argon2) { a.Memory = 1 << 31 },
		"no threads": func(a *Argon2) { a.Threads = 0 }, "many threads": func(a *Argon2) { a.Threads = 255 },
		"no salt": func(a *Argon2) { a.Salt = nil }, "much salt": func(a *Argon2) { a.Salt = make([]byte, 1000) },
	} {
		a := good
		change(&a)
		if err := a.check(); !errors.Is(err, ErrUnwrap) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, params := range []string{"", "{}", "null", `{"v":2}`, `{"v":1,"secret":"x","salt":"AAAAAAAAAAAAAAAAAAAAAA==","argon2id":{}}`, `{"v":1,"x":1}`, string(make([]byte, 1<<20))} {
		if _, err := parseInputs(Wrapped{Params: []byte(params)}); !errors.Is(err, ErrUnwrap) {
			t.Errorf("%.40q: %v", params, err)
		}
	}
}

// A root with a passphrase of its own is opened for a while, by that and by what opens all others.
func TestOwnPassphrase(t *testing.T) {
	now := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	with := inputs(newSecret(t), "daemon's")
	r, purpose, ref := begun(t, with)
	ring := NewKeyring(r, func() time.Time { return now }, with)
	w, err := ring.RewrapOwn(t.Context(), "cas", []byte("root's"))
	if err != nil {
		t.Fatal(err)
	}
	r["cas"] = w
	ring = NewKeyring(r, func() time.Time { return now }, with)
	if err := ring.Unlock(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := ring.Open(t.Context(), purpose, ref); !errors.Is(err, ErrOwn) {
		t.Errorf("without it: %v", err)
	}
	if err := ring.UnlockOwn(t.Context(), "cas", []byte("daemon's"), time.Minute); !errors.Is(err, ErrUnwrap) {
		t.Errorf("another one: %v", err)
	}
	if err := ring.UnlockOwn(t.Context(), "cas", []byte("root's"), time.Minute); err != nil {
		t.Fatal(err)
	}
	if _, err := ring.Open(t.Context(), purpose, ref); err != nil || ring.Ready("cas") != nil {
		t.Errorf("open: %v, %v", err, ring.Ready("cas"))
	}
	now = now.Add(time.Minute)
	if err := ring.Ready("cas"); !errors.Is(err, ErrOwn) {
		t.Errorf("its time is over: %v", err)
	}
	if gone := ring.Expire(); len(gone) != 1 || gone[0] != "cas" {
		t.Errorf("expired: %v", gone)
	}
	if _, err := ring.Open(t.Context(), purpose, ref); !errors.Is(err, ErrOwn) {
		t.Errorf("after its time: %v", err)
	}
	if err := ring.Ready("cas"); !errors.Is(err, ErrOwn) {
		t.Errorf("after its time: %v", err)
	}
}

// A secret file that others can read is not used, and the error says what to do.
func TestSecretFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	if _, err := ReadSecret(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("none: %v", err)
	}
	s := newSecret(t)
	if err := s.Write(path); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
		t.Errorf("mode %v: %v", info.Mode(), err)
	}
	if err := newSecret(t).Write(path); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a second one: %v", err)
	}
	if read, err := ReadSecret(path); err != nil || *read != *s {
		t.Fatalf("read: %v", err)
	}
	for _, mode := range []fs.FileMode{0o640, 0o604, 0o620, 0o602} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadSecret(path); !errors.Is(err, ErrSecretFile) {
			t.Errorf("mode %o: %v", mode, err)
		}
	}
	if err := os.Chmod(path, 0o400); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadSecret(path); err != nil {
		t.Errorf("mode 0400: %v", err)
	}
	t.Setenv("CREDENTIALS_DIRECTORY", filepath.Dir(path))
	if err := os.Chmod(path, 0o440); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadSecret(path); err != nil {
		t.Errorf("a credential: %v", err)
	}
	for name, text := range map[string]string{"empty": "", "junk": "junk", "short": secretPrefix + "AAAA", "long": secretPrefix + string(make([]byte, 9000))} {
		bad := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(bad, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadSecret(bad); !errors.Is(err, ErrSecretFile) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// An interrupted change of the secret is completed if it came so far that the new one is in use, and else is without effect.
func TestFindSecret(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	old, next := newSecret(t), newSecret(t)
	for _, err := range []error{old.Write(path), next.Write(NextSecret(path))} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if s, err := FindSecret(path, old.ID()); err != nil || *s != *old {
		t.Errorf("before: %v", err)
	}
	if s, err := FindSecret(path, next.ID()); err != nil || *s != *next {
		t.Errorf("after: %v", err)
	}
	if s, err := ReadSecret(path); err != nil || *s != *next {
		t.Errorf("it was not put in place: %v", err)
	}
	if _, err := FindSecret(path, old.ID()); !errors.Is(err, ErrLocked) {
		t.Errorf("the old one: %v", err)
	}
}
