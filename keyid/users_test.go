package main

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"io"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cauase/pkg/backup"
	"cauase/pkg/cli"
	"cauase/pkg/clock"
	"cauase/pkg/pki"
	"cauase/pkg/store"
	"cauase/pkg/store/sqlstore"
	"cauase/pkg/testkit"
	"cauase/pkg/testkit/pkitest"
)

var today = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

// newMaker makes the CA of an authority.
func newMaker(t *testing.T, name string) maker {
	t.Helper()
	return maker{pkitest.NewCA(t, name, today.AddDate(-1, 0, 0), today.AddDate(1, 0, 0)), t}
}

// A maker issues certificates of one authority.
type maker struct {
	pkitest.CA
	t *testing.T
}

// issues makes a certificate that is valid for ten days, from some days before today.
func (m maker) issues(name string, serial int64, age int, key crypto.Signer) *x509.Certificate {
	m.t.Helper()
	return m.Issue(m.t, name, key.Public(), func(crt *x509.Certificate) {
		crt.SerialNumber = big.NewInt(serial)
		crt.NotBefore, crt.NotAfter = today.AddDate(0, 0, -age), today.AddDate(0, 0, 10-age)
	})
}

func idOf(t *testing.T, key crypto.Signer) string {
	t.Helper()
	return hex.EncodeToString(pkitest.KeyID(t, key.Public()))
}

// a scene has a backup for alice, bob and a stranger.
func scene(t *testing.T) (cau maker, alice, bob crypto.Signer, ids []any) {
	t.Helper()
	t.Chdir(t.TempDir())
	cau, alice, bob = newMaker(t, "CAU"), pkitest.Key(t), pkitest.Key(t)
	stranger := pkitest.Key(t)
	f, err := os.Create("backup")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w, err := backup.Create(f, []crypto.PublicKey{alice.Public(), bob.Public(), stranger.Public()})
	if err == nil {
		_, err = io.WriteString(w, "everything")
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return cau, alice, bob, []any{idOf(t, alice), idOf(t, bob), idOf(t, stranger)}
}

func output(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, err bytes.Buffer
	code = run(t.Context(), append([]string{tool}, args...), clock.NewFake(today), &out, &err)
	return code, out.String(), err.String()
}

// expect fills in the identifiers of alice, bob and the stranger.
func expect(lines string, ids []any) string {
	for i, name := range []string{"ALICE", "BOB", "STRANGER"} {
		lines = strings.ReplaceAll(lines, name, ids[i].(string))
	}
	return lines
}

func TestUsersOfCertificates(t *testing.T) {
	cau, alice, bob, ids := scene(t)
	put(t, "ca.pem", pkitest.PEM(cau.Crt))
	put(t, "alice.pem", pkitest.PEM(cau.issues("alice", 11, 3, alice)))
	put(t, "bob.pem", pkitest.PEM(cau.issues("bob", 12, 30, bob), cau.issues("bob", 13, -1, bob)))
	put(t, "forged.pem", pkitest.PEM(newMaker(t, "CAU").issues("mallory\x1b[2J", 14, 0, alice)))
	put(t, "nobody", []byte("no certificate"))
	if err := os.Mkdir("all", 0o700); err != nil {
		t.Fatal(err)
	}
	put(t, "all/1.pem", pkitest.PEM(cau.Crt, cau.issues("alice", 11, 3, alice)))
	const aliceLine = "  b'ALICE' CN=alice, serial 0xb, 2026-03-01 to 2026-03-11, valid"
	const bobLine = "  b'BOB' CN=bob, serial 0xc, 2026-02-02 to 2026-02-12, expired; CN=bob, serial 0xd, 2026-03-05 to 2026-03-15, not yet valid\n"
	for _, c := range []struct {
		name, args   string
		code         int
		stdout, says string
	}{
		{"nobody asked", "--backup backup", 0, "backup\n  b'ALICE'\n  b'BOB'\n  b'STRANGER'\n", ""},
		{"all", "--backup backup --ca-crt ca.pem alice.pem bob.pem", 0,
			"backup\n" + aliceLine + "\n" + bobLine + "  b'STRANGER' no certificate known\n", ""},
		{"no CA", "--backup backup --ca-crt alice.pem alice.pem", 0,
			"backup\n" + aliceLine + "\n  b'BOB' no certificate known\n  b'STRANGER' no certificate known\n", ""},
		{"CA alone", "--backup backup --ca-crt ca.pem", 0,
			"backup\n  b'ALICE' no certificate known\n  b'BOB' no certificate known\n  b'STRANGER' no certificate known\n", ""},
		{"a directory", "--backup backup --ca-crt all --plain", 0,
			"backup\n  ALICE CN=alice, serial 0xb, 2026-03-01 to 2026-03-11, valid\n  BOB no certificate known\n  STRANGER no certificate known\n", ""},
		{"a forged one", "--backup backup --ca-crt ca.pem forged.pem", 0,
			"backup\n  b'ALICE' CN=mallory\\x1b[2J, serial 0xe, 2026-03-04 to 2026-03-14, valid, not issued by the CA given\n  b'BOB' no certificate known\n  b'STRANGER' no certificate known\n", ""},
		{"a certificate's key", "--private-key alice.pem --ca-crt ca.pem alice.pem", 0,
			"alice.pem b'ALICE' CN=alice, serial 0xb, 2026-03-01 to 2026-03-11, valid\n", ""},
		{"no such file", "--backup backup --ca-crt nope", 1, "", "--ca-crt: stat nope"},
		{"no certificate", "--backup backup --ca-crt nobody", 1, "", "--ca-crt: nobody"},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, stdout, stderr := output(t, strings.Fields(c.args)...)
			if code != c.code || stdout != expect(c.stdout, ids) || !strings.Contains(stderr, c.says) || c.says == "" && stderr != "" {
				t.Errorf("exit code %d, stdout\n%s\nwant\n%s\nstderr %q", code, stdout, expect(c.stdout, ids), stderr)
			}
		})
	}
}

