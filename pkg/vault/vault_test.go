package vault_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/clock"
	"cauase/pkg/keys"
	"cauase/pkg/logkey"
	"cauase/pkg/pgtest"
	"cauase/pkg/pki"
	"cauase/pkg/store"
	"cauase/pkg/store/sqlstore"
	"cauase/pkg/store/sqlstore/sqltest"
	"cauase/pkg/testkit/pkitest"
	"cauase/pkg/vault"
)

func TestMain(m *testing.M) {
	keys.CheapPassphrases()
	os.Exit(m.Run())
}

var operator = audit.Actor{Kind: audit.Operator}

func none() ([]byte, error) { return nil, nil }

func passphrase(text string) func() ([]byte, error) {
	return func() ([]byte, error) { return []byte(text), nil }
}

// clear fills a store with a CA of which the key is in the clear, as earlier versions have left it, and returns that.
func clear(t *testing.T, st store.Store) *ecdsa.PrivateKey {
	t.Helper()
	key, err := pki.KeyECDSAP256.Generate()
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: now, NotAfter: now.Add(time.Hour)}
	crt, err := x509.CreateCertificate(nil, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	csr, err := x509.CreateCertificateRequest(nil, &x509.CertificateRequest{}, key)
	if err != nil {
		t.Fatal(err)
	}
	err = st.Update(t.Context(), func(tx store.Tx) error {
		row, _ := store.Standard(store.Services, now)
		if err := tx.PutAuthority(t.Context(), row); err != nil {
			return err
		}
		if _, err := tx.AddSignoff(t.Context(), store.Signoff{Authority: "cas", CreatedAt: now, NotBefore: now, NotAfter: now, KeyID: []byte{1}, Key: store.KeyInRow(der), Request: csr}); err != nil {
			return err
		}
		_, err := tx.AddCA(t.Context(), store.CA{
			Authority: "cas", CreatedAt: now, NotBefore: now, NotAfter: now.Add(time.Hour), KeyID: []byte{1},
			Certificate: crt, State: store.CAUsable, Key: store.KeyInRow(der),
		})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return key.(*ecdsa.PrivateKey)
}

var now = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

// traces are how a key can be found in files.
func traces(t *testing.T, key *ecdsa.PrivateKey) map[string][]byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	scalar, err := key.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	return map[string][]byte{
		"DER": der, "scalar": scalar, "half of it": scalar[:16], "hex": []byte(hex.EncodeToString(scalar)), "PEM": bytes.Split(text, []byte("\n"))[1],
	}
}

// grep says which of what is sought is in the files of a folder.
func grep(t *testing.T, dir string, sought map[string][]byte, skip string) (found []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			if d != nil && d.IsDir() && d.Name() == skip {
				return filepath.SkipDir
			}
			return nil // what a server removes meanwhile
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return nil
		}
		for name, one := range sought {
			if bytes.Contains(data, one) {
				found = append(found, name+" in "+path)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// open opens the only key of a vault's store.
func open(t *testing.T, v *vault.Vault) (*ecdsa.PrivateKey, error) {
	t.Helper()
	var rows []store.CA
	var signoffs []store.Signoff
	err := v.View(t.Context(), func(r store.Reader) (err error) {
		if rows, err = r.CAs(t.Context(), "cas"); err != nil {
			return err
		}
		signoffs, err = r.Signoffs(t.Context(), "cas")
		return err
	})
	if err != nil || len(rows) != 1 || len(signoffs) != 1 {
		t.Fatalf("%d CAs, %d sign-offs: %v", len(rows), len(signoffs), err)
	}
	if _, err := v.Open(t.Context(), vault.PurposeOf(signoffs[0]), keys.Ref(signoffs[0].Key)); err != nil {
		return nil, err
	}
	key, err := v.Open(t.Context(), vault.PurposeOf(rows[0]), keys.Ref(rows[0].Key))
	if err != nil {
		return nil, err
	}
	return key.(*ecdsa.PrivateKey), nil
}

func sealedStore(t *testing.T, st store.Store, scan string, skip string) {
	key := clear(t, st)
	sought := traces(t, key)
	// The key of the log, too, which is base64 in a setting.
	logged, err := logkey.Open(t.Context(), st, keys.Row{}, now)
	if err != nil {
		t.Fatal(err)
	}
	ref, err := keys.RowRef(logged)
	if err != nil {
		t.Fatal(err)
	}
	sought["the key of the log"] = []byte(base64.StdEncoding.EncodeToString(ref.Ref))
	secret := filepath.Join(t.TempDir(), "secret")
	clk := clock.NewFake(now)
	v := vault.New(st, clk, vault.SecretFile(secret, passphrase("p")))
	if found := strings.Join(grep(t, scan, sought, skip), " "); !strings.Contains(found, "DER") || !strings.Contains(found, "the key of the log") {
		t.Fatal("the key is not found where it is: nothing would be proved")
	}
	n, err := v.SealAll(t.Context(), operator)
	if err != nil || n != 3 {
		t.Fatalf("sealed %d: %v", n, err)
	}
	if found := grep(t, scan, sought, skip); len(found) > 0 {
		t.Errorf("the key is still there: %v", found)
	}
	if n, err := v.SealAll(t.Context(), operator); err != nil || n != 0 {
		t.Errorf("again: %d: %v", n, err)
	}
	again := vault.New(st, clk, vault.SecretFile(secret, passphrase("p")))
	if opened, err := open(t, again); err != nil || !opened.Equal(key) {
		t.Errorf("opened: %v", err)
	}
	if opened, err := logkey.Open(t.Context(), st, again.Custody(), now); err != nil || !pki.SameKey(opened.Public(), logged.Public()) {
		t.Errorf("the key of the log: %v", err)
	}
	for name, other := range map[string]*vault.Vault{
		"without the passphrase": vault.New(st, clk, vault.SecretFile(secret, none)),
		"without the file":       vault.New(st, clk, vault.SecretFile(secret+"x", passphrase("p"))),
	} {
		if _, err := open(t, other); !errors.Is(err, keys.ErrLocked) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := os.Stat(secret + "x"); err == nil {
		t.Error("a secret was made that opens nothing")
	}
}

// A database of an earlier version is sealed, and no copy of a key in the clear is left in its files.
func TestSealSQLite(t *testing.T) {
	dir := t.TempDir()
	db, err := sqlstore.Open(t.Context(), filepath.Join(dir, "db.sqlite"), sqlstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	sealedStore(t, db.Store(), dir, "")
}

// The same with PostgreSQL, but for the server's own log, of which the manual says so.
func TestSealPostgres(t *testing.T) {
	cluster := pgtest.Start(t, pgtest.Options{})
	database := cluster.NewDatabase(t)
	db, err := sqlstore.Open(t.Context(), database, sqlstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	dir := cluster.Query(t, "postgres", "SHOW data_directory")
	cluster.Exec(t, "CHECKPOINT") // so that what is looked for is in the files of the tables
	checked := &flushed{Store: db.Store(), scrubber: db, flush: func() { cluster.Exec(t, "CHECKPOINT") }}
	sealedStore(t, checked, dir, "pg_wal")
}

// A flushed store has all that was written in the files of its tables.
type flushed struct {
	store.Store
	scrubber store.Scrubber
	flush    func()
}

func (f *flushed) Update(ctx context.Context, fn func(store.Tx) error) error {
	defer f.flush()
	return f.Store.Update(ctx, fn)
}

func (f *flushed) Scrub(ctx context.Context) error {
	defer f.flush()
	return f.scrubber.Scrub(ctx)
}

// In a backup no key is in the clear, whether its database is sealed or not; it is loaded into a database with other inputs, and its keys open
// there. Without the key of a user they do not.
func TestBackupRows(t *testing.T) {
	for name, seal := range map[string]bool{"of a sealed database": true, "of one in the clear": false} {
		t.Run(name, func(t *testing.T) {
			clk, user, stranger := clock.NewFake(now), pkitest.Key(t), pkitest.Key(t)
			from := newStore(t)
			key := clear(t, from)
			v := vault.New(from, clk, vault.SecretFile(filepath.Join(t.TempDir(), "secret"), passphrase("old")))
			if seal {
				if _, err := v.SealAll(t.Context(), operator); err != nil {
					t.Fatal(err)
				}
			}
			var rows []store.Row
			var text bytes.Buffer
			err := from.View(t.Context(), func(r store.Reader) error {
				return vault.Outgoing(t.Context(), clk, v.Keyring, r, []crypto.PublicKey{user.Public()}, func(row store.Row) error {
					rows = append(rows, row)
					switch one := row.(type) {
					case store.CA:
						text.Write(one.Key.Ref)
					case store.Signoff:
						text.Write(one.Key.Ref)
					case store.KEK:
						text.Write(append(one.Params, one.Wrapped...))
					}
					return nil
				})
			})
			if err != nil {
				t.Fatal(err)
			}
			for what, one := range traces(t, key) {
				if bytes.Contains(text.Bytes(), one) {
					t.Errorf("%s of the key is in the rows", what)
				}
			}
			load := func(opener crypto.PrivateKey) (*vault.Vault, error) {
				to := vault.New(newStore(t), clk, vault.SecretFile(filepath.Join(t.TempDir(), "secret"), passphrase("new")))
				err := to.Update(t.Context(), func(tx store.Tx) error {
					tx.(*vault.Tx).OpenWith(opener)
					return tx.Load(t.Context(), func(yield func(store.Row, error) bool) {
						for _, row := range rows {
							if !yield(row, nil) {
								return
							}
						}
					})
				})
				return to, err
			}
			if _, err := load(stranger); err == nil {
				t.Error("a stranger's key opens it")
			}
			if _, err := load(nil); !errors.Is(err, keys.ErrLocked) {
				t.Errorf("no key opens it: %v", err)
			}
			to, err := load(user)
			if err != nil {
				t.Fatal(err)
			}
			if opened, err := open(t, to); err != nil || !opened.Equal(key) {
				t.Errorf("opened: %v", err)
			}
			if exposed, err := to.HasClear(t.Context()); err != nil || exposed {
				t.Errorf("a key is in the clear there: %v", err)
			}
		})
	}
}

// What opens keys changes at one moment, and another change that goes on at the same time is refused.
func TestRekey(t *testing.T) {
	clk, st := clock.NewFake(now), newStore(t)
	path := filepath.Join(t.TempDir(), "secret")
	key := clear(t, st)
	with := func(text string) *vault.Vault { return vault.New(st, clk, vault.SecretFile(path, passphrase(text))) }
	v := with("one")
	if _, err := v.SealAll(t.Context(), operator); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		old, now string
		change   vault.Change
	}{
		{"one", "one", vault.Change{NewSecret: true}},
		{"one", "two", vault.Change{Passphrase: []byte("two")}},
		{"two", "three", vault.Change{NewSecret: true, Passphrase: []byte("three")}},
		{"three", "any", vault.Change{NoPassphrase: true}},
	} {
		old, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		step.change.Path = path
		if _, err := with(step.old).RekeyInputs(t.Context(), operator, step.change); err != nil {
			t.Fatalf("%+v: %v", step, err)
		}
		if opened, err := open(t, with(step.now)); err != nil || !opened.Equal(key) {
			t.Fatalf("%+v: with what is new: %v", step, err)
		}
		if step.now != step.old && step.now != "any" {
			if _, err := open(t, with(step.old)); err == nil {
				t.Errorf("%+v: the old passphrase opens it", step)
			}
		}
		if fresh, err := os.ReadFile(path); err != nil || bytes.Equal(fresh, old) == step.change.NewSecret {
			t.Errorf("%+v: the secret is the same: %v", step, bytes.Equal(fresh, old))
		}
	}
	if _, err := with("any").RekeyInputs(t.Context(), operator, vault.Change{Path: path + "x", NewSecret: true}); err == nil {
		t.Error("a secret that is not there was changed")
	}
}

func newStore(t *testing.T) store.Store {
	t.Helper()
	db, err := sqlstore.Open(t.Context(), sqltest.New(t), sqlstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db.Store()
}
