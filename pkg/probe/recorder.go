package probe

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"sync"
	"time"

	"cauase/pkg/clock"
)

// A recorder keeps what the client does not need of every answer: dates and certificates.
type recorder struct {
	clock clock.Clock

	mu     sync.Mutex
	leaf   *x509.Certificate
	known  bool
	offset time.Duration // of the daemon's clock
	within time.Duration // how long the exchange took that offset is from
}

func (r *recorder) transport(config *tls.Config) http.RoundTripper {
	return &recording{recorder: r, next: &http.Transport{
		DialContext:            (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
		TLSClientConfig:        config,
		TLSHandshakeTimeout:    10 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
		DisableCompression:     true,
		DisableKeepAlives:      true, // a probe ends soon, and is to leave nothing open
	}}
}

type recording struct {
	*recorder
	next http.RoundTripper
}

func (r *recording) RoundTrip(req *http.Request) (*http.Response, error) {
	before := r.clock.Now()
	resp, err := r.next.RoundTrip(req)
	if err == nil {
		r.note(resp, before, r.clock.Now())
	}
	return resp, err
}

func (r *recorder) note(resp *http.Response, before, after time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if resp.TLS != nil && len(resp.TLS.PeerCertificates) > 0 {
		r.leaf = resp.TLS.PeerCertificates[0]
	}
	date, err := http.ParseTime(resp.Header.Get("Date"))
	took := after.Sub(before)
	if err != nil || r.known && took >= r.within {
		return
	}
	// A Date has whole seconds, cut off; it was written somewhere between before and after.
	r.known, r.within = true, took
	r.offset = date.Add(time.Second / 2).Sub(before.Add(took / 2))
}

func (r *recorder) certificate() *x509.Certificate {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.leaf
}

// skew returns how far the daemon's clock is ahead of ours, going by the quickest answer.
func (r *recorder) skew() (time.Duration, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.offset, r.known
}