func TestUsersOfDatabase(t *testing.T) {
	page, err := filepath.Abs("../docs/json.md")
	if err != nil {
		t.Fatal(err)
	}
	cau, alice, bob, ids := scene(t)
	db, err := sqlstore.Open(t.Context(), "cauase.sqlite", sqlstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(t.Context(), func(tx store.Tx) error {
		row, _ := store.Standard(store.Users, today)
		if err := tx.PutAuthority(t.Context(), row); err != nil {
			return err
		}
		ca, err := tx.AddCA(t.Context(), store.CA{
			Authority: store.Users, CreatedAt: today, NotBefore: cau.Crt.NotBefore, NotAfter: cau.Crt.NotAfter,
			KeyID: []byte("cau"), Certificate: cau.Crt.Raw, State: store.CAUsable, Key: store.KeyRef{Custody: "row", Ref: []byte("key")},
		})
		if err != nil {
			return err
		}
		if err := addCertificate(t.Context(), tx, ca, 5, cau.issues("alice", 11, 3, alice)); err != nil {
			return err
		}
		if err := addCertificate(t.Context(), tx, ca, 0, cau.issues("bob", 12, 3, bob)); err != nil {
			return err
		}
		_, err = tx.AddRevocation(t.Context(), store.Revocation{
			Authority: store.Users, Serial: big.NewInt(12), RevokedAt: today, KeepUntil: today.AddDate(0, 1, 0),
		})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	want := expect("backup\n  b'ALICE' CN=alice, serial 0xb, 2026-03-01 to 2026-03-11, valid\n"+
		"  b'BOB' CN=bob, serial 0xc, 2026-03-01 to 2026-03-11, revoked\n  b'STRANGER' no certificate known\n", ids)
	if code, stdout, stderr := output(t, "--backup", "backup", "--db", "cauase.sqlite"); code != 0 || stdout != want || stderr != "" {
		t.Errorf("exit code %d, stdout\n%s\nwant\n%s\nstderr %q", code, stdout, want, stderr)
	}
	if _, stdout, _ := output(t, "--decimal", "--backup", "backup", "--db", "cauase.sqlite"); !strings.Contains(stdout, "CN=alice, serial 11, ") {
		t.Errorf("in decimal: %s", stdout)
	}
	// What the database says of a certificate comes before what a file says.
	put(t, "bob.pem", pkitest.PEM(cau.issues("bob", 12, 3, bob)))
	code, stdout, stderr := output(t, "--json", "--backup", "backup", "huge", "--db", "cauase.sqlite", "--ca-crt", "bob.pem")
	testkit.CheckVerbs(t, page, tool, cli.Verbs(newApp(nil, nil, nil)))
	testkit.CheckPrinted(t, page, tool, stdout)
	var got report
	if err := json.Unmarshal([]byte(stdout), &got); err != nil || code != 1 || !strings.Contains(stderr, "huge") {
		t.Fatalf("exit code %d, %v, stdout %s, stderr %s", code, err, stdout, stderr)
	}
	if strings.Contains(stdout, "null") {
		t.Errorf("null instead of an empty list:\n%s", stdout)
	}
	if len(got.Backups) != 1 || len(got.Backups[0].Recipients) != 3 || len(got.Backups[0].Recipients[1].Users) != 1 ||
		got.Backups[0].Recipients[1].Users[0].Status != "revoked" || got.Backups[0].Recipients[1].ID != ids[1] {
		t.Errorf("%s", stdout)
	}
	if code, _, stderr := output(t, "--backup", "backup", "--db", "nope.sqlite"); code != 1 || !strings.Contains(stderr, "hint: ") {
		t.Errorf("exit code %d, stderr %s", code, stderr)
	}
	if _, err := os.Stat("nope.sqlite"); err == nil {
		t.Error("made a database")
	}
}

func addCertificate(ctx context.Context, tx store.Tx, ca, id int64, crt *x509.Certificate) error {
	keyID, err := pki.KeyID(crt.PublicKey)
	if err != nil {
		return err
	}
	return tx.AddCertificate(ctx, store.Certificate{
		Authority: store.Users, ID: id, Serial: crt.SerialNumber, CAID: ca, Subject: pki.SubjectString(crt.RawSubject),
		NotBefore: crt.NotBefore, NotAfter: crt.NotAfter, KeyID: keyID, IssuedAt: crt.NotBefore, IssuedBy: "test",
		Method: store.Signed, CSR: []byte("csr"), CSRDigest: keyID, DER: crt.Raw,
	})
}
