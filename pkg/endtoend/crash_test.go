package endtoend

import (
	"bytes"
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/big"
	mathrand "math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/client"
	"cauase/pkg/clock"
	"cauase/pkg/pki"
	"cauase/pkg/store"
	"cauase/pkg/store/sqlstore"
	"cauase/pkg/testkit/pkitest"
)

var (
	crashSeed   = flag.Uint64("crash.seed", 0, "seed of TestCrash, 0 for a new one")
	crashRounds = flag.Int("crash.rounds", 20, "how often TestCrash kills the daemon")
)

// TestCrash kills the daemon at any moment, again and again, while clients submit, sign,
// reject, renew and revoke as fast as they can. Whatever a client was told is done must be
// done after the restart, and nothing may be half done.
func TestCrash(t *testing.T) {
	t.Parallel()
	seed := *crashSeed
	if seed == 0 {
		seed = mathrand.Uint64()
	}
	t.Logf("repeat with -crash.seed %d", seed)
	random := mathrand.New(mathrand.NewPCG(seed, 0))
	c := newCrashTest(t)
	for round := range *crashRounds {
		c.start()
		c.checkLists()
		c.checkAcknowledged()
		// With nothing done in between, a crash changes nothing.
		if round%5 == 4 {
			cas, cau := c.list("cas"), c.list("cau")
			c.daemon.kill()
			c.start()
			if !bytes.Equal(cas, c.list("cas")) || !bytes.Equal(cau, c.list("cau")) {
				t.Error("a restart without a change made other revocation lists")
			}
		}
		c.load(round, 1+random.IntN(100), time.Duration(random.IntN(8000))*time.Microsecond)
		if t.Failed() {
			t.Fatalf("failed in round %d", round)
		}
	}
	c.start()
	c.checkLists()
	c.checkAcknowledged()
	if err := c.daemon.stop(); err != nil {
		t.Fatal(err)
	}
	c.checkDatabase()
	t.Logf("acknowledged in %d rounds: %d requests, %d signed, %d rejected, %d renewed, %d revoked",
		*crashRounds, len(c.submitted), len(c.signed), len(c.rejected), len(c.renewed), len(c.revoked))
	if len(c.signed) == 0 || len(c.renewed) == 0 || len(c.revoked) == 0 || len(c.rejected) == 0 {
		t.Error("something was never done, so that this test has not tested it")
	}
}

// A holding is a certificate and its key.
type holding struct {
	crt *x509.Certificate
	key crypto.Signer
}

// A crashTest records what the daemon has acknowledged.
type crashTest struct {
	t       *testing.T
	dir     string
	netloc  string
	daemon  *daemon
	user    tls.Certificate
	trusted []*x509.Certificate // of services

	mu        sync.Mutex
	submitted map[client.ID][]byte // PEM
	signed    map[client.ID]bool
	rejected  map[client.ID]bool
	rejecting map[client.ID]bool // was asked for
	renewed   []*x509.Certificate
	revoked   map[string]bool   // serials, decimal
	lists     map[string][]byte // by number: the lists of services anybody has seen
	highest   *big.Int          // of these numbers
	users     []byte            // the list of users, with which nothing happens
}

