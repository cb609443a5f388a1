package manage

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/backup"
	"cauase/pkg/ca"
	"cauase/pkg/ca/catest"
	"cauase/pkg/caucase"
	"cauase/pkg/caucase/caucasetest"
	"cauase/pkg/clock"
	"cauase/pkg/pki"
	"cauase/pkg/store"
	"cauase/pkg/testkit/envelopetest"
	"cauase/pkg/testkit/pkitest"
)

// Backups that caucase has taken are restored: its users, services and revocations go on.
func TestRestoreCaucase(t *testing.T) {
	for _, version := range []string{"0.9.17", "0.9.8"} {
		t.Run(version, func(t *testing.T) {
			read := func(name string) []byte { return caucasetest.Read(t, version+"/"+name) }
			pair := func(name string) (crypto.Signer, *x509.Certificate) {
				data := read(name)
				blocks, err := pki.SplitPEM(data)
				if err != nil {
					t.Fatal(err)
				}
				for _, block := range blocks {
					if block.Type == "CERTIFICATE" {
						return must[crypto.Signer](t)(ReadHolderKey(File{name, data}, nil)), must[*x509.Certificate](t)(x509.ParseCertificate(block.Bytes))
					}
				}
				t.Fatalf("%s: no certificate", name)
				return nil, nil
			}
			clk := clock.NewFake(caucasetest.MadeAt(t, version).Add(time.Hour))
			ctx := t.Context()
			from := func(name string) Sealed {
				key, _ := pair(name)
				return sealedFile(caucasetest.Path(t, version+"/backup.sql.caucased"), key)
			}
			contents, err := Inspect(ctx, clk.Now(), from("bob.pem"), nil)
			if err != nil || contents.Format != FormatCaucase || contents.Created != nil || contents.User != "CN=bob" {
				t.Errorf("%+v %v", contents, err)
			}
			st := newStore(t)
			restored, err := Restore(ctx, st, clk, Restoration{Backup: from("alice.pem"), Request: pkitest.ParsedRequest(t, pkitest.Key(t), pkitest.Named("x.example"))})
			if err != nil {
				t.Fatal(err)
			}
			users, services := openAuthority(t, st, clk, store.Users), openAuthority(t, st, clk, store.Services)
			_, alice := pair("alice.pem")
			_, bob := pair("bob.pem")
			_, mallory := pair("mallory.pem")
			for _, c := range []struct {
				name string
				crt  *x509.Certificate
				want error
			}{{"alice", alice, ca.ErrUnauthorized}, {"mallory", mallory, ca.ErrUnauthorized}, {"bob", bob, nil},
				{"new", must[*x509.Certificate](t)(pki.ParseCertificatePEM(restored.Certificate)), nil}} {
				if _, err := users.Authenticate(ctx, audit.Actor{Kind: audit.Anonymous}, c.crt); !errors.Is(err, c.want) {
					t.Errorf("%s: %v, want %v", c.name, err, c.want)
				}
			}
			webKey, web := pair("web.pem")
			must[[]byte](t)(catest.Wired(services).Renew(ctx, audit.Actor{Kind: audit.Anonymous}, envelopetest.Parse(t, envelopetest.Renewal(t, web, webKey, pkitest.HostRequest(t, "x.example").PEM))))
			goneKey, gone := pair("gone.pem")
			if _, err := catest.Wired(services).Renew(ctx, audit.Actor{Kind: audit.Anonymous}, envelopetest.Parse(t, envelopetest.Renewal(t, gone, goneKey, pkitest.HostRequest(t, "x.example").PEM))); !errors.Is(err, ca.ErrInvalid) {
				t.Errorf("a revoked service: %v", err)
			}
			old := must[*x509.RevocationList](t)(pki.ParseCRLPEM(read("cas.crl.pem")))
			list := must[*x509.RevocationList](t)(pki.ParseCRLPEM(must[catest.Lists](t)(catest.Wired(services).CRLs(ctx)).PEM))
			if list.Number.Cmp(old.Number) <= 0 || list.Number.Int64()-old.Number.Int64() < crlJump || len(list.RevokedCertificateEntries) != len(old.RevokedCertificateEntries) {
				t.Errorf("list %v with %d entries after %v with %d", list.Number, len(list.RevokedCertificateEntries), old.Number, len(old.RevokedCertificateEntries))
			}
			if _, err := Drill(ctx, newStore(t), clk, from("bob.pem"), nil, func(Proof) {}); err != nil {
				t.Errorf("drill: %v", err)
			}
		})
	}
}

// Anybody could send caucase a request that we do not take. That must not make its backups worthless.
func TestRestoreCaucaseWithBadRows(t *testing.T) {
	l := caucaseOf(t, "0.9.17")
	_, key := l.holder("alice")
	clear := must[[]byte](t)(io.ReadAll(must[*backup.Reader](t)(backup.Open(bytes.NewReader(l.read("backup.sql.caucased")), key))))
	bad := []byte("INSERT INTO \"cascrt\" VALUES(7,NULL,NULL,'no request',NULL);\x00COMMIT;\x00")
	in := Restoration{Backup: seal(t, key, bytes.Replace(clear, []byte("COMMIT;\x00"), bad, 1)), Request: pkitest.ParsedRequest(t, pkitest.Key(t), pkitest.Named("x.example"))}

	st, clk := newStore(t), clock.NewFake(l.now.Add(time.Hour))
	var rows *caucase.BadRowsError
	if _, err := Restore(t.Context(), st, clk, in); !errors.As(err, &rows) {
		t.Fatal(err)
	}
	empty(t, st)
	in.Backup.SkipBadRows = true
	restored, err := Restore(t.Context(), st, clk, in)
	if err != nil {
		t.Fatal(err)
	}
	if notes := strings.Join(restored.Notes, "\n"); !strings.Contains(notes, "left out: cascrt row") || !strings.Contains(notes, "id 7") {
		t.Errorf("%q", notes)
	}
	if _, err := Drill(t.Context(), newStore(t), clk, in.Backup, nil, func(Proof) {}); err != nil {
		t.Error(err)
	}
}
