package caucase

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/ca"
	"cauase/pkg/ca/catest"
	"cauase/pkg/clock"
	"cauase/pkg/envelope"
	"cauase/pkg/pki"
	"cauase/pkg/rollover"
	"cauase/pkg/server"
	"cauase/pkg/store"
	"cauase/pkg/store/sqlstore"
	"cauase/pkg/testkit"
)

const (
	testDay  = 24 * time.Hour
	testSpan = 93 * testDay
)

// A site is a daemon without its command line: real authorities on a real database, real
// listeners, and a clock that stands still.
type site struct {
	t               testing.TB
	clk             *clock.Fake
	store           store.Store
	users, services *ca.Authority
	https           *ca.Authority
	keyPair         *server.KeyPair
	handshake       *server.Handshake
	front           *FrontEnd
	server          *server.Server
	log             *testkit.Buffer

	httpAddr, httpsAddr string
	stop                func() error // drains, and returns what Serve returned
}

// newSite starts a site whose configuration can still be changed.
func newSite(t testing.TB, configure ...func(*Config)) *site {
	t.Helper()
	ctx := t.Context()
	s := &site{t: t, clk: clock.NewFake(time.Date(2031, 5, 1, 12, 0, 0, 0, time.UTC)), log: &testkit.Buffer{}}
	dir := t.TempDir()
	log := slog.New(slog.NewTextHandler(s.log, nil))
	db, err := sqlstore.Open(ctx, filepath.Join(dir, "db.sqlite"), sqlstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	s.store = db
	open := func(name store.AuthorityName, host string) *ca.Authority {
		a, err := catest.Open(ctx, db, s.clk, catest.Config{
			Name: name, Netloc: "127.0.0.1:8009", Host: host, KeyType: pki.KeyECDSAP256,
			Spans: rollover.Spans{Leaf: testSpan, Life: 4}, Backdate: time.Minute, Retention: 30 * testDay,
			MaxPending: 50,
		})
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	s.users, s.services, s.https = open(store.Users, ""), open(store.Services, ""), open(store.HTTPS, "127.0.0.1")
	s.keyPair = server.NewKeyPair(server.KeyPairConfig{
		Path: filepath.Join(dir, "server.key.pem"), Host: "127.0.0.1", Threshold: 31 * testDay,
		Issuer: s.https, Clock: s.clk, Log: log,
	})
	s.handshake = &server.Handshake{}
	s.refresh()

	keys, err := OpenCORSKeys(filepath.Join(dir, "cors.key"))
	if err != nil {
		t.Fatal(err)
	}
	netloc, err := server.ParseNetloc("127.0.0.1:8009")
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{
		Netloc: netloc, Clock: s.clk, Log: log, CORSKeys: keys,
		Authorities: List{s.users, s.services, s.https}, ServerCAs: s.https.CACertificates,
	}
	for _, f := range configure {
		f(&cfg)
	}
	if s.front, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	s.server, err = server.New(server.Config{Clock: s.clk, Log: log, FrontEnds: []server.FrontEnd{s.front}})
	if err != nil {
		t.Fatal(err)
	}
	s.listen(log)
	return s
}

func (s *site) listen(log *slog.Logger) {
	s.t.Helper()
	l, err := server.Listen(s.t.Context(), log, []string{"127.0.0.1"}, 0)
	if err != nil {
		s.t.Fatal(err)
	}
	s.httpAddr, s.httpsAddr = l.HTTP[0].Addr().String(), l.HTTPS[0].Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.server.Serve(ctx, context.Background(), l, s.handshake) }()
	s.stop = sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	s.t.Cleanup(func() {
		if err := s.stop(); err != nil {
			s.t.Errorf("Serve: %v", err)
		}
	})
}

// refresh does what the daemon's loop does for the listeners.
func (s *site) refresh() {
	s.t.Helper()
	if err := s.keyPair.Refresh(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
	users, err := s.users.CACertificates(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	s.handshake.Set(s.keyPair.Certificate(), users)
}

// client returns an HTTP client that shows crt, unless it is nil, whatever the server
// would like to see, and accepts no server but ours.
func (s *site) client(crt *tls.Certificate) *http.Client {
	s.t.Helper()
	roots := x509.NewCertPool()
	cas, err := s.https.CACertificates(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	for _, c := range cas {
		roots.AddCert(c)
	}
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{
			RootCAs: roots, ServerName: "127.0.0.1", Time: s.clk.Now,
			GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
				if crt == nil {
					return &tls.Certificate{}, nil
				}
				return crt, nil
			},
		},
		ForceAttemptHTTP2: true,
	}
	s.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// An answer is a response that has been read.
type answer struct {
	*http.Response
	body string
}

// do sends a request. target is "http:" or "https:" and a path.
func (s *site) do(c *http.Client, method, target, body string, headers ...string) answer {
	s.t.Helper()
	scheme, path, _ := strings.Cut(target, ":")
	address := s.httpAddr
	if scheme == "https" {
		address = s.httpsAddr
	}
	r, err := http.NewRequestWithContext(s.t.Context(), method, scheme+"://"+address+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "Host" {
			r.Host = headers[i+1]
			continue
		}
		r.Header.Add(headers[i], headers[i+1])
	}
	response, err := c.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return answer{response, string(data)}
}

func newKey(t testing.TB) crypto.Signer {
	t.Helper()
	key, err := pki.KeyECDSAP256.Generate()
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newCSR(t testing.TB, key crypto.Signer, name string) []byte {
	t.Helper()
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: name}}, key)
	if err != nil {
		t.Fatal(err)
	}
	return pki.EncodeCSRPEM(der)
}

// pending submits a new request and returns its id.
func (s *site) pending(a *ca.Authority, key crypto.Signer) int64 {
	s.t.Helper()
	id, err := catest.Wired(a).Submit(s.t.Context(), audit.Actor{Kind: audit.Operator}, newCSR(s.t, key, "someone"))
	if err != nil {
		s.t.Fatal(err)
	}
	return id
}

// issue returns a new certificate of a, and its id.
func (s *site) issue(a *ca.Authority) (*tls.Certificate, int64) {
	s.t.Helper()
	key := newKey(s.t)
	id := s.pending(a, key)
	if err := catest.Wired(a).Sign(s.t.Context(), audit.Actor{Kind: audit.Operator}, id); err != nil {
		s.t.Fatal(err)
	}
	pem, err := catest.Wired(a).Certificate(s.t.Context(), id)
	if err != nil {
		s.t.Fatal(err)
	}
	crt, err := pki.ParseCertificatePEM(pem)
	if err != nil {
		s.t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{crt.Raw}, PrivateKey: key, Leaf: crt}, id
}

func (s *site) revoke(crt *tls.Certificate) {
	s.t.Helper()
	err := catest.Wired(s.users).RevokeByUser(s.t.Context(), audit.Actor{Kind: audit.Operator}, envelope.Revocation{Serial: crt.Leaf.SerialNumber})
	if err != nil {
		s.t.Fatal(err)
	}
}

// renewalOf is a signed envelope that asks for a successor of crt.
func renewalOf(t *testing.T, crt *tls.Certificate) string {
	t.Helper()
	payload, err := envelope.EncodeRenewal(envelope.Renewal{
		CertificatePEM: string(pki.EncodeCertificatePEM(crt.Leaf.Raw)),
		RequestPEM:     string(newCSR(t, newKey(t), "whoever")),
	})
	if err != nil {
		t.Fatal(err)
	}
	return sign(t, crt, payload)
}

// revocationOf is an envelope, signed or not, that asks for the revocation of crt.
func revocationOf(t *testing.T, crt *tls.Certificate, signed bool) string {
	t.Helper()
	payload, err := envelope.EncodeRevocation(envelope.Revocation{CertificatePEM: string(pki.EncodeCertificatePEM(crt.Leaf.Raw))})
	if err != nil {
		t.Fatal(err)
	}
	if signed {
		return sign(t, crt, payload)
	}
	e, err := envelope.Unsigned(payload)
	if err != nil {
		t.Fatal(err)
	}
	return string(e)
}

func sign(t *testing.T, crt *tls.Certificate, payload []byte) string {
	t.Helper()
	e, err := envelope.Sign(crt.PrivateKey.(crypto.Signer), payload)
	if err != nil {
		t.Fatal(err)
	}
	return string(e)
}