func newCrashTest(t *testing.T) *crashTest {
	netloc, err := freeNetloc()
	if err != nil {
		t.Fatal(err)
	}
	c := &crashTest{t: t, dir: t.TempDir(), netloc: netloc, submitted: map[client.ID][]byte{},
		signed: map[client.ID]bool{}, rejected: map[client.ID]bool{}, rejecting: map[client.ID]bool{}, revoked: map[string]bool{}, lists: map[string][]byte{}, highest: new(big.Int)}
	t.Cleanup(func() {
		if c.daemon != nil && c.daemon.running() {
			c.daemon.kill()
		}
	})
	c.start()
	c.becomeUser()
	trust, err := c.client(client.CAS).UpdateTrust(t.Context(), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	c.trusted = trust.CAs
	c.daemon.kill()
	return c
}

func (c *crashTest) start() {
	c.t.Helper()
	d, err := startDaemon(c.dir, c.netloc, os.Environ(), "--service-max-csr", "1000000", "--log-level", "warn")
	if err != nil {
		c.t.Fatalf("cauased does not come back: %v", err)
	}
	c.daemon = d
}

func (c *crashTest) client(authority client.Authority) *client.Client {
	service, err := client.New(client.Options{
		URL: "http://" + c.netloc, Authority: authority, Clock: clock.System(), UserAgent: "endtoend", Timeout: deadline,
	})
	if err != nil {
		c.t.Fatal(err)
	}
	return service
}

func (c *crashTest) becomeUser() {
	ctx, users := c.t.Context(), c.client(client.CAU)
	request, key := newCSR(c.t, "alice")
	id, err := users.Submit(ctx, request)
	if err != nil {
		c.t.Fatal(err)
	}
	crt, err := users.Certificate(ctx, id)
	if err != nil {
		c.t.Fatal(err)
	}
	c.user = tls.Certificate{Certificate: [][]byte{crt.Raw}, PrivateKey: key, Leaf: crt}
}

func newCSR(t testing.TB, cn string) ([]byte, crypto.Signer) {
	t.Helper()
	key := pkitest.Key(t)
	return pkitest.NamedRequest(t, key, cn), key
}

// load lets clients work until so many operations were acknowledged, and a moment longer,
// then kills the daemon.
func (c *crashTest) load(round, operations int, moment time.Duration) {
	const workers = 4
	acknowledged := make(chan struct{}, 1000)
	ctx, cancel := context.WithTimeout(c.t.Context(), deadline)
	defer cancel()
	var all sync.WaitGroup
	for worker := range workers {
		all.Go(func() { c.work(ctx, fmt.Sprintf("%d-%d", round, worker), round+worker, acknowledged) })
	}
	all.Go(c.watchList)
	for range operations {
		select {
		case <-acknowledged:
		case <-ctx.Done():
			c.t.Error("operations are not acknowledged")
		}
	}
	// Within which step of an operation that is depends on the moment.
	<-time.After(moment)
	c.daemon.kill()
	all.Wait()
}

// watchList fetches the list of services until the daemon is gone.
func (c *crashTest) watchList() {
	for {
		resp, err := http.Get("http://" + c.netloc + "/cas/crl")
		if err != nil {
			return
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil {
			return
		}
		if resp.StatusCode != http.StatusOK {
			c.t.Errorf("GET /cas/crl: %s", resp.Status)
			return
		}
		c.sawList(body)
	}
}

// sawList makes sure that a number stands for one list only, and that numbers only grow.
func (c *crashTest) sawList(body []byte) *x509.RevocationList {
	crl, err := pki.ParseCRLPEM(body)
	if err != nil {
		c.t.Errorf("GET /cas/crl: %v", err)
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	number := crl.Number.String()
	if other, seen := c.lists[number]; seen && !bytes.Equal(other, body) {
		c.t.Errorf("there are two revocation lists with the number %s", number)
	}
	if crl.Number.Cmp(c.highest) < 0 {
		c.t.Errorf("the CRL number goes down, from %v to %s", c.highest, number)
	}
	c.lists[number], c.highest = body, crl.Number
	return crl
}

// work does one thing after the other, beginning with the n-th, until the daemon is gone.
func (c *crashTest) work(ctx context.Context, name string, n int, acknowledged chan<- struct{}) {
	service := c.client(client.CAS)
	defer service.Close()
	session, err := service.Connect(ctx, c.user, c.trusted, client.Caucase{})
	if err != nil {
		c.failed(err)
		return
	}
	defer session.Close()
	done := func(err error, record func()) bool {
		if err != nil {
			c.failed(err)
			return false
		}
		c.mu.Lock()
		record()
		c.mu.Unlock()
		select {
		case acknowledged <- struct{}{}:
		default:
		}
		return true
	}
	for ; ; n++ {
		request, key := newCSR(c.t, fmt.Sprintf("host-%s-%d", name, n))
		id, err := service.Submit(ctx, request)
		if !done(err, func() { c.submitted[id] = request }) {
			return
		}
		if n%4 == 3 {
			c.mu.Lock()
			c.rejecting[id] = true
			c.mu.Unlock()
			if !done(session.Reject(ctx, id, nil), func() { c.rejected[id] = true }) {
				return
			}
			continue
		}
		if !done(session.Approve(ctx, id, client.Approval{}), func() { c.signed[id] = true }) {
			return
		}
		crt, err := service.Certificate(ctx, id)
		if err != nil {
			c.failed(err)
			return
		}
		held := holding{crt, key}
		if n%2 == 1 {
			next, err := pki.KeyECDSAP256.Generate()
			if err != nil {
				c.t.Error(err)
				return
			}
			renewed, err := service.Renew(ctx, crt, key, next, c.trusted)
			if !done(err, func() { c.renewed = append(c.renewed, renewed) }) {
				return
			}
			held = holding{renewed, next}
		}
		if !c.giveUp(ctx, n, service, session, held, done) {
			return
		}
	}
}

// giveUp revokes a certificate, each time in another way.
func (c *crashTest) giveUp(ctx context.Context, n int, service *client.Client, session *client.Session, held holding, done func(error, func()) bool) bool {
	record := func() { c.revoked[held.crt.SerialNumber.String()] = true }
	switch n % 3 {
	case 0:
		return done(service.Revoke(ctx, held.crt, held.key, store.KeyCompromise), record)
	case 1:
		return done(session.RevokeSerial(ctx, held.crt.SerialNumber, 0), record)
	}
	return true
}

// failed accepts that a daemon which is being killed does not answer. It does not accept
// that it answers with a refusal.
func (c *crashTest) failed(err error) {
	var refused *client.StatusError
	if errors.As(err, &refused) || errors.Is(err, client.ErrUnknown) || errors.Is(err, client.ErrPending) {
		c.t.Errorf("the daemon refused what is right: %v", err)
	}
}

func (c *crashTest) get(path string) (int, []byte) {
	c.t.Helper()
	resp, err := http.Get("http://" + c.netloc + path)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return resp.StatusCode, body
}

func (c *crashTest) list(authority string) []byte {
	c.t.Helper()
	status, body := c.get("/" + authority + "/crl")
	if status != http.StatusOK {
		c.t.Fatalf("GET /%s/crl: %d", authority, status)
	}
	return body
}

// checkLists makes sure that the list of services holds every revocation that was
// acknowledged, and that the list of users has not changed.
func (c *crashTest) checkLists() {
	c.t.Helper()
	users := c.list("cau")
	if c.users != nil && !bytes.Equal(c.users, users) {
		c.t.Error("the users' revocation list has changed, and nothing has happened there")
	}
	c.users = users
	crl := c.sawList(c.list("cas"))
	if crl == nil {
		return
	}
	listed := map[string]bool{}
	for _, entry := range crl.RevokedCertificateEntries {
		listed[entry.SerialNumber.String()] = true
	}
	for serial := range c.revoked {
		if !listed[serial] {
			c.t.Errorf("revocation of serial %s was acknowledged and is lost", serial)
		}
	}
}

// checkAcknowledged asks the daemon for everything it said it has.
func (c *crashTest) checkAcknowledged() {
	c.t.Helper()
	for id, pem := range c.submitted {
		status, body := c.get("/cas/csr/" + id.String())
		switch {
		case c.rejected[id]:
			if status != http.StatusNotFound {
				c.t.Errorf("request %s was rejected and is back: %d", id, status)
			}
			continue
		case status == http.StatusNotFound && !c.undecided(id):
			c.t.Errorf("request %s was acknowledged and is lost", id)
		case status == http.StatusOK && !bytes.Equal(body, pem):
			c.t.Errorf("request %s has changed", id)
		}
		if !c.signed[id] {
			continue
		}
		if status, body := c.get("/cas/crt/" + id.String()); status != http.StatusOK {
			c.t.Errorf("certificate %s was acknowledged and is lost: %d", id, status)
		} else if _, err := pki.ParseCertificatePEM(body); err != nil {
			c.t.Errorf("certificate %s: %v", id, err)
		}
	}
}

// undecided reports whether the rejection of a request may have been under way when the
// daemon was killed, so that it may be there or not.
func (c *crashTest) undecided(id client.ID) bool { return c.rejecting[id] && !c.rejected[id] }

// checkDatabase looks at what a client cannot see: that the file is sound, and that every
// change is in the audit log, once, and that every such entry is about a change.
func (c *crashTest) checkDatabase() {
	path := filepath.Join(c.dir, "cauase.sqlite")
	checkIntegrity(c.t, path)
	db, err := sqlstore.Open(c.t.Context(), path, sqlstore.Options{})
	if err != nil {
		c.t.Fatal(err)
	}
	defer db.Close()
	ctx := c.t.Context()
	var certificates []store.Certificate
	var pending []store.Request
	var revocations []store.Revocation
	logged := map[audit.Action]map[string]int{}
	err = db.View(ctx, func(r store.Reader) (err error) {
		if certificates, err = r.Certificates(ctx, store.Services, 0, 0); err != nil {
			return err
		}
		if pending, err = r.Requests(ctx, store.Services, 0); err != nil {
			return err
		}
		if revocations, err = r.Revocations(ctx, store.Services, 0, 0); err != nil {
			return err
		}
		return r.Audit(ctx, audit.Filter{Authority: string(store.Services)}, func(e audit.Entry) error {
			if logged[e.Action] == nil {
				logged[e.Action] = map[string]int{}
			}
			if e.Result == audit.OK {
				logged[e.Action][e.Object.String()]++
			}
			return nil
		})
	})
	if err != nil {
		c.t.Fatal(err)
	}
	once := func(action audit.Action, object string) {
		if n := logged[action][object]; n != 1 {
			c.t.Errorf("%s %s is %d times in the audit log", action, object, n)
		}
	}
	serials := map[string]bool{}
	for _, crt := range certificates {
		action := audit.Sign
		if crt.Renews != nil {
			action = audit.Renew
		}
		once(action, fmt.Sprintf("crt %d serial=%s", crt.ID, crt.Serial))
		serials[crt.Serial.String()] = true
	}
	for _, crt := range c.renewed {
		if !serials[crt.SerialNumber.String()] {
			c.t.Errorf("renewed certificate %v was acknowledged and is lost", crt.SerialNumber)
		}
	}
	for _, rev := range revocations {
		once(audit.Revoke, "crt serial="+rev.Serial.String())
	}
	for id := range c.submitted {
		once(audit.Submit, "csr "+id.String())
	}
	for id := range c.rejected {
		once(audit.Reject, "csr "+id.String())
	}
	if a, b := len(logged[audit.Sign])+len(logged[audit.Renew]), len(certificates); a != b {
		c.t.Errorf("%d issuances in the audit log, %d certificates on record", a, b)
	}
	if a, b := len(logged[audit.Revoke]), len(revocations); a != b {
		c.t.Errorf("%d revocations in the audit log, %d on record", a, b)
	}
	if a, b := len(logged[audit.Submit]), len(pending)+len(logged[audit.Sign])+len(logged[audit.Reject]); a != b {
		c.t.Errorf("%d requests in the audit log, %d pending or decided on", a, b)
	}
}

// checkIntegrity has SQLite look at all of a database, with its own tool if that is
// there, which shares no code with us.
func checkIntegrity(t *testing.T, path string) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, pragma := range []string{"integrity_check", "foreign_key_check"} {
		var result string
		err := db.QueryRow("PRAGMA " + pragma).Scan(&result)
		if pragma == "foreign_key_check" && errors.Is(err, sql.ErrNoRows) {
			continue
		}
		if err != nil || result != "ok" {
			t.Errorf("%s: %s %v", pragma, result, err)
		}
	}
	switch have, err := haveTool("sqlite3"); {
	case err != nil:
		t.Error(err)
	case !have:
		t.Log("NOT TESTED: sqlite3 is not installed, so that only our own SQLite has looked at the database")
	default:
		out, err := exec.Command("sqlite3", path, "PRAGMA integrity_check").CombinedOutput()
		if err != nil || strings.TrimSpace(string(out)) != "ok" {
			t.Errorf("sqlite3 integrity_check: %v: %s", err, out)
		}
	}
}
