package crash

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"cauase/pkg/client"
	"cauase/pkg/testkit/pkitest"
)

// netloc is where daemons say they are; where they listen differs.
const netloc = "127.0.0.1:8009"

// A world is what there is before something happens: a daemon's files, and what its clients have.
type world struct {
	dir          string // with cauase.sqlite, server.key.pem, alice.key …
	user         tls.Certificate
	trusted      []*x509.Certificate // CAs of services
	trustedUsers []*x509.Certificate // CAs of users
	waiting      [2]client.ID        // requests of services that are pending
	held         [4]holding          // certificates of services; the last is revoked
}

type holding struct {
	id  client.ID
	crt *x509.Certificate
	key crypto.Signer
}

// newWorld makes the one that all stories begin with.
func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{dir: t.TempDir()}
	w.write(t, "passphrase", []byte("secret of the tests\n"))
	database := filepath.Join(w.dir, "cauase.sqlite")
	d := startDaemon(t, w.dir, database)
	w.settle(t, d)
	check(t, d.stop())
	must(t, w.dir, database, "backup", "BACKUP")
	return w
}

// settle has people and hosts come to a new daemon.
func (w *world) settle(t testing.TB, d *daemon) {
	t.Helper()
	ctx := t.Context()
	users, services := d.client(t, client.CAU), d.client(t, client.CAS)
	key := pkitest.Key(t)
	w.write(t, "alice.key", pkitest.KeyPEM(t, key))
	id, err := users.Submit(ctx, pkitest.NamedRequest(t, key, "alice"))
	check(t, err)
	crt, err := users.Certificate(ctx, id)
	check(t, err)
	w.user = tls.Certificate{Certificate: [][]byte{crt.Raw}, PrivateKey: key, Leaf: crt}
	next := pkitest.Key(t)
	w.write(t, "next.csr", pkitest.NamedRequest(t, next, "alice"))
	w.write(t, "next.key", pkitest.KeyPEM(t, next))
	trust, err := services.UpdateTrust(ctx, nil, nil)
	check(t, err)
	w.trusted = trust.CAs
	trust, err = users.UpdateTrust(ctx, nil, nil)
	check(t, err)
	w.trustedUsers = trust.CAs
	session, err := services.Connect(ctx, w.user, w.trusted, client.Caucase{})
	check(t, err)
	defer session.Close()
	for i, name := range []string{"first", "second", "third", "gone"} {
		key := pkitest.Key(t)
		id, err := services.Submit(ctx, pkitest.NamedRequest(t, key, name))
		check(t, err)
		check(t, session.Approve(ctx, id, client.Approval{}))
		crt, err := services.Certificate(ctx, id)
		check(t, err)
		w.held[i] = holding{id, crt, key}
	}
	check(t, services.Revoke(ctx, w.held[3].crt, w.held[3].key, client.Revoking{}))
	for i, name := range []string{"waits", "waits-too"} {
		w.waiting[i], err = services.Submit(ctx, pkitest.NamedRequest(t, pkitest.Key(t), name))
		check(t, err)
	}
}

func (w *world) write(t testing.TB, name string, content []byte) {
	t.Helper()
	check(t, os.WriteFile(filepath.Join(w.dir, name), content, 0o600))
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// copyFiles copies a folder, with the modes of what is in it.
func copyFiles(t testing.TB, to, from string) {
	t.Helper()
	check(t, filepath.WalkDir(from, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		target := filepath.Join(to, name)
		if e.IsDir() {
			if name == "." {
				return nil
			}
			return os.Mkdir(target, info.Mode().Perm())
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(target, content, info.Mode().Perm())
	}))
}
