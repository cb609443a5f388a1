package hook

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"cauase/pkg/folder"
	"cauase/pkg/pki"
)

// A Webhook posts events to a web server, signed as https://www.standardwebhooks.com says. It is safe for concurrent use.
type Webhook struct {
	name     string
	url      string
	shown    string // of the URL, what may be logged
	timeout  time.Duration
	renewals bool
	secrets  [][]byte
	client   *http.Client
	log      *slog.Logger
}

// A WebhookConfig is a table [[webhook]] of a configuration file, with paths that are absolute.
type WebhookConfig struct {
	Name       string
	URL        string
	SecretFile string
	CAFile     string // certificates to trust over HTTPS; empty: those of the system
	Timeout    time.Duration
	Renewals   bool
}

// maxSecretFile and the bounds of a secret, in bytes; the latter are those of the specification.
const (
	maxSecretFile = 64 << 10
	minSecret     = 24
	maxSecret     = 64
)

// defaultWebhookTimeout is how long a web server may take unless the configuration says otherwise.
const defaultWebhookTimeout = 15 * time.Second

// NewWebhook reads what a webhook needs. Errors are [*FieldError].
func NewWebhook(c WebhookConfig, log *slog.Logger) (*Webhook, error) {
	u, err := url.Parse(c.URL)
	switch {
	case err != nil:
		return nil, &FieldError{"url", errors.New("is not a URL")} // whatever the library quotes
	case u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.Opaque != "":
		return nil, &FieldError{"url", errors.New("must begin with https:// or http:// and a host")}
	case u.User != nil:
		return nil, &FieldError{"url", errors.New("has a user or a password: what is sent is signed instead")}
	case u.Fragment != "":
		return nil, &FieldError{"url", errors.New("has a fragment, which is never sent")}
	}
	w := &Webhook{name: c.Name, url: c.URL, shown: u.Scheme + "://" + u.Host, timeout: c.Timeout, renewals: c.Renewals}
	w.logTo(log)
	if w.timeout <= 0 {
		w.timeout = defaultWebhookTimeout
	}
	if w.secrets, err = readSecrets(c.SecretFile); err != nil {
		return nil, &FieldError{"secret_file", err}
	}
	transport := &http.Transport{
		Proxy:           nil, // what the environment says is for others
		TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}, MaxIdleConns: 2, IdleConnTimeout: time.Minute,
		MaxResponseHeaderBytes: 16 << 10, ForceAttemptHTTP2: true,
	}
	if c.CAFile != "" {
		if transport.TLSClientConfig.RootCAs, err = readRoots(c.CAFile); err != nil {
			return nil, &FieldError{"ca_file", err}
		}
	}
	w.client = &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return w, nil
}

func (w *Webhook) logTo(log *slog.Logger) {
	w.log = log.With("hook", string(Postsign), "webhook", w.name)
}

// A FieldError is an error about a field of a table.
type FieldError struct {
	Field string
	Err   error
}

func (e *FieldError) Error() string { return e.Field + ": " + e.Err.Error() }

// Unwrap returns what is wrong.
func (e *FieldError) Unwrap() error { return e.Err }

// readSecrets reads the secrets in a file, one a line: what is sent is signed with each, so that one can be exchanged for another.
func readSecrets(path string) (secrets [][]byte, err error) {
	if path == "" {
		return nil, errors.New("is missing: the receiver knows by it who has sent")
	}
	in, name, err := folder.Access{Guard: true}.Target(path)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	content, info, err := in.ReadFile(name, maxSecretFile)
	if err != nil {
		return nil, err
	}
	if err := info.Exposed(path); err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o004 != 0 {
		return nil, fmt.Errorf("%s can be read by everybody: chmod o= keeps it secret", path)
	}
	for line := range strings.Lines(string(content)) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		text, prefixed := strings.CutPrefix(line, "whsec_")
		secret, err := base64.StdEncoding.DecodeString(text)
		if !prefixed || err != nil {
			return nil, fmt.Errorf("%s: a line is no secret, which is whsec_ and base64", path)
		}
		if len(secret) < minSecret || len(secret) > maxSecret {
			return nil, fmt.Errorf("%s: a secret of %d bytes, from %d to %d are possible", path, len(secret), minSecret, maxSecret)
		}
		secrets = append(secrets, secret)
	}
	if len(secrets) == 0 {
		return nil, fmt.Errorf("%s: there is no secret, which is a line of whsec_ and base64", path)
	}
	return secrets, nil
}

func readRoots(path string) (*x509.CertPool, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(content) {
		return nil, fmt.Errorf("%s: there is no certificate in PEM form", path)
	}
	return roots, nil
}

// Key is the name of the webhook, told from paths of programs.
func (w *Webhook) Key() string { return webhookKey(w.name) }

func webhookKey(name string) string { return "webhook " + name }

// Renewals reports whether it is told of renewals, too.
func (w *Webhook) Renewals() bool { return w.renewals }

// Timeout bounds a call of Deliver.
func (w *Webhook) Timeout() time.Duration { return w.timeout }

// Deliver posts an event. Every answer but one of success is an error, redirections included: they could lead anywhere.
func (w *Webhook) Deliver(ctx context.Context, now time.Time, event []byte) error {
	ctx, cancel := context.WithTimeout(ctx, w.timeout)
	defer cancel()
	if err := w.post(ctx, now, event); err != nil {
		err = &Failure{Postsign, w.Key(), err}
		w.log.ErrorContext(ctx, "webhook failed", "url", w.shown, "error", pki.EscapeText(err.Error()))
		return err
	}
	return nil
}

func (w *Webhook) post(ctx context.Context, now time.Time, event []byte) error {
	id, err := eventID(event)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url, bytes.NewReader(event))
	if err != nil {
		return errors.New("the request cannot be made") // whatever the library quotes
	}
	at := strconv.FormatInt(now.Unix(), 10)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "cauased")
	req.Header.Set("Webhook-Id", id)
	req.Header.Set("Webhook-Timestamp", at)
	req.Header.Set("Webhook-Signature", w.signatures(id, at, event))
	resp, err := w.client.Do(req)
	if wrapped := (*url.Error)(nil); errors.As(err, &wrapped) {
		err = wrapped.Err // without the URL, whose path may be a secret
	}
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	// A small answer is read so that the connection can be used again.
	_, _ = io.CopyN(io.Discard, resp.Body, 4<<10)
	switch {
	case resp.StatusCode >= 200 && resp.StatusCode < 300:
		return nil
	case resp.StatusCode >= 300 && resp.StatusCode < 400:
		return fmt.Errorf("it answers with status %d, and redirections are not followed", resp.StatusCode)
	}
	return fmt.Errorf("it answers with status %d", resp.StatusCode)
}

// signatures are those of all secrets.
func (w *Webhook) signatures(id, at string, event []byte) string {
	var all []string
	for _, secret := range w.secrets {
		mac := hmac.New(sha256.New, secret)
		_, _ = fmt.Fprintf(mac, "%s.%s.", id, at)
		_, _ = mac.Write(event)
		all = append(all, "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	}
	return strings.Join(all, " ")
}
