// Package clienttest has a daemon for tests of clients: a small one, quick to start,
// that can be told to misbehave. It answers well-behaved clients as a real one does, and
// makes no attempt to withstand others.
package clienttest

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"

	"cauase/pkg/clock"
	"cauase/pkg/envelope"
	"cauase/pkg/ledger/ledgertest"
	"cauase/pkg/pki"
)

// A Daemon serves its authorities on a pair of ports of the loopback interface.
type Daemon struct {
	URL   string
	Clock *clock.Fake
	CAS   *Authority
	CAU   *Authority
	HTTPS *Authority // signs the daemon's own certificate

	// Others are further authorities, by their names. No reference daemon has any.
	Others map[string]*Authority

	// Push has those who wait for new revocation lists hear of them. Otherwise the daemon is one of an earlier version.
	Push bool

	// Log is the log of what the daemon has done; nil: it is one of an earlier version.
	Log *ledgertest.Log

	// Reference leaves out what a reference daemon does not have.
	Reference bool

	mu        sync.Mutex
	intercept Interceptor
	leaf      tls.Certificate
	seen      []string
}

// Start starts a daemon that lives as long as the test.
func Start(t testing.TB, clock *clock.Fake) *Daemon {
	t.Helper()
	return start(t, clock, pki.KeyECDSAP256)
}

// StartReference starts one that has what a reference daemon has, and RSA keys.
func StartReference(t testing.TB, clock *clock.Fake) *Daemon {
	t.Helper()
	d := start(t, clock, pki.KeyRSA2048)
	d.Reference = true
	return d
}

func start(t testing.TB, clock *clock.Fake, keyType pki.KeyType) *Daemon {
	t.Helper()
	d := &Daemon{
		Clock: clock,
		CAS:   newAuthority(t, clock, "CAS", nil, keyType),
		CAU:   newAuthority(t, clock, "CAU", nil, keyType),
		HTTPS: NewAuthority(t, clock, "HTTPS"),
	}
	d.SetLeaf(d.HTTPS.IssueServer(t, "127.0.0.1"))
	plain, secure := listen(t)
	d.URL = "http://" + plain.Addr().String()
	d.serve(t, plain, nil)
	d.serve(t, secure, &tls.Config{
		ClientAuth:             tls.RequestClientCert,
		SessionTicketsDisabled: true,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			d.mu.Lock()
			defer d.mu.Unlock()
			leaf := d.leaf
			return &leaf, nil
		},
	})
	return d
}

// An Interceptor gets a request before the daemon, and reports whether it has answered.
type Interceptor func(w http.ResponseWriter, r *http.Request) bool

// Intercept has each request from now on go through f first; nil ends that.
func (d *Daemon) Intercept(f Interceptor) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.intercept = f
}

// Interceptor returns the present one, nil when there is none.
func (d *Daemon) Interceptor() Interceptor {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.intercept
}

// SetLeaf replaces the daemon's HTTPS certificate.
func (d *Daemon) SetLeaf(leaf tls.Certificate) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.leaf = leaf
}

// Seen returns the requests so far, as "GET http /cas/crl".
func (d *Daemon) Seen() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]string(nil), d.seen...)
}

// listen finds two ports in a row.
func listen(t testing.TB) (plain, secure net.Listener) {
	t.Helper()
	for range 100 {
		first, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		port := first.Addr().(*net.TCPAddr).Port
		second, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port+1)))
		if err == nil {
			return first, second
		}
		first.Close()
	}
	t.Fatal("no two ports in a row are free")
	return nil, nil
}

func (d *Daemon) serve(t testing.TB, listener net.Listener, config *tls.Config) {
	// StartTLS would add a certificate of its own, and prefer it for IP addresses.
	if config != nil {
		listener = tls.NewListener(listener, config)
	}
	server := &httptest.Server{
		Listener: listener,
		Config:   &http.Server{Handler: http.HandlerFunc(d.handle), ErrorLog: quiet()},
	}
	server.Start()
	t.Cleanup(server.Close)
}

