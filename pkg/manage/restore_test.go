package manage

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"cauase/pkg/archive"
	"cauase/pkg/audit"
	"cauase/pkg/backup"
	"cauase/pkg/ca"
	"cauase/pkg/ca/catest"
	"cauase/pkg/clock"
	"cauase/pkg/dump"
	"cauase/pkg/envelope"
	"cauase/pkg/pki"
	"cauase/pkg/store"
	"cauase/pkg/store/sqlstore"
	"cauase/pkg/testkit/envelopetest"
	"cauase/pkg/testkit/pkitest"
)

var start = time.Date(2026, 5, 1, 10, 0, 0, 0, time.UTC)

// A site is a CA with users, of which alice has the key.
type site struct {
	t     *testing.T
	clock *clock.Fake
	store store.Store
	users *ca.Authority
	key   crypto.Signer
	alice *x509.Certificate
	dir   string
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{t: t, clock: clock.NewFake(start), store: newStore(t), dir: t.TempDir()}
	s.users = openAuthority(t, s.store, s.clock, store.Users)
	openAuthority(t, s.store, s.clock, store.Services)
	s.key, s.alice = s.enrol(s.users, "alice")
	return s
}

func (s *site) enrol(a *ca.Authority, name string) (crypto.Signer, *x509.Certificate) {
	s.t.Helper()
	key := pkitest.Key(s.t)
	crt, _ := catest.Issue(s.t, a, s.request(key, name).PEM)
	return key, crt
}

func (s *site) request(key crypto.Signer, name string) *pki.Request {
	s.t.Helper()
	return pkitest.ParsedRequest(s.t, key, pkitest.Named(name))
}

// backup takes one, and returns its path.
func (s *site) backup() string {
	s.t.Helper()
	return must[archive.Backup](s.t)(archive.Take(s.t.Context(), s.store, s.clock, "test", s.dir)).Path
}

func sealedFile(path string, key crypto.Signer) Sealed {
	return Sealed{Open: func() (io.ReadCloser, error) { return os.Open(path) }, Key: key}
}

func sealedBytes(data []byte, key crypto.Signer) Sealed {
	return Sealed{Open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil }, Key: key}
}

// seal encrypts a text to a key, as anybody could.
func seal(t testing.TB, key crypto.Signer, text []byte) Sealed {
	t.Helper()
	var out bytes.Buffer
	w := must[*backup.Writer](t)(backup.Create(&out, []crypto.PublicKey{key.Public()}))
	must[int](t)(w.Write(text))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return sealedBytes(out.Bytes(), key)
}

