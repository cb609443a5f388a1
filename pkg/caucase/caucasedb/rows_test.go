package caucasedb

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"cauase/pkg/caucase"
	"cauase/pkg/caucase/caucasetest"
	"cauase/pkg/envelope"
	"cauase/pkg/pki"
	"cauase/pkg/store"
	"cauase/pkg/testkit/pkitest"
)

// What a backup holds is what the database held when it was taken.
func TestDumpsAndDatabasesSayTheSame(t *testing.T) {
	for _, folder := range []string{"0.9.17", "0.9.8"} {
		t.Run(folder, func(t *testing.T) {
			now := caucasetest.MadeAt(t, folder)
			path := caucasetest.Unpack(t, folder, t.TempDir())
			fromFile, err := Read(t.Context(), path)
			if err != nil {
				t.Fatal(err)
			}
			dump := caucasetest.Dump(t, folder)
			if !caucase.IsDump(dump) || caucase.IsDump(dump[:10]) || caucase.IsDump([]byte("SQLite format 3\x00")) {
				t.Error("dumps are not recognised")
			}
			if !bytes.Equal(dump, dumpOf(t, path)) {
				t.Error("the dumps that the other tests make differ from real ones")
			}
			fromDump, err := caucase.ReadDump(bytes.NewReader(dump))
			if err != nil {
				t.Fatal(err)
			}
			if want, got := rowsOf(t, fromFile, now), rowsOf(t, fromDump, now); !reflect.DeepEqual(got, want) {
				t.Errorf("%d rows from the dump differ from %d of the database", len(got), len(want))
			}
			if !reflect.DeepEqual(fromFile.Report(), fromDump.Report()) {
				t.Errorf("%+v\n%+v", fromFile.Report(), fromDump.Report())
			}
		})
	}
}

func TestEverythingComesOver(t *testing.T) {
	for _, folder := range []string{"0.9.17", "0.9.8"} {
		t.Run(folder, func(t *testing.T) {
			db, err := Read(t.Context(), caucasetest.Unpack(t, folder, t.TempDir()))
			if err != nil {
				t.Fatal(err)
			}
			now := caucasetest.MadeAt(t, folder)
			rows := rowsOf(t, db, now)
			one := int64(1)
			for i, want := range []caucase.AuthorityReport{
				{Authority: store.Users, CAs: 1, Pending: 1, Issued: 3, Revoked: 1, CRLNumber: 3, AutoApprove: &one},
				{Authority: store.Services, CAs: 1, Pending: 1, Issued: 5, Revoked: 3, CRLNumber: 5, AutoApprove: &one},
				{Authority: store.HTTPS, CAs: 1, Issued: 1},
			} {
				got := db.Report().Authorities[i]
				if got.Subject == "" || got.NotAfter.IsZero() || want.Authority != store.HTTPS && (got.Netloc == "" || got.Span.Hours() != 93*24) {
					t.Errorf("%s: %+v", want.Authority, got)
				}
				got.Subject, got.NotAfter, got.Netloc, got.Span = "", want.NotAfter, "", 0
				if !reflect.DeepEqual(got, want) {
					t.Errorf("got %+v, want %+v", got, want)
				}
			}
			if r := db.Report(); len(r.LeftOut)+len(r.Notes) > 0 {
				t.Errorf("%v %v", r.LeftOut, r.Notes)
			}
			auto := of(rows, func(c store.Certificate) bool { return c.Method == store.AutoSigned })
			if len(auto) != 2 || auto[0].Subject != "CN=alice" || auto[1].Subject != "CN=auto" {
				t.Errorf("approved automatically: %v", auto)
			}
			for _, c := range of(rows, func(store.Certificate) bool { return true }) {
				if len(c.CSR) == 0 || len(c.CSRDigest) != 32 || len(c.KeyID) != 20 || c.CAID == 0 || !c.IssuedAt.After(c.NotBefore) {
					t.Errorf("%s: %+v", c.Subject, c)
				}
			}
			blocks, _ := pki.SplitPEM(caucasetest.Read(t, folder+"/gone.pem"))
			gone, err := x509.ParseCertificate(blocks[1].Bytes)
			if err != nil {
				t.Fatal(err)
			}
			revoked := of(rows, func(r store.Revocation) bool { return r.Serial.Cmp(gone.SerialNumber) == 0 })
			if len(revoked) != 1 || !bytes.Equal(revoked[0].KeyID, gone.SubjectKeyId) || revoked[0].KeepUntil.Before(gone.NotAfter) {
				t.Errorf("revocations of gone: %v", revoked)
			}
			bySerial := of(rows, func(r store.Revocation) bool { return r.Serial.Cmp(big.NewInt(123456)) == 0 })
			if len(bySerial) != 1 || bySerial[0].KeyID != nil {
				t.Errorf("revocations by serial: %v", bySerial)
			}
			received := of(rows, func(c store.Counter) bool { return c.Name == store.CounterReceivedCSR })
			if len(received) != 2 || received[0].Value != 5 || received[1].Value != 4 {
				t.Errorf("requests received: %v", received)
			}
			waiting := of(rows, func(r store.Request) bool { return r.Authority == store.Services })
			if len(waiting) != 1 || waiting[0].Subject != "CN=waiting" || !waiting[0].ReceivedAt.Equal(now) {
				t.Errorf("pending: %v", waiting)
			}
		})
	}
}

