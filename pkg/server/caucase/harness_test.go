package caucase

import (
	"context"
	"crypto"
	"crypto/tls"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/ca"
	"cauase/pkg/ca/catest"
	"cauase/pkg/envelope"
	"cauase/pkg/pki"
	"cauase/pkg/server"
	"cauase/pkg/testkit"
	"cauase/pkg/testkit/envelopetest"
	"cauase/pkg/testkit/pkitest"
)

const (
	testDay  = 24 * time.Hour
	testSpan = 93 * testDay
)

// A site is a daemon without its command line: the authorities of a catest.Site behind real listeners.
type site struct {
	*catest.Site
	t         testing.TB
	keyPair   *server.KeyPair
	handshake *server.Handshake
	front     *FrontEnd
	server    *server.Server
	log       *testkit.Buffer

	httpAddr, httpsAddr string
	stop                func() error // drains, and returns what Serve returned
}

// newSite starts a site whose configuration can still be changed.
func newSite(t testing.TB, configure ...func(*Config)) *site {
	t.Helper()
	s := &site{Site: catest.NewSite(t), t: t, log: &testkit.Buffer{}, handshake: &server.Handshake{}}
	log := slog.New(slog.NewTextHandler(s.log, nil))
	s.keyPair = server.NewKeyPair(server.KeyPairConfig{
		Path: filepath.Join(s.Dir, "server.key.pem"), Host: "127.0.0.1", Threshold: 31 * testDay,
		Issuer: s.HTTPS, Clock: s.Clock, Log: log,
	})
	s.refresh()

	keys, err := OpenCORSKeys(filepath.Join(s.Dir, "cors.key"))
	if err != nil {
		t.Fatal(err)
	}
	netloc, err := server.ParseNetloc("127.0.0.1:8009")
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{
		Netloc: netloc, Clock: s.Clock, Log: log, CORSKeys: keys,
		Authorities: List{s.Users, s.Services, s.HTTPS}, ServerCAs: s.HTTPS.CACertificates,
	}
	for _, f := range configure {
		f(&cfg)
	}
	if s.front, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	s.server, err = server.New(server.Config{Clock: s.Clock, Log: log, FrontEnds: []server.FrontEnd{s.front}})
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
	s.stop = testkit.Background(s.t, func(ctx context.Context) error { return s.server.Serve(ctx, context.Background(), l, s.handshake) })
}

// refresh does what the daemon's loop does for the listeners.
func (s *site) refresh() {
	s.t.Helper()
	if err := s.keyPair.Refresh(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
	users, err := s.Users.CACertificates(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	s.handshake.Set(s.keyPair.Certificate(), users)
}

// client returns an HTTP client that shows crt, unless it is nil.
func (s *site) client(crt *tls.Certificate) *http.Client {
	s.t.Helper()
	return s.Client(s.t, crt)
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

// newCSR is a request for key by a common name, PEM.
func newCSR(t testing.TB, key crypto.Signer, name string) string {
	t.Helper()
	return string(pkitest.NamedRequest(t, key, name))
}

func (s *site) pending(a *ca.Authority, key crypto.Signer) int64 {
	s.t.Helper()
	return s.Pending(s.t, a, key)
}

func (s *site) issue(a *ca.Authority) (*tls.Certificate, int64) {
	s.t.Helper()
	return s.Issue(s.t, a)
}

func (s *site) revoke(crt *tls.Certificate) {
	s.t.Helper()
	err := catest.Wired(s.Users).RevokeByUser(s.t.Context(), audit.Actor{Kind: audit.Operator}, envelope.Revocation{Serial: crt.Leaf.SerialNumber})
	if err != nil {
		s.t.Fatal(err)
	}
}

// renewalOf is a signed envelope that asks for a successor of crt.
func renewalOf(t testing.TB, crt *tls.Certificate) string {
	t.Helper()
	return string(envelopetest.Renewal(t, crt.Leaf, crt.PrivateKey.(crypto.Signer), pkitest.NamedRequest(t, pkitest.Key(t), "whoever")))
}

// revocationOf is an envelope, signed or not, that asks for the revocation of crt.
func revocationOf(t testing.TB, crt *tls.Certificate, signed bool) string {
	t.Helper()
	if signed {
		return string(envelopetest.Revocation(t, crt.Leaf, crt.PrivateKey.(crypto.Signer), 0))
	}
	payload, err := envelope.EncodeRevocation(envelope.Revocation{CertificatePEM: string(pki.EncodeCertificatePEM(crt.Leaf.Raw))})
	if err != nil {
		t.Fatal(err)
	}
	return string(envelopetest.Unsigned(t, payload))
}