func (d *Daemon) handle(w http.ResponseWriter, r *http.Request) {
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	d.mu.Lock()
	d.seen = append(d.seen, r.Method+" "+scheme+" "+r.URL.Path)
	d.mu.Unlock()
	if f := d.Interceptor(); f != nil && f(w, r) {
		return
	}
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	if r.URL.Path == "/" {
		d.page(w)
		return
	}
	if d.forUsers(w, r) {
		return
	}
	authority := d.authorities()[parts[0]]
	if authority == nil || len(parts) < 2 {
		http.NotFound(w, r)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	user := d.user(r)
	name := strings.Join(parts[1:], "/")
	switch r.Method + " " + name {
	case "GET crl":
		d.lists(w, r, authority)
	case "GET crt/ca.crt.pem":
		_, _ = w.Write(pki.EncodeCertificatePEM(authority.Oldest().Raw))
	case "GET crt/ca.crt.json":
		_, _ = w.Write(authority.Chain())
	case "GET crt/https-ca.json":
		d.voucher(w, r, authority)
	case "GET crt/root.pem":
		d.roots(w, authority)
	case "GET crt/parent.json":
		_, _ = w.Write(authority.ParentStatements())
	case "GET crt/withdrawn.json":
		if d.Reference {
			http.Error(w, "Invalid integer", http.StatusBadRequest)
			return
		}
		_, _ = w.Write(authority.Withdrawals())
	case "GET log/checkpoint":
		d.checkpoint(w, r, authority)
	case "GET log/proof":
		d.proof(w, r, authority)
	case "PUT crt/holds":
		if d.Reference {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		authority.holds(w, body)
	case "GET timeline":
		d.timeline(w, authority)
	case "PUT csr":
		authority.submit(w, r, body)
	case "PUT crt/renew":
		authority.renew(w, r, body)
	case "PUT crt/revoke":
		authority.revoke(w, body, user)
	case "GET lineage":
		switch {
		case d.Reference:
			http.NotFound(w, r)
		case requireUser(w, user):
			authority.lineages(w, r)
		}
	case "GET csr":
		if requireUser(w, user) {
			_ = json.NewEncoder(w).Encode(authority.pendingList(!d.Reference))
		}
	default:
		d.byID(w, r, authority, parts, body, user)
	}
}

func (d *Daemon) byID(w http.ResponseWriter, r *http.Request, authority *Authority, parts []string, body []byte, user bool) {
	if len(parts) != 3 {
		http.NotFound(w, r)
		return
	}
	id, err := strconv.ParseUint(parts[2], 10, 63)
	if err != nil {
		http.Error(w, "Invalid integer", http.StatusBadRequest)
		return
	}
	switch r.Method + " " + parts[1] {
	case "GET csr":
		if !d.Reference && strings.HasPrefix(r.Header.Get("Accept"), "application/json") {
			authority.describe(w, r, id)
			return
		}
		if !d.Reference && authority.tellRejection(w, r, id) {
			return
		}
		answer(w, authority.request(id))
	case "GET lineage":
		if !d.Reference && requireUser(w, user) {
			authority.lineage(w, id)
		}
	case "GET crt":
		answer(w, authority.chained(r, authority.certificate(id)))
	case "PUT crt":
		if requireUser(w, user) && (d.Reference || authority.matches(w, r, id)) {
			authority.sign(w, r, id, body)
		}
	case "DELETE csr":
		if requireUser(w, user) && (d.Reference || authority.matches(w, r, id)) {
			authority.reject(w, r, id)
		}
	default:
		w.WriteHeader(http.StatusMethodNotAllowed)
	}
}

func (d *Daemon) authorities() map[string]*Authority {
	all := map[string]*Authority{"cas": d.CAS, "cau": d.CAU}
	for name, a := range d.Others {
		all[name] = a
	}
	return all
}

// page is the first page, in HAL, which lists the authorities.
func (d *Daemon) page(w http.ResponseWriter) {
	links := map[string]any{"self": map[string]string{"href": "/"}}
	for name := range d.authorities() {
		links["get"+strings.ToUpper(name)+"HAL"] = map[string]string{"href": "/" + name, "title": name}
	}
	w.Header().Set("Content-Type", "application/hal+json")
	_ = json.NewEncoder(w).Encode(map[string]any{"_links": links})
}

func (d *Daemon) roots(w http.ResponseWriter, authority *Authority) {
	if d.Reference {
		http.Error(w, "Invalid integer", http.StatusBadRequest)
		return
	}
	_, _ = w.Write(Bundle(authority.Roots()...))
}

// timeline is answered by daemons with a hierarchy only: what it says otherwise, clients that
// are tested here estimate.
func (d *Daemon) timeline(w http.ResponseWriter, authority *Authority) {
	parent := ""
	for name, a := range d.authorities() {
		if a == authority.Parent {
			parent = name
		}
	}
	if d.Reference || d.Others == nil {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	_ = json.NewEncoder(w).Encode(map[string]any{
		"span_seconds": LeafLife.Seconds(), "now": d.Clock.Now(), "parent": parent, "generations": []any{},
		"next_ca": authority.Newest().Crt.NotAfter.Add(-2 * LeafLife),
	})
}

func answer(w http.ResponseWriter, pem []byte) {
	if pem == nil {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	_, _ = w.Write(pem)
}

func requireUser(w http.ResponseWriter, user bool) bool {
	if !user {
		w.WriteHeader(http.StatusUnauthorized)
	}
	return user
}

func (d *Daemon) user(r *http.Request) bool {
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return false
	}
	crt := r.TLS.PeerCertificates[0]
	_, err := pki.VerifyIssued(crt, d.CAU.certificates(), d.Clock.Now())
	return err == nil && !d.CAU.Revoked(crt.SerialNumber)
}

func (d *Daemon) voucher(w http.ResponseWriter, r *http.Request, authority *Authority) {
	if d.Reference {
		http.Error(w, "Invalid integer", http.StatusBadRequest)
		return
	}
	_, _ = w.Write(authority.Vouch(d.HTTPS.certificates()))
}

// Vouch returns the envelope that says who signs the daemon's HTTPS certificate.
func (a *Authority) Vouch(cas []*x509.Certificate) []byte {
	var bundle []byte
	for _, ca := range cas {
		bundle = append(bundle, pki.EncodeCertificatePEM(ca.Raw)...)
	}
	payload, err := envelope.EncodeServerCA(envelope.ServerCA{PEM: string(bundle)})
	a.must(err)
	return a.Sign(payload)
}
