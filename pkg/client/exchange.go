package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"

	"cauase/pkg/pki"
)

// Bounds on answers, in bytes.
const (
	maxAnswer = 10 << 20
	maxReason = 300
)

var (
	// ErrNotCA says that whatever answered does not speak our protocol: a web
	// page, a redirect, a captive portal.
	ErrNotCA = errors.New("the answer is not from a certificate authority")

	// ErrTooLong is an answer beyond what its kind can need.
	ErrTooLong = errors.New("the answer is too long")
)

// A StatusError is a refusal by the daemon.
type StatusError struct {
	Op     string // what was asked for, as "sign request 123"
	Status int
	Reason string // the daemon's words, if any, printable

	// RetryAfter is how long the daemon asks to wait before the next try, 0 if it does not.
	RetryAfter time.Duration

	// Rejection is what a user has decided about the request, nil if that is not the reason.
	Rejection *Rejection
}

func (e *StatusError) Error() string {
	if e.Reason == "" {
		return fmt.Sprintf("%s: the daemon answered %d %s", e.Op, e.Status, http.StatusText(e.Status))
	}
	return fmt.Sprintf("%s: the daemon answered %d: %s", e.Op, e.Status, e.Reason)
}

// Unwrap returns the Rejection, if there is one.
func (e *StatusError) Unwrap() error {
	if e.Rejection == nil {
		return nil
	}
	return e.Rejection
}

// RetryAfter returns how long a daemon's answer asks to wait before the next try, 0 if err is none that does.
func RetryAfter(err error) time.Duration {
	var refused *StatusError
	if !errors.As(err, &refused) {
		return 0
	}
	return refused.RetryAfter
}

// IsStatus reports whether err is a daemon's answer with one of these statuses.
func IsStatus(err error, statuses ...int) bool {
	var refused *StatusError
	if !errors.As(err, &refused) {
		return false
	}
	for _, status := range statuses {
		if refused.Status == status {
			return true
		}
	}
	return false
}

// endpoint sends requests to one of a daemon's two ports.
type endpoint struct {
	base      string
	authority AuthorityName
	userAgent string
	timeout   time.Duration
	http      *http.Client
}

// A call is one request.
type call struct {
	op     string // for messages
	method string
	path   string // below the authority, "" for the page above all of them
	query  url.Values
	accept string      // media type, "" for the daemon's choice
	body   []byte      // nil for none
	typ    string      // Content-Type of body
	want   int         // status of success
	limit  int64       // of the answer, maxAnswer if 0
	large  bool        // the answer may take a while to come
	tag    string      // of the answer known already (RFC 9110 13.1.2), "" for none
	match  string      // tag of what the request is about (RFC 9110 13.1.1), "" for whatever is there
	reason string      // of a rejection, "" for none
	header http.Header // others

	wait time.Duration // how long the daemon is asked to hold the answer back, which may be that there is none
}

// largeTimeoutFactor is how many times the timeout of others a large answer has.
const largeTimeoutFactor = 10

// do sends a request and returns the answer's body and headers, or why there is none.
// The body is nil if, and only if, it is the one known already.
func (e *endpoint) do(ctx context.Context, c call) ([]byte, http.Header, error) {
	timeout := e.timeout
	if c.large {
		timeout *= largeTimeoutFactor
	}
	timeout += c.wait
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	// A reader of length zero makes net/http send "Content-Length: 0", without which
	// the reference daemon waits for a body that never comes.
	target := e.base + "/"
	if c.path != "" {
		target += string(e.authority) + c.path
	}
	if len(c.query) > 0 {
		target += "?" + c.query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, c.method, target, bytes.NewReader(c.body))
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", c.op, err)
	}
	req.Header.Set("User-Agent", e.userAgent)
	if c.typ != "" {
		req.Header.Set("Content-Type", c.typ)
	}
	if c.accept != "" {
		req.Header.Set("Accept", c.accept)
	}
	if c.tag != "" {
		req.Header.Set("If-None-Match", c.tag)
	}
	if c.match != "" {
		req.Header.Set("If-Match", c.match)
	}
	if c.reason != "" {
		req.Header.Set(headerReason, url.PathEscape(c.reason))
	}
	for name, values := range c.header {
		req.Header[name] = values
	}
	resp, err := e.http.Do(req)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", c.op, err)
	}
	defer resp.Body.Close()
	if (c.tag != "" || c.wait > 0) && resp.StatusCode == http.StatusNotModified {
		if resp.Close {
			resp.Header.Set("Connection", "close")
		}
		return nil, resp.Header, nil
	}
	limit := c.limit
	if limit == 0 {
		limit = maxAnswer
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err != nil {
		return nil, nil, fmt.Errorf("%s: answer broke off: %w", c.op, err)
	}
	if err := checkAnswer(resp, body, c.want, limit); err != nil {
		var refused *StatusError
		if errors.As(err, &refused) {
			refused.Op = c.op
			return nil, nil, err
		}
		return nil, nil, fmt.Errorf("%s: %s: %w", c.op, e.base, err)
	}
	return body, resp.Header, nil
}

func checkAnswer(resp *http.Response, body []byte, want int, limit int64) error {
	switch {
	case resp.StatusCode >= 300 && resp.StatusCode < 400:
		return fmt.Errorf("%w: it redirects to %.100q", ErrNotCA, resp.Header.Get("Location"))
	case isHTML(resp.Header.Get("Content-Type"), body):
		return fmt.Errorf("%w: it is a web page, with status %d", ErrNotCA, resp.StatusCode)
	case resp.StatusCode != want:
		return statusError(resp, body)
	case int64(len(body)) > limit:
		return fmt.Errorf("%w: more than %d bytes", ErrTooLong, limit)
	}
	return nil
}

// isHTML recognises what a proxy or a wrong port answers. Content types of daemons
// differ and are not insisted on otherwise.
func isHTML(contentType string, body []byte) bool {
	if typ, _, err := mime.ParseMediaType(contentType); err == nil && typ == "text/html" {
		return true
	}
	start := bytes.ToLower(bytes.TrimSpace(body[:min(len(body), 100)]))
	return bytes.HasPrefix(start, []byte("<!doctype html")) || bytes.HasPrefix(start, []byte("<html"))
}

// reason takes from an error's body what fits into a message.
func reason(body []byte) string {
	text := strings.TrimSpace(string(body[:min(len(body), maxReason)]))
	text, _, _ = strings.Cut(text, "\n")
	return pki.EscapeText(strings.TrimSpace(text))
}
