package adversaries

import (
	"bytes"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite"

	"cauase/pkg/pgtest"
	"cauase/pkg/pki"
	"cauase/pkg/testkit"
	"cauase/pkg/testkit/envelopetest"
	"cauase/pkg/testkit/pkitest"
)

const patience = time.Minute

// options are those of the daemon under test: all come from one address, and are many.
var options = []string{
	"--user-auto-approve-count", "1", "--write-rate", "0", "--handshake-rate", "0",
	"--service-max-csr", "60", "--pending-per-address", "40", "--user-max-csr", "60",
}

// A world is a daemon with those who have dealings with it, and a view of its database.
type world struct {
	*testing.T
	outermost *testing.T
	engine    string
	dsn       string
	cluster   *pgtest.Cluster // of PostgreSQL
	dir       string
	daemon    *daemon
	db        *sql.DB
	plain     *http.Client // HTTP, nobody
	first     []string     // ids of the requests that strangers sent when there was no user yet

	user, otherUser          holding // users
	host                     holding // a service
	revoked, gone            holding // a revoked one; one whose validity is over
	revokedUser, expiredUser holding
	rsa                      holding // a service with an RSA key, once it was needed
	cas, cau                 []*x509.Certificate
}

// A holding is a certificate with its key.
type holding struct {
	id  string
	crt *x509.Certificate
	key crypto.Signer
}

func (h holding) tls() *tls.Certificate {
	return &tls.Certificate{Certificate: [][]byte{h.crt.Raw}, PrivateKey: h.key, Leaf: h.crt}
}