// sealRows encrypts rows, however strange.
func sealRows(t testing.TB, key crypto.Signer, rows []store.Row) Sealed {
	t.Helper()
	var text bytes.Buffer
	_, err := dump.Write(&text, dump.Meta{Created: start, Software: "test"}, func(fn func(store.Row) error) error {
		for _, row := range rows {
			if err := fn(row); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return seal(t, key, text.Bytes())
}

func wantEmpty(t testing.TB, st store.Store) {
	t.Helper()
	if rows := rowsOf(t, st); len(rows) > 0 {
		t.Errorf("%d rows where nothing was to be left", len(rows))
	}
}

func TestRestore(t *testing.T) {
	s := newSite(t)
	ctx := t.Context()
	services := openAuthority(t, s.store, s.clock, store.Services)
	webKey, web := s.enrol(services, "web.example")
	number := must[catest.Lists](t)(catest.Wired(services).CRLs(ctx)).Number
	// A claim as it stands while a backup is taken.
	err := s.store.Update(ctx, func(tx store.Tx) error { return tx.PutSetting(ctx, "", store.SettingBackupClaim, "{}") })
	if err != nil {
		t.Fatal(err)
	}
	path := s.backup()
	s.clock.Advance(time.Hour)

	contents, err := Inspect(ctx, s.clock.Now(), sealedFile(path, s.key), nil)
	if err != nil || contents.User != "CN=alice" || len(contents.Users) != 1 || len(contents.CAs) != 2 || !contents.Created.Equal(start) || contents.Format != FormatRows {
		t.Errorf("inspected: %+v %v", contents, err)
	}

	st := newStore(t)
	next := pkitest.Key(t)
	var staged []byte
	restored, err := Restore(ctx, st, s.clock, Restoration{
		Backup: sealedFile(path, s.key), Request: s.request(next, "somebody.example"),
		Stage: func(crtPEM []byte) error { staged = crtPEM; return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	crt := must[*x509.Certificate](t)(pki.ParseCertificatePEM(restored.Certificate))
	if !bytes.Equal(staged, restored.Certificate) || pki.SubjectString(crt.RawSubject) != "CN=alice" || !pki.SameKey(crt.PublicKey, next.Public()) ||
		restored.Revoked != pki.FormatSerial(s.alice.SerialNumber) || restored.Decimal != s.alice.SerialNumber.String() || crt.NotAfter.Sub(s.clock.Now()).Round(time.Hour) != 93*day {
		t.Errorf("the new certificate: %v until %v", crt.Subject, crt.NotAfter)
	}
	users := openAuthority(t, st, s.clock, store.Users)
	if _, err := users.Authenticate(ctx, audit.Actor{Kind: audit.Anonymous}, crt); err != nil {
		t.Errorf("the new certificate: %v", err)
	}
	if _, err := users.Authenticate(ctx, audit.Actor{Kind: audit.Anonymous}, s.alice); !errors.Is(err, ca.ErrUnauthorized) {
		t.Errorf("the old certificate: %v", err)
	}
	// What was issued before goes on.
	again := openAuthority(t, st, s.clock, store.Services)
	must[[]byte](t)(catest.Wired(again).Renew(ctx, audit.Actor{Kind: audit.Anonymous}, envelopetest.Parse(t, envelopetest.Renewal(t, web, webKey, pkitest.HostRequest(t, "x.example").PEM))))
	if list := must[catest.Lists](t)(catest.Wired(again).CRLs(ctx)); list.Number < number+crlJump {
		t.Errorf("list %d after %d", list.Number, number)
	}
	for _, row := range rowsOf(t, st) {
		if setting, ok := row.(store.Setting); ok && strings.HasPrefix(setting.Name, "backup") {
			t.Errorf("setting %s was restored", setting.Name)
		}
	}
	if checked, err := Check(ctx, st, s.clock.Now(), func(f Finding) { t.Errorf("%+v", f) }, nil); err != nil || checked.Errors > 0 {
		t.Errorf("check: %+v %v", checked, err)
	}
	err = st.View(ctx, func(r store.Reader) error {
		log, err := r.Log(ctx)
		if err == nil && (log.Epoch != 2 || !strings.Contains(log.Epochs, `"epoch":2`)) {
			t.Errorf("the log does not say that it was restored: %d, %s", log.Epoch, log.Epochs)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	// A second one in the same place.
	if _, err := Restore(ctx, st, s.clock, Restoration{Backup: sealedFile(path, s.key), Request: s.request(pkitest.Key(t), "x.example")}); !errors.Is(err, store.ErrExists) {
		t.Errorf("again: %v", err)
	}
	if lost := restored.Lost(s.clock.Now()); len(lost) != 5 || !strings.Contains(lost[0], "2026-05-01T10:00:00Z") {
		t.Errorf("%q", lost)
	}
}

// A backup outlives certificates: two years later it restores nevertheless, even with a CA that has expired.
func TestRestoreOld(t *testing.T) {
	s := newSite(t)
	path := s.backup()
	for _, later := range []time.Duration{100 * day, 200 * day, 3 * 365 * day} {
		s.clock.Set(start.Add(later))
		st := newStore(t)
		restored, err := Restore(t.Context(), st, s.clock, Restoration{Backup: sealedFile(path, s.key), Request: s.request(pkitest.Key(t), "x.example")})
		if err != nil {
			t.Errorf("after %v: %v", later, err)
			continue
		}
		users := openAuthority(t, st, s.clock, store.Users)
		crt := must[*x509.Certificate](t)(pki.ParseCertificatePEM(restored.Certificate))
		if _, err := users.Authenticate(t.Context(), audit.Actor{Kind: audit.Anonymous}, crt); err != nil {
			t.Errorf("after %v: %v", later, err)
		}
		if expired := len(restored.Lost(s.clock.Now())) > 5; expired != (later > 372*day) {
			t.Errorf("after %v: %q", later, restored.Lost(s.clock.Now()))
		}
		// Another validity, as the daemon is run with.
		st = newStore(t)
		restored, err = Restore(t.Context(), st, s.clock, Restoration{Backup: sealedFile(path, s.key), Request: s.request(pkitest.Key(t), "x.example"), Span: day})
		if err != nil {
			t.Errorf("after %v: %v", later, err)
			continue
		}
		crt = must[*x509.Certificate](t)(pki.ParseCertificatePEM(restored.Certificate))
		if crt.NotAfter.Sub(s.clock.Now()) > day {
			t.Errorf("after %v: valid until %v", later, crt.NotAfter)
		}
	}
}

// Whatever is wrong with what is given: a refusal, and nothing restored, and a drill says the same.
func TestRestoreRefuses(t *testing.T) {
	s := newSite(t)
	ctx := t.Context()
	bob, bobs := s.enrol(s.users, "bob")
	path := s.backup()
	data := must[[]byte](t)(os.ReadFile(path))
	rows := rowsOf(t, s.store)
	change := func(fn func(store.Row) store.Row) []store.Row {
		var out []store.Row
		for _, row := range rows {
			if row = fn(row); row != nil {
				out = append(out, row)
			}
		}
		return out
	}
	withCA := func(fn func(*store.CA)) []store.Row {
		return change(func(row store.Row) store.Row {
			if c, ok := row.(store.CA); ok && c.Authority == store.Users {
				fn(&c)
				return c
			}
			return row
		})
	}
	flip := func(at int) []byte {
		out := bytes.Clone(data)
		out[at] ^= 1
		return out
	}
	otherKey := must[[]byte](t)(x509.MarshalPKCS8PrivateKey(pkitest.Key(t)))
	if err := catest.Wired(s.users).RevokeByUser(ctx, audit.Actor{Kind: audit.Operator}, envelope.Revocation{Serial: bobs.SerialNumber}); err != nil {
		t.Fatal(err)
	}
	revoked := rowsOf(t, s.store)

	for name, c := range map[string]struct {
		from Sealed
		csr  *pki.Request
		want error
	}{
		"the same key":          {from: sealedFile(path, s.key), csr: s.request(s.key, "x.example"), want: ca.ErrKeyKept},
		"another user's key":    {from: sealedFile(path, s.key), csr: s.request(bob, "x.example"), want: ca.ErrConflict},
		"no recipient":          {from: sealedFile(path, pkitest.Key(t)), want: backup.ErrNotRecipient},
		"not there":             {from: sealedFile(path+"x", s.key), want: os.ErrNotExist},
		"a directory":           {from: sealedFile(s.dir, s.key), want: syscall.EISDIR},
		"empty":                 {from: sealedBytes(nil, s.key), want: backup.ErrNotBackup},
		"something else":        {from: sealedBytes([]byte("SQLite format 3\x00"), s.key), want: backup.ErrNotBackup},
		"cut in its header":     {from: sealedBytes(data[:50], s.key), want: backup.ErrNotBackup},
		"cut at its end":        {from: sealedBytes(data[:len(data)-16], s.key), want: backup.ErrDamaged},
		"cut by a byte":         {from: sealedBytes(data[:len(data)-1], s.key), want: backup.ErrDamaged},
		"flipped at its end":    {from: sealedBytes(flip(len(data)-1), s.key), want: backup.ErrDamaged},
		"flipped in the middle": {from: sealedBytes(flip(len(data)/2), s.key), want: backup.ErrDamaged},
		"appended to":           {from: sealedBytes(append(bytes.Clone(data), data...), s.key), want: backup.ErrDamaged},
		"of nothing known":      {from: seal(t, s.key, []byte("hello")), want: ErrContent},
		"of nothing":            {from: seal(t, s.key, nil), want: ErrContent},
		"of half the rows":      {from: seal(t, s.key, halfOf(t, rows)), want: dump.ErrInvalid},
		"of no rows":            {from: sealRows(t, s.key, nil), want: ErrNotUser},
		"without the user":      {from: sealRows(t, pkitest.Key(t), rows), want: ErrNotUser},
		"of a revoked user":     {from: sealRows(t, bob, revoked), want: ErrUserRevoked},
		"a CA that is none":     {from: sealRows(t, s.key, withCA(func(c *store.CA) { c.Certificate = []byte("x") })), want: ca.ErrDamaged},
		"a CA with junk as key": {from: sealRows(t, s.key, withCA(func(c *store.CA) { c.Key.Ref = []byte("x") })), want: ca.ErrDamaged},
		"a CA with another key": {from: sealRows(t, s.key, withCA(func(c *store.CA) { c.Key.Ref = otherKey })), want: ca.ErrDamaged},
		"a user with another's certificate": {from: sealRows(t, s.key, change(func(row store.Row) store.Row {
			if c, ok := row.(store.Certificate); ok && c.Serial.Cmp(s.alice.SerialNumber) == 0 {
				c.DER = bobs.Raw
				return c
			}
			return row
		})), want: ca.ErrDamaged},
		"a number near the end of all": {from: sealRows(t, s.key, numbered(rows, maxRestored)), want: ca.ErrDamaged},
	} {
		t.Run(name, func(t *testing.T) {
			st := newStore(t)
			csr := c.csr
			if csr == nil {
				csr = s.request(pkitest.Key(t), "x.example")
			}
			_, err := Restore(ctx, st, s.clock, Restoration{Backup: c.from, Request: csr})
			if err == nil || c.want != errAny && !errors.Is(err, c.want) {
				t.Errorf("error %v, want %v", err, c.want)
			}
			wantEmpty(t, st)
			if c.csr != nil {
				return
			}
			if _, err := Drill(ctx, newStore(t), s.clock, c.from, nil, func(Proof) {}); err == nil && !strings.Contains(name, "number near") {
				t.Error("a drill succeeds")
			}
		})
	}
}

// errAny stands for any error.
var errAny = errors.New("any")

// numbered has the revocation lists of users begin at n.
func numbered(rows []store.Row, n int64) []store.Row {
	var out []store.Row
	for _, row := range rows {
		if c, ok := row.(store.Counter); ok && c.Authority == store.Users && c.Name == store.CounterCRLNumber {
			continue
		}
		if c, ok := row.(store.Counter); ok && c.Authority == store.Users && c.Name == store.CounterReceivedCSR {
			out = append(out, store.Counter{Authority: store.Users, Name: store.CounterCRLNumber, Value: n})
		}
		out = append(out, row)
	}
	return out
}

// halfOf is a stream that ends too early.
func halfOf(t *testing.T, rows []store.Row) []byte {
	t.Helper()
	var text bytes.Buffer
	_, err := dump.Write(&text, dump.Meta{Created: start}, func(fn func(store.Row) error) error {
		for _, row := range rows {
			if err := fn(row); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.SplitAfter(text.Bytes(), []byte("\n"))
	return bytes.Join(lines[:len(lines)/2], nil)
}

// What fails at the last moment leaves nothing, and so does an interruption.
func TestRestoreAllOrNothing(t *testing.T) {
	s := newSite(t)
	path := s.backup()
	ctx, cancel := context.WithCancel(t.Context())
	for name, c := range map[string]struct {
		ctx  context.Context
		in   Restoration
		want error
	}{
		"the certificate cannot be written": {t.Context(), Restoration{Stage: func([]byte) error { return syscall.ENOSPC }}, syscall.ENOSPC},
		"interrupted":                       {ctx, Restoration{Progress: func(_, _ string, rows int64) { cancel() }}, context.Canceled},
	} {
		st := newStore(t)
		c.in.Backup, c.in.Request = sealedFile(path, s.key), s.request(pkitest.Key(t), "x.example")
		if _, err := Restore(c.ctx, st, s.clock, c.in); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
		wantEmpty(t, st)
	}
	if _, err := Inspect(ctx, s.clock.Now(), sealedFile(path, s.key), nil); !errors.Is(err, context.Canceled) {
		t.Errorf("inspecting: %v", err)
	}
}

const (
	crashAt     = "CAUASE_TEST_RESTORE_CRASH"
	crashTarget = "CAUASE_TEST_RESTORE_DB"
	crashBackup = "CAUASE_TEST_RESTORE_BACKUP"
	crashKey    = "CAUASE_TEST_RESTORE_KEY"
)

// Killed at any step, a restore leaves an empty database, into which it can be done again; after the
// commit, a complete one.
func TestRestoreCrash(t *testing.T) {
	if at := os.Getenv(crashAt); at != "" {
		crash(t, at)
		return
	}
	s := newSite(t)
	path := s.backup()
	keyPath := filepath.Join(s.dir, "key")
	if err := os.WriteFile(keyPath, must[[]byte](t)(pki.EncodePrivateKeyPEM(s.key)), 0o600); err != nil {
		t.Fatal(err)
	}
	steps := []string{"stage", "committed"}
	for row := range len(rowsOf(t, s.store)) {
		steps = append(steps, fmt.Sprintf("row %d", row+1))
	}
	for _, at := range steps {
		t.Run(at, func(t *testing.T) {
			target := filepath.Join(t.TempDir(), "db.sqlite")
			cmd := exec.Command(os.Args[0], "-test.run=^TestRestoreCrash$")
			cmd.Env = append(os.Environ(), crashAt+"="+at, crashTarget+"="+target, crashBackup+"="+path, crashKey+"="+keyPath)
			out, err := cmd.CombinedOutput()
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
				t.Fatalf("not killed: %v\n%s", err, out)
			}
			st := openStore(t, target)
			_, err = Restore(t.Context(), st, s.clock, Restoration{Backup: sealedFile(path, s.key), Request: s.request(pkitest.Key(t), "x.example")})
			if at == "committed" {
				if !errors.Is(err, store.ErrExists) {
					t.Errorf("a second one: %v", err)
				}
			} else if err != nil {
				t.Errorf("a second one: %v", err)
			}
			if checked, err := Check(t.Context(), st, s.clock.Now(), func(f Finding) { t.Errorf("%+v", f) }, nil); err != nil || checked.Errors > 0 {
				t.Errorf("check: %+v %v", checked, err)
			}
		})
	}
}

func crash(t *testing.T, at string) {
	die := func() {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
	st, err := sqlstore.Open(t.Context(), os.Getenv(crashTarget), sqlstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	data := must[[]byte](t)(os.ReadFile(os.Getenv(crashKey)))
	key := must[crypto.Signer](t)(ReadHolderKey(File{"key", data}, nil))
	_, err = Restore(t.Context(), st, clock.NewFake(start), Restoration{
		Backup: sealedFile(os.Getenv(crashBackup), key), Request: pkitest.HostRequest(t, "x.example"),
		Stage: func([]byte) error {
			if at == "stage" {
				die()
			}
			return nil
		},
		Progress: func(_, _ string, rows int64) {
			if at == fmt.Sprintf("row %d", rows) {
				die()
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	die()
}

func TestReadHolderKey(t *testing.T) {
	key := pkitest.Key(t)
	plain := must[[]byte](t)(pki.EncodePrivateKeyPEM(key))
	crt := pki.EncodeCertificatePEM([]byte("not looked at"))
	//lint:ignore SA1019 as openssl wrote them
	block := must[*pem.Block](t)(x509.EncryptPEMBlock(rng{}, "EC PRIVATE KEY", sec1(t, key), []byte("right"), x509.PEMCipherAES256))
	encrypted := pem.EncodeToMemory(block)
	ask := func(answer string) AskPassphrase {
		return func(string) ([]byte, error) { return []byte(answer), nil }
	}
	for name, c := range map[string]struct {
		data []byte
		ask  AskPassphrase
		want string
	}{
		"key":              {plain, nil, ""},
		"key, certificate": {append(bytes.Clone(plain), crt...), nil, ""},
		"certificate, key": {append(bytes.Clone(crt), plain...), nil, ""},
		"encrypted":        {encrypted, ask("right"), ""},
		"wrong passphrase": {encrypted, ask("wrong"), "wrong passphrase"},
		"no passphrase":    {encrypted, ask(""), "wrong passphrase"},
		"nothing":          {nil, nil, "there is no private key"},
		"certificate":      {crt, nil, "there is no private key"},
		"two keys":         {append(bytes.Clone(plain), plain...), nil, "more than one"},
		"broken":           {[]byte("-----BEGIN PRIVATE KEY-----\nx"), nil, "f: "},
	} {
		got, err := ReadHolderKey(File{"f", c.data}, c.ask)
		switch {
		case c.want != "":
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: %v, want %s", name, err, c.want)
			}
		case err != nil || !pki.SameKey(got.Public(), key.Public()):
			t.Errorf("%s: %v", name, err)
		}
	}
}