// A database that 0.9.17 has begun to use after 0.9.8 has tables of both.
func TestLayoutsMayBeMixed(t *testing.T) {
	path := caucasetest.Unpack(t, "0.9.8", t.TempDir())
	change(t, path, "CREATE TABLE cauconfig (name TEXT PRIMARY KEY, value TEXT)", "INSERT INTO cauconfig VALUES ('crl_last_update', '1795272399')")
	db, err := Read(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	rowsOf(t, db, caucasetest.MadeAt(t, "0.9.8"))
}

// The number of an old layout's list counts even if its counter is behind.
func TestListNumberOfOldLayout(t *testing.T) {
	path := caucasetest.Unpack(t, "0.9.8", t.TempDir())
	change(t, path, "DELETE FROM cascounter WHERE name = 'crl_number'")
	db, err := Read(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	rowsOf(t, db, caucasetest.MadeAt(t, "0.9.8"))
	if got := db.Report().Authorities[1].CRLNumber; got != 5 {
		t.Errorf("the next list has number %d, the last one had 4", got)
	}
}

func TestSuccessionIsSignedAnew(t *testing.T) {
	db, err := Read(t.Context(), caucasetest.Unpack(t, "rolled", t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	rows := rowsOf(t, db, caucasetest.MadeAt(t, "rolled"))
	for _, name := range []store.AuthorityName{store.Users, store.Services} {
		cas := of(rows, func(c store.CA) bool { return c.Authority == name })
		if len(cas) != 2 || cas[0].Link != nil || cas[1].ID <= cas[0].ID || !cas[1].CreatedAt.After(cas[0].CreatedAt) {
			t.Fatalf("%s: %v", name, cas)
		}
		var theirs []json.RawMessage
		if err := json.Unmarshal(caucasetest.Read(t, "rolled/"+string(name)+".chain.json"), &theirs); err != nil {
			t.Fatal(err)
		}
		want, got := payloadOf(t, cas[0], theirs[0]), payloadOf(t, cas[0], cas[1].Link)
		if want != got {
			t.Errorf("%s: the link says\n%s\nand caucase's\n%s", name, got, want)
		}
	}
	lists, err := pki.ParseCRLsPEM(caucasetest.Read(t, "rolled/cas.crls.pem"))
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range lists {
		if next := db.Report().Authorities[1].CRLNumber; l.Number.Int64() >= next {
			t.Errorf("caucase has published list %s, the next is %d", l.Number, next)
		}
	}
}

// payloadOf verifies a link with its CA's key and returns what it says.
func payloadOf(t *testing.T, signer store.CA, link []byte) envelope.Link {
	t.Helper()
	e, err := envelope.Parse(link)
	if err != nil {
		t.Fatal(err)
	}
	crt, err := x509.ParseCertificate(signer.Certificate)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Verify(crt.PublicKey); err != nil {
		t.Fatal(err)
	}
	l, err := envelope.DecodeLink(e.Payload())
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestUnusableRows(t *testing.T) {
	weak := pemOf(t, "weak.csr.pem")
	for name, tc := range map[string]struct {
		sql  []string
		bad  string // what the refusal says; "" when the database is taken as it is
		note string // or what the report says then
	}{
		"garbage for a request":       {[]string{"UPDATE cascrt SET csr = 'x' WHERE crt IS NULL"}, "cascrt row", ""},
		"request of a weak key":       {[]string{"UPDATE cascrt SET csr = '" + weak + "' WHERE crt IS NULL"}, "1024 bits", ""},
		"the same request twice":      {[]string{"INSERT INTO cascrt SELECT 5, key_id, NULL, csr || char(10), NULL FROM cascrt WHERE crt IS NULL"}, "waits twice", ""},
		"id zero":                     {[]string{"UPDATE cascrt SET id = 0 WHERE crt IS NULL"}, "(id 0)", ""},
		"garbage for a certificate":   {[]string{"UPDATE caucrt SET crt = 'x' WHERE crt IS NOT NULL"}, "caucrt row 1", ""},
		"certificate of another CA":   {[]string{"UPDATE caucrt SET crt = (SELECT crt FROM cascrt WHERE crt IS NOT NULL LIMIT 1) WHERE id = (SELECT min(id) FROM caucrt)"}, "none of the CA certificates has issued it", ""},
		"the same certificate twice":  {[]string{"INSERT INTO cascrt SELECT 5, key_id, expiration_date, csr, crt FROM cascrt WHERE crt IS NOT NULL LIMIT 1"}, "the same serial number", ""},
		"serial in letters":           {[]string{"INSERT INTO casrevoked VALUES ('0x12', 1795272328, 1805959130)"}, `serial "0x12"`, ""},
		"serial too long":             {[]string{"INSERT INTO casrevoked VALUES ('1" + strings.Repeat("0", 50) + "', 1795272328, 1805959130)"}, "longer than 20 bytes", ""},
		"revoked before 1970":         {[]string{"INSERT INTO casrevoked VALUES ('12', -5, 1805959130)"}, "-5 is not a date", ""},
		"revoked after 9999":          {[]string{"INSERT INTO casrevoked VALUES ('12', 999999999999, 999999999999)"}, "revocation date", ""},
		"expires before 1970":         {[]string{"INSERT INTO casrevoked VALUES ('12', 1795272328, -1)"}, "expiration date", ""},
		"serial zero":                 {[]string{"INSERT INTO casrevoked VALUES ('0', 1795272328, 1805959130)"}, "", "serial 0x0 is left out"},
		"negative serial":             {[]string{"INSERT INTO casrevoked VALUES ('-5', 1795272328, 1805959130)"}, "", "serial -0x5 is left out"},
		"serial in two spellings":     {[]string{"INSERT INTO casrevoked VALUES ('00123456', 1795272328, 1805959130)"}, "", "revoked twice"},
		"request without a signature": {[]string{"UPDATE cascrt SET csr = NULL WHERE crt IS NULL"}, "cascrt row", ""},
		"certificate without request": {[]string{"UPDATE cascrt SET csr = NULL"}, "cascrt row", ""},
		"unknown counter":             {[]string{"INSERT INTO cascounter VALUES ('more', 5)"}, "", `"more"`},
		"unknown setting":             {[]string{"INSERT INTO casconfig_once VALUES ('more', 5)"}, "", `"more"`},
	} {
		t.Run(name, func(t *testing.T) {
			path := caucasetest.Unpack(t, "0.9.17", t.TempDir())
			change(t, path, tc.sql...)
			db, err := Read(t.Context(), path)
			if err != nil {
				t.Fatal(err)
			}
			rows, err := collect(db, caucasetest.MadeAt(t, "0.9.17"))
			if tc.bad == "" {
				if err != nil || len(rows) == 0 || !strings.Contains(strings.Join(db.Report().Notes, "\n"), tc.note) {
					t.Fatalf("%v, notes %q", err, db.Report().Notes)
				}
				return
			}
			var bad *caucase.BadRowsError
			if !errors.As(err, &bad) || !errors.Is(err, caucase.ErrNotCaucase) || !strings.Contains(err.Error(), tc.bad) {
				t.Fatalf("%v", err)
			}
			again, err := Read(t.Context(), path)
			if err != nil {
				t.Fatal(err)
			}
			again.SkipBadRows = true
			left := rowsOf(t, again, caucasetest.MadeAt(t, "0.9.17"))
			if len(again.Report().LeftOut) != len(bad.Rows) || len(left) == 0 {
				t.Errorf("left out: %v", again.Report().LeftOut)
			}
		})
	}
}

// What makes the whole worthless is not left out.
func TestUnusableCAs(t *testing.T) {
	for name, tc := range map[string]struct{ sql, want string }{
		"garbage":            {"UPDATE casca SET crt = 'x'", "casca row 1"},
		"no key":             {"UPDATE casca SET key = X''", "casca row 1"},
		"another's key":      {"UPDATE casca SET key = (SELECT key FROM cauca)", "do not belong together"},
		"one key twice":      {"INSERT INTO casca SELECT * FROM casca", "have the same key"},
		"not a CA":           {"UPDATE casca SET crt = (SELECT crt FROM cascrt WHERE crt IS NOT NULL LIMIT 1)", "casca row 1"},
		"lock is not number": {"UPDATE casconfig_once SET value = 'x'", `"x", not a count`},
		"negative counter":   {"UPDATE cascounter SET value = -1", "is -1"},
		"counter at its end": {"UPDATE cascounter SET value = 9223372036854775807", "is 9223372036854775807"},
	} {
		t.Run(name, func(t *testing.T) {
			path := caucasetest.Unpack(t, "0.9.17", t.TempDir())
			change(t, path, tc.sql)
			db, err := Read(t.Context(), path)
			if err != nil {
				t.Fatal(err)
			}
			db.SkipBadRows = true
			_, err = collect(db, caucasetest.MadeAt(t, "0.9.17"))
			if !errors.Is(err, caucase.ErrNotCaucase) || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "PRIVATE") {
				t.Errorf("%v", err)
			}
		})
	}
}

// Caucase's clients go on with a CA that ours do not trust: that is told.
func TestCAThatClientsRefuse(t *testing.T) {
	path, now := caucasetest.Unpack(t, "0.9.17", t.TempDir()), caucasetest.MadeAt(t, "0.9.17")
	db, err := Read(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range rowsOf(t, db, now) {
		v, ok := row.(store.CA)
		if !ok || v.Authority != store.Services {
			continue
		}
		key, err := x509.ParsePKCS8PrivateKey(v.Key.Ref)
		if err != nil {
			t.Fatal(err)
		}
		crt, err := x509.ParseCertificate(v.Certificate)
		if err != nil {
			t.Fatal(err)
		}
		crt.KeyUsage, crt.ExtraExtensions = x509.KeyUsageCertSign, nil
		again := pkitest.Certificate(t, crt, crt, crt.PublicKey, key.(crypto.Signer))
		change(t, path, fmt.Sprintf("UPDATE casca SET crt = X'%X'", pkitest.PEM(again)))
	}
	again, err := Read(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	rowsOf(t, again, now)
	if notes := strings.Join(again.Report().Notes, "\n"); !strings.Contains(notes, "cas: cauase and its agent will not trust") {
		t.Errorf("%q", notes)
	}
	rowsOf(t, db, now)
	if notes := db.Report().Notes; len(notes) > 0 {
		t.Errorf("%q", notes)
	}
}

// A CA that caucase has dropped takes with it what has expired, and nothing else.
func TestCertificatesOfDroppedCAs(t *testing.T) {
	path := caucasetest.Unpack(t, "rolled", t.TempDir())
	change(t, path, "DELETE FROM casca WHERE expiration_date = (SELECT min(expiration_date) FROM casca)")
	db, err := Read(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := collect(db, caucasetest.MadeAt(t, "rolled")); err == nil || !strings.Contains(err.Error(), "none of the CA certificates") {
		t.Errorf("valid certificates without a CA: %v", err)
	}
	rowsOf(t, db, caucasetest.MadeAt(t, "rolled").AddDate(0, 0, 1))
	if got := db.Report().Authorities[1]; got.Forgotten == 0 || got.Links != 0 || got.CAs != 1 {
		t.Errorf("%+v", got)
	}
}

func TestClockIsBehind(t *testing.T) {
	db, err := Read(t.Context(), caucasetest.Unpack(t, "0.9.17", t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := collect(db, caucasetest.MadeAt(t, "0.9.17").AddDate(0, 0, -1)); !errors.Is(err, caucase.ErrNotCaucase) || !strings.Contains(err.Error(), "is the clock right?") {
		t.Errorf("%v", err)
	}
}

func TestNeverUsed(t *testing.T) {
	path := caucasetest.Unpack(t, "0.9.17", t.TempDir())
	var statements []string
	for _, prefix := range []string{"cau", "cas", "http_cas"} {
		for _, kind := range []string{"ca", "crt", "revoked", "counter", "config_once"} {
			statements = append(statements, "DELETE FROM "+prefix+kind)
		}
	}
	change(t, path, statements...)
	db, err := Read(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := collect(db, caucasetest.MadeAt(t, "0.9.17")); !errors.Is(err, caucase.ErrNotCaucase) {
		t.Errorf("%v", err)
	}
}

func pemOf(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