func newWorld(t *testing.T, engine, dsn string, c *pgtest.Cluster) *world {
	w := &world{T: t, outermost: t, engine: engine, dsn: dsn, cluster: c, dir: t.TempDir(), plain: &http.Client{
		Timeout:       patience,
		Transport:     &http.Transport{MaxIdleConnsPerHost: 32, MaxConnsPerHost: 32}, /* fewer than one address may have */
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	port := testkit.FreePorts(t, 2)
	w.daemon = w.start(tools, w.dir, port, dsn, options...)
	w.db = openDB(t, dsn)
	w.people()
	w.healthy()
	return w
}

// censor is by what the test's own connections are known, which nobody ends.
const censor = "census"

func openDB(t testing.TB, dsn string) *sql.DB {
	t.Helper()
	driver, name := "sqlite", "file:"+dsn+"?_pragma=busy_timeout(60000)"
	if strings.HasPrefix(dsn, "postgres:") {
		separator := "?"
		if strings.Contains(dsn, separator) {
			separator = "&"
		}
		driver, name = "pgx", dsn+separator+"application_name="+censor
	}
	db, err := sql.Open(driver, name)
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxIdleConns(0) // as PostgreSQL is stopped between two questions
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// people makes users and hosts of all kinds.
func (w *world) people() {
	w.Helper()
	// Everybody wants to be the first user.
	const strangers = 8
	keys, ids := make([]crypto.Signer, strangers), make([]string, strangers)
	each(strangers, func(i int) {
		keys[i] = pkitest.Key(w)
		_, ids[i], _ = w.put("/cau/csr", pkitest.NamedRequest(w, keys[i], fmt.Sprint("stranger ", i)))
	})
	for i, id := range ids {
		status, body := w.get("/cau/crt/" + id)
		if status == http.StatusOK {
			w.user = holding{id, must(pki.ParseCertificatePEM([]byte(body))), keys[i]}
		}
	}
	if w.user.crt == nil {
		w.Fatalf("none of %d is a user", strangers)
	}
	w.first = ids
	w.cas, w.cau = w.authority("cas"), w.authority("cau")
	w.otherUser, w.revokedUser = w.issue("cau", "bob", ""), w.issue("cau", "carol", "")
	w.expiredUser = w.issue("cau", "dave", "?validity=1")
	w.host, w.revoked, w.gone = w.issue("cas", "host", ""), w.issue("cas", "revoked", ""), w.issue("cas", "gone", "?validity=1")
	for authority, h := range map[string]holding{"cas": w.revoked, "cau": w.revokedUser} {
		a := w.do(w.user.tls(), "PUT", "/"+authority+"/crt/revoke", envelopetest.Unsigned(w, mustJSON(map[string]any{
			"revoke_crt_pem": string(pki.EncodeCertificatePEM(h.crt.Raw)), "revoke_reason": "superseded"})), "application/json")
		if a.got != "204" {
			w.Fatalf("cannot revoke: %+v", a)
		}
	}
	w.sweep()
}

func mustJSON(v any) []byte { return must(json.Marshal(v)) }

func (w *world) authority(name string) []*x509.Certificate {
	status, body := w.get("/" + name + "/crt/ca.crt.pem")
	if status != http.StatusOK {
		w.Fatalf("%s: %d %s", name, status, body)
	}
	return must(pki.ParseCertificatesPEM([]byte(body)))
}

// issue has a new certificate signed by the user.
func (w *world) issue(authority, name, query string) holding {
	w.Helper()
	key := pkitest.Key(w)
	return w.issueFor(authority, key, pkitest.NamedRequest(w, key, name, strings.ReplaceAll(name, " ", "-")+".example"), query)
}

func (w *world) issueFor(authority string, key crypto.Signer, request []byte, query string) holding {
	w.Helper()
	status, id, text := w.put("/"+authority+"/csr", request)
	if status != http.StatusCreated {
		w.Fatalf("cannot submit: %d %s", status, text)
	}
	if a := w.do(w.user.tls(), "PUT", "/"+authority+"/crt/"+id+query, nil, ""); a.got != "204" {
		w.Fatalf("cannot sign: %+v", a)
	}
	_, body := w.get("/" + authority + "/crt/" + id)
	return holding{id, must(pki.ParseCertificatePEM([]byte(body))), key}
}

// put sends a request in PEM.
func (w *world) put(path string, body []byte) (status int, id, text string) {
	resp, err := w.plain.Do(must(http.NewRequest("PUT", w.daemon.url()+path, bytes.NewReader(body))))
	if err != nil {
		return 0, "", err.Error()
	}
	defer resp.Body.Close()
	data, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, resp.Header.Get("Location"), string(data)
}

func (w *world) get(path string) (status int, body string) {
	resp, err := w.plain.Get(w.daemon.url() + path)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	data, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(data)
}

// submit sends a request to the authority for services.
func (w *world) submit(body []byte) answer {
	status, _, text := w.put("/cas/csr", body)
	return answer{strconv.Itoa(status), text}
}

// do makes one request over HTTPS, with a client certificate or without.
func (w *world) do(crt *tls.Certificate, method, path string, body []byte, contentType string, header ...string) answer {
	c := w.browser(crt)
	defer c.CloseIdleConnections()
	return w.ask(c, method, path, body, contentType, header...)
}

// browser is a client over HTTPS that asks nobody whether to trust the daemon.
func (w *world) browser(crt *tls.Certificate) *http.Client {
	config := &tls.Config{InsecureSkipVerify: true} //nolint:gosec // Whom it talks to is known by its port.
	if crt != nil {
		// Also to a daemon that would not name its issuer.
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return crt, nil }
	}
	return &http.Client{Timeout: patience, Transport: &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true}}
}

func (w *world) ask(c *http.Client, method, path string, body []byte, contentType string, header ...string) answer {
	req := must(http.NewRequest(method, w.daemon.secure()+path, bytes.NewReader(body)))
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	resp, err := c.Do(req)
	if err != nil {
		return answer{"closed", err.Error()}
	}
	defer resp.Body.Close()
	data, _ := io.ReadAll(resp.Body)
	return answer{strconv.Itoa(resp.StatusCode), string(data)}
}

// envelope sends a signed message over HTTP.
func (w *world) envelope(path string, data []byte) answer {
	req := must(http.NewRequest("PUT", w.daemon.url()+path, bytes.NewReader(data)))
	req.Header.Set("Content-Type", "application/json")
	resp, err := w.plain.Do(req)
	if err != nil {
		return answer{"closed", err.Error()}
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(resp.Body)
	return answer{strconv.Itoa(resp.StatusCode), string(text)}
}

// census is what the authorities have.
type census struct{ signed, pending, revoked, audit int }

func (c census) minus(b census) census {
	return census{signed: c.signed - b.signed, pending: c.pending - b.pending, revoked: c.revoked - b.revoked}
}

func (w *world) census() (c census) {
	w.Helper()
	for query, n := range map[string]*int{
		"SELECT count(*) FROM certificate": &c.signed, "SELECT count(*) FROM request": &c.pending, "SELECT count(*) FROM revocation": &c.revoked,
		"SELECT coalesce(max(seq), 0) FROM audit_log": &c.audit,
	} {
		if err := w.db.QueryRow(query).Scan(n); err != nil {
			w.Fatal(err)
		}
	}
	return c
}

// auditedSince are actions and results of the entries after one.
func (w *world) auditedSince(seq int) (entries []string) {
	w.Helper()
	rows, err := w.db.Query(fmt.Sprintf("SELECT action, result FROM audit_log WHERE seq > %d ORDER BY seq", seq))
	if err != nil {
		w.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var action, result string
		if err := rows.Scan(&action, &result); err != nil {
			w.Fatal(err)
		}
		entries = append(entries, action+" "+result)
	}
	if err := rows.Err(); err != nil {
		w.Fatal(err)
	}
	return entries
}

// sweep rejects what is pending, so that the next one finds room.
func (w *world) sweep() {
	w.Helper()
	if w.census().pending == 0 {
		return
	}
	c := w.browser(w.user.tls())
	defer c.CloseIdleConnections()
	for _, authority := range []string{"cas", "cau"} {
		var list []struct{ ID string }
		a := w.ask(c, "GET", "/"+authority+"/csr", nil, "")
		if err := json.Unmarshal([]byte(a.text), &list); err != nil {
			w.Fatalf("%s: %+v", authority, a)
		}
		for _, r := range list {
			if a := w.ask(c, "DELETE", "/"+authority+"/csr/"+r.ID, nil, ""); a.got != "204" {
				w.Fatalf("cannot reject: %+v", a)
			}
		}
	}
}

// healthy reports what is wrong with the daemon, its database or its use of memory and descriptors.
func (w *world) healthy() {
	w.Helper()
	w.daemon.plain.CloseIdleConnections()
	w.plain.CloseIdleConnections()
	if status, body := w.daemon.await(w); status != http.StatusOK {
		w.Errorf("not ready: %d %s", status, body)
	}
	if code, text := run(w, w.dir, plain, "cauased", "manage", "check", "--db", w.dsn); code != 0 {
		w.Errorf("manage check: exit %d\n%s", code, text)
	}
	log := w.daemon.stderr.String()
	for _, bad := range []string{"panic:", "panicked", "DATA RACE", "goroutine "} {
		if strings.Contains(log, bad) {
			w.Fatalf("the daemon's log holds %q:\n%s", bad, log)
		}
	}
	const mostDescriptors, mostLog = 200, 8 << 20
	if n := w.daemon.descriptors(w); n > mostDescriptors {
		w.Errorf("the daemon has %d descriptors open", n)
	}
	if len(log) > mostLog {
		w.Errorf("the daemon has logged %d bytes", len(log))
	}
}

// each does something so many times at once.
func each(count int, do func(i int)) {
	var all sync.WaitGroup
	for i := range count {
		all.Go(func() { do(i) })
	}
	all.Wait()
}

// tally says how often each answer came, the rarest first: "1×200 9×409".
func tally(answers []answer) answer {
	counts := map[string]int{}
	var texts []string
	for _, a := range answers {
		counts[a.got]++
		texts = append(texts, a.text)
	}
	var parts []string
	for len(counts) > 0 {
		least := ""
		for got, n := range counts {
			if least == "" || n < counts[least] || n == counts[least] && got < least {
				least = got
			}
		}
		parts = append(parts, fmt.Sprintf("%d×%s", counts[least], least))
		delete(counts, least)
	}
	return answer{strings.Join(parts, " "), strings.Join(texts, "\n")}
}

func write(t testing.TB, path string, data []byte) string {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// expect ends the test unless an answer, on the way to what is tried, is the one that is needed.
func (w *world) expect(got string, a answer) answer {
	w.Helper()
	if a.got != got {
		w.Fatalf("got %q, and %q is needed: %s", a.got, got, shorten(a.text))
	}
	return a
}

// caKey is the key of an authority's CA, as its operator exports it.
func (w *world) caKey(authority string) crypto.Signer {
	w.Helper()
	dir := w.TempDir()
	passphrase := write(w, filepath.Join(dir, "passphrase"), []byte("correct horse battery staple\n"))
	file := filepath.Join(dir, "ca.pem")
	w.expect("exit 0", tool(w, w.dir, "cauased", "manage", "export-ca", "--db", w.dsn, "--authority", authority, "--passphrase-file", passphrase, file))
	blocks := must(pki.SplitPEM(must(os.ReadFile(file))))
	for _, block := range blocks {
		if pki.IsEncryptedBlock(block) {
			return must(pki.DecryptPrivateKeyBlock(block, []byte("correct horse battery staple")))
		}
	}
	w.Fatal("no key was exported")
	return nil
}

// again starts the world's daemon once more, as it was.
func (w *world) again(old *daemon) *daemon {
	w.Helper()
	inner := w.T
	w.T = w.outermost // whose end it is to see
	defer func() { w.T = inner }()
	return w.start(tools, w.dir, old.port, w.dsn, options...)
}

// until waits for a time.
func (w *world) until(t time.Time) {
	for time.Now().Before(t.Add(time.Second)) {
		time.Sleep(20 * time.Millisecond)
	}
}

// fill has a user revoke so many serial numbers that nobody has.
func (w *world) fill(count int) {
	w.Helper()
	c := w.browser(w.user.tls())
	defer c.CloseIdleConnections()
	turns := make(chan struct{}, 16)
	each(count, func(i int) {
		turns <- struct{}{}
		defer func() { <-turns }()
		payload := fmt.Sprintf(`{"revoke_serial": %d}`, 1_000_000+i)
		if a := w.ask(c, "PUT", "/cas/crt/revoke", envelopetest.Unsigned(w, []byte(payload)), "application/json"); a.got != "204" {
			w.Errorf("cannot revoke: %+v", a)
		}
	})
}

// backup takes a backup, and returns its path, and that of the key that opens it.
func (w *world) backup(dir string) (file, key string) {
	w.Helper()
	file = filepath.Join(dir, "all.backup")
	w.expect("exit 0", tool(w, dir, "cauased", "manage", "backup", "--db", w.dsn, file))
	return file, write(w, filepath.Join(dir, "user.key"), pkitest.KeyPEM(w, w.user.key))
}

// restored restores a new backup into a database of its own.
func (w *world) restored(dir string) string {
	w.Helper()
	file, key := w.backup(dir)
	request := write(w, filepath.Join(dir, "new.csr.pem"), pkitest.NamedRequest(w, pkitest.Key(w), "alice"))
	db := filepath.Join(dir, "restored.sqlite")
	w.expect("exit 0", tool(w, dir, "cauased", "manage", "restore", "--db", db, file, key, request, filepath.Join(dir, "new.crt.pem")))
	return db
}
