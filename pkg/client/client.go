// Package client speaks the protocol from the side of administrators and hosts: it
// submits requests, fetches certificates, follows an authority's CA certificates and
// revocation lists, and trusts nothing it cannot check.
//
// What needs no identity goes over plain HTTP, as everything on the way there is signed:
// requests by their key, renewals and revocations by their holder, certificates and
// lists by the CA. What only users may do goes through a [Session].
package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"cauase/pkg/clock"
	"cauase/pkg/envelope"
)

// An AuthorityName is the name of an authority that a daemon serves, as spelled in its URLs.
type AuthorityName string

// The authorities that every daemon has; a reference daemon has no others.
const (
	CAS AuthorityName = "cas" // for services, the product
	CAU AuthorityName = "cau" // for users, who administer the daemon
)

// maxAuthority is the length of the longest name of an authority.
const maxAuthority = 32

// ErrAuthority is a text that cannot be the name of an authority.
var ErrAuthority = errors.New("is not the name of an authority: a lower-case letter, then up to 31 lower-case letters, digits and hyphens")

// ParseAuthority reads the name of an authority, or says with [ErrAuthority] that it is none.
func ParseAuthority(s string) (AuthorityName, error) {
	ok := len(s) > 0 && len(s) <= maxAuthority && s[0] >= 'a' && s[0] <= 'z'
	for i := 0; ok && i < len(s); i++ {
		c := s[i]
		ok = c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-'
	}
	if !ok {
		return "", fmt.Errorf("%.80q %w", s, ErrAuthority)
	}
	return AuthorityName(s), nil
}

// DefaultTimeout bounds one exchange with the daemon, body included, unless
// [Options] say otherwise.
const DefaultTimeout = time.Minute

// Options say where the daemon is and how to reach it.
type Options struct {
	// URL is the daemon's base URL, http://HOST[:PORT]. Its HTTPS port follows from
	// it: 443 for 80, the next one for any other.
	URL       string
	Authority AuthorityName
	Clock     clock.Clock

	// CatchUp is for how many spans (validities of an issued certificate) after its expiry
	// a CA certificate stored locally may still vouch for its successor, when none that is
	// valid is stored. Fractions are fine; 0, the safe choice, is not at all.
	CatchUp float64

	// UserAgent is sent with each request, such as "cauase/1.2". What follows it there says which successions are
	// understood.
	UserAgent string

	// Timeout of one exchange, DefaultTimeout if 0; ten times that for revocation lists.
	Timeout time.Duration

	// Dial opens connections, net.Dialer if nil. No proxy is used: an authority is
	// on the internal network.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)

	// Transport replaces connections altogether, Dial included, where there is no network
	// but a simulated one. It is given what TLS has to heed, nil for plain HTTP.
	Transport func(*tls.Config) http.RoundTripper
}

// A Client talks to one authority of one daemon. It is safe for concurrent use.
type Client struct {
	options Options
	http    *endpoint
	host    string // without port or brackets
	https   string // base URL
}

// New checks the options. It does not contact the daemon.
func New(options Options) (*Client, error) {
	if _, err := ParseAuthority(string(options.Authority)); err != nil {
		return nil, err
	}
	if options.Clock == nil {
		return nil, errors.New("client needs a clock")
	}
	if !(options.CatchUp >= 0) {
		return nil, fmt.Errorf("%v is not a number of spans to catch up over", options.CatchUp)
	}
	if options.Timeout == 0 {
		options.Timeout = DefaultTimeout
	}
	host, port, err := splitURL(options.URL)
	if err != nil {
		return nil, err
	}
	securePort := port + 1
	if port == 80 {
		securePort = 443
	}
	if securePort > 65535 {
		return nil, fmt.Errorf("%s leaves no port for HTTPS, which is the next one", options.URL)
	}
	c := &Client{options: options, host: host}
	c.http = c.endpoint(baseURL("http", host, port), nil)
	c.https = baseURL("https", host, securePort)
	return c, nil
}

// CheckURL reports why no CA can be at an address.
func CheckURL(raw string) error {
	_, _, err := splitURL(raw)
	return err
}

func splitURL(raw string) (host string, port int, err error) {
	u, err := url.Parse(raw)
	if err != nil {
		return "", 0, fmt.Errorf("CA URL %q is not of the form http://HOST[:PORT]", raw)
	}
	switch {
	case u.Scheme == "https":
		return "", 0, fmt.Errorf("CA URL %q: give the http:// address, from which the HTTPS port follows (http port + 1, or 443 for 80)", raw)
	case u.Scheme != "http" || u.Hostname() == "":
		return "", 0, fmt.Errorf("CA URL %q is not of the form http://HOST[:PORT]", raw)
	case strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil:
		return "", 0, fmt.Errorf("CA URL %q: nothing may follow http://HOST[:PORT]", raw)
	}
	port = 80
	if s := u.Port(); s != "" {
		if port, err = strconv.Atoi(s); err != nil || port < 1 || port > 65535 {
			return "", 0, fmt.Errorf("CA URL %q: there is no port %s", raw, s)
		}
	}
	return u.Hostname(), port, nil
}

func baseURL(scheme, host string, port int) string {
	return scheme + "://" + net.JoinHostPort(host, strconv.Itoa(port))
}

// URL returns the daemon's base URL in its normal form, port included.
func (c *Client) URL() string { return c.http.base }

// endpoint makes what sends requests to base. Connections are kept for the next
// request, so one endpoint serves a client for its life.
func (c *Client) endpoint(base string, config *tls.Config) *endpoint {
	return &endpoint{
		base:      base,
		authority: c.options.Authority,
		userAgent: strings.TrimSpace(c.options.UserAgent + " " + envelope.FollowsGenerations),
		timeout:   c.options.Timeout,
		http: &http.Client{
			Transport: c.transport(config),
			// A redirected PUT would arrive as something else somewhere else, and
			// no daemon sends redirects.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

func (c *Client) transport(config *tls.Config) http.RoundTripper {
	if c.options.Transport != nil {
		return c.options.Transport(config)
	}
	transport := NewTransport(config)
	if c.options.Dial != nil {
		transport.DialContext = c.options.Dial
	}
	return transport
}

// NewTransport returns what clients send requests with where [Options] say nothing else: for many of them that are to share
// connections.
func NewTransport(config *tls.Config) *http.Transport {
	return &http.Transport{
		DialContext:            (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
		TLSClientConfig:        config,
		TLSHandshakeTimeout:    10 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
		IdleConnTimeout:        30 * time.Second,
		// Sizes are bounded as they come over the wire; compressed
		// they would say nothing.
		DisableCompression: true,
	}
}

// Authority returns the name of the authority that the client talks to.
func (c *Client) Authority() AuthorityName { return c.options.Authority }

// For returns a client of another authority of the same daemon. It shares connections with c,
// which close with those of c.
func (c *Client) For(authority AuthorityName) (*Client, error) {
	if _, err := ParseAuthority(string(authority)); err != nil {
		return nil, err
	}
	other, endpoint := *c, *c.http
	other.options.Authority, endpoint.authority = authority, authority
	other.http = &endpoint
	return &other, nil
}

// Close drops idle connections.
func (c *Client) Close() { c.http.http.CloseIdleConnections() }
