package fleet

import (
	"bytes"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing/iotest"

	"cauase/pkg/client"
	"cauase/pkg/pki"
	"cauase/pkg/store"
)

// What a network does to requests.
var (
	errDown = errors.New("simulated: connection refused")
	errLost = errors.New("simulated: connection reset")
)

// failed reports whether err comes from the network, or from a daemon that cannot do anything about it now,
// of which the oracle has found that it is true: trying again is all there is to do.
func failed(err error) bool {
	return errors.Is(err, errDown) || errors.Is(err, errLost) || client.IsStatus(err, http.StatusServiceUnavailable)
}

// losses are the chances of an exchange to get lost on its way there, and on its way back.
const losses = 0.01

// A network connects clients with the daemon, by function calls.
type network struct {
	sim      *sim
	answered int // status that the daemon gave last, whether it arrived or not; 0 when it was not reached
}

// An answerer is the daemon's side of an exchange.
type answerer func(*http.Request) *httptest.ResponseRecorder

// A line is a client's connection; tls is nil for plain HTTP.
type line struct {
	net *network
	tls *tls.Config
}

func (n *network) transport(config *tls.Config) http.RoundTripper { return &line{n, config} }

func (l *line) RoundTrip(r *http.Request) (*http.Response, error) {
	s := l.net.sim
	l.net.answered = 0
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	if s.daemon.down() {
		return nil, errDown
	}
	lost := !s.calm && s.chance(losses)
	if lost {
		s.stats.lost++
		return nil, errLost
	}
	arrived := r.Clone(r.Context())
	arrived.URL = &url.URL{Path: r.URL.Path, RawQuery: r.URL.RawQuery}
	arrived.RequestURI, arrived.Host, arrived.RemoteAddr = r.URL.RequestURI(), r.URL.Host, "192.0.2.1:1024"
	arrived.Body, arrived.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	if (r.URL.Scheme == "https") != (l.tls != nil) {
		return nil, fmt.Errorf("simulated: %s over the wrong port", r.URL)
	}
	if l.tls != nil {
		if arrived.TLS, err = l.shakeHands(); err != nil {
			return nil, err
		}
	}
	answer := l.net.daemon
	if s.tamper != nil {
		answer = s.tamper(s, answer)
	}
	response := answer(arrived).Result()
	l.net.answered = response.StatusCode
	if !s.calm && s.chance(losses) {
		s.stats.lost++
		if s.chance(0.5) {
			return nil, errLost
		}
		response.Body = io.NopCloser(io.MultiReader(io.LimitReader(response.Body, 100), iotest.ErrReader(errLost)))
	}
	return response, nil
}

// daemon has the daemon answer, in view of the oracle.
func (n *network) daemon(r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	n.sim.daemon.handler.ServeHTTP(w, r)
	n.sim.oracle.overhear(r.Method, r.URL.Path, w.Code, w.Body.Bytes())
	return w
}

// shakeHands does what TLS would: either side shows its certificate, and the client verifies
// the server's the way its configuration says.
func (l *line) shakeHands() (*tls.ConnectionState, error) {
	config, err := l.net.sim.daemon.tls()
	if err != nil {
		return nil, err
	}
	var chain []*x509.Certificate
	for _, der := range config.Certificates[0].Certificate {
		crt, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, err
		}
		chain = append(chain, crt)
	}
	if l.tls.InsecureSkipVerify {
		return nil, errors.New("simulated: client does not verify the daemon")
	}
	intermediates := x509.NewCertPool()
	for _, crt := range chain[1:] {
		intermediates.AddCert(crt)
	}
	_, err = chain[0].Verify(x509.VerifyOptions{
		DNSName: l.tls.ServerName, Roots: l.tls.RootCAs, Intermediates: intermediates, CurrentTime: l.tls.Time(),
	})
	if err != nil {
		return nil, err
	}
	state := &tls.ConnectionState{Version: tls.VersionTLS13, HandshakeComplete: true, ServerName: l.tls.ServerName}
	shown, err := l.tls.GetClientCertificate(&tls.CertificateRequestInfo{})
	if err != nil {
		return nil, err
	}
	for _, der := range shown.Certificate {
		crt, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, err
		}
		state.PeerCertificates = append(state.PeerCertificates, crt)
	}
	if len(state.PeerCertificates) > 0 {
		key, ok := shown.PrivateKey.(crypto.Signer)
		if !ok || !pki.SameKey(key.Public(), state.PeerCertificates[0].PublicKey) {
			return nil, errors.New("simulated: the client does not hold the key")
		}
	}
	return state, nil
}

// named returns which authority a path is about, and what stands below.
func named(path string) (store.AuthorityName, string) {
	first, rest, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	return store.AuthorityName(first), "/" + rest
}
