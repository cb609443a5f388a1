package hook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

const (
	oneSecret   = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	otherSecret = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
)

func secretFile(t *testing.T, text string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(safeDir(t), "secret")
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	return path
}

// verified reports whether one of the signatures is by a secret, computed as the specification has it and not as the code under test does.
func verified(t *testing.T, h http.Header, body []byte, secret string) bool {
	t.Helper()
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil {
		t.Fatal(err)
	}
	signed := append([]byte(h.Get("webhook-id")+"."+h.Get("webhook-timestamp")+"."), body...)
	mac := hmac.New(sha256.New, key)
	mac.Write(signed)
	want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	for _, one := range strings.Split(h.Get("webhook-signature"), " ") {
		if one == want {
			return true
		}
	}
	return false
}

// TestSignatureOfTheSpecification is the example that https://www.standardwebhooks.com gives.
func TestSignatureOfTheSpecification(t *testing.T) {
	secrets, err := readSecrets(secretFile(t, oneSecret+"\n", 0o600))
	if err != nil {
		t.Fatal(err)
	}
	w := &Webhook{secrets: secrets}
	got := w.signatures("msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", []byte(`{"test": 2432232314}`))
	if want := "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestWebhooks(t *testing.T) {
	log, buffer := logged()
	var answer atomic.Value
	var elsewhere atomic.Int32
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) }))
	defer other.Close()
	type received struct {
		header http.Header
		body   []byte
	}
	calls := make(chan received, 10)
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		calls <- received{r.Header.Clone(), body}
		answer.Load().(http.HandlerFunc)(w, r)
	}))
	defer server.Close()
	roots := filepath.Join(t.TempDir(), "roots.pem")
	if err := os.WriteFile(roots, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	config := WebhookConfig{Name: "inventory", URL: server.URL + "/path-that-is-secret?token=x", CAFile: roots, Timeout: 2 * time.Second,
		SecretFile: secretFile(t, "# for the change\n"+oneSecret+"\n"+otherSecret+"\n", 0o640)}
	w, err := NewWebhook(config, log)
	if err != nil {
		t.Fatal(err)
	}
	event, err := IssuedEvent{ID: "crt-cas-0x1", Authority: "cas"}.Text()
	if err != nil {
		t.Fatal(err)
	}
	at := time.Unix(1614265330, 0)
	deliver := func(f http.HandlerFunc) error {
		t.Helper()
		answer.Store(f)
		return w.Deliver(t.Context(), at, event)
	}
	if err := deliver(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }); err != nil {
		t.Fatal(err)
	}
	call := <-calls
	if string(call.body) != string(event) || call.header.Get("webhook-id") != "crt-cas-0x1" || call.header.Get("webhook-timestamp") != "1614265330" ||
		!verified(t, call.header, call.body, oneSecret) || !verified(t, call.header, call.body, otherSecret) ||
		verified(t, call.header, append(call.body, ' '), oneSecret) || call.header.Get("content-type") != "application/json" {
		t.Errorf("%v\n%s", call.header, call.body)
	}
	for name, f := range map[string]http.HandlerFunc{
		"a redirection": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, other.URL, http.StatusTemporaryRedirect)
		},
		"an error": func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusInternalServerError) },
		"gone":     func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusGone) },
		"silence":  func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"a cut":    func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		if err := deliver(f); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", name, err)
		}
		<-calls
	}
	// An answer without end is read no further than it takes.
	endless := func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			if _, err := w.Write(make([]byte, 1<<16)); err != nil {
				return
			}
		}
	}
	if err := deliver(endless); err != nil {
		t.Errorf("an answer without end: %v", err)
	}
	if elsewhere.Load() > 0 {
		t.Error("a redirection was followed")
	}
	if said := buffer.String(); strings.Contains(said, "path-that-is-secret") || strings.Contains(said, "token") {
		t.Errorf("the log has the secret of the URL: %s", said)
	}

	config.CAFile = ""
	if w, err = NewWebhook(config, log); err != nil {
		t.Fatal(err)
	}
	if err := deliver(nil); err == nil {
		t.Error("anybody is trusted")
	}
}

func TestWhatIsNoWebhook(t *testing.T) {
	log, _ := logged()
	good := secretFile(t, oneSecret, 0o600)
	for name, test := range map[string]struct {
		change func(*WebhookConfig)
		field  string
	}{
		"no URL":          {func(c *WebhookConfig) { c.URL = "" }, "url"},
		"a file":          {func(c *WebhookConfig) { c.URL = "file:///etc/passwd" }, "url"},
		"no host":         {func(c *WebhookConfig) { c.URL = "https:///x" }, "url"},
		"a password":      {func(c *WebhookConfig) { c.URL = "https://u:p@h/" }, "url"},
		"no secret":       {func(c *WebhookConfig) { c.SecretFile = "" }, "secret_file"},
		"missing":         {func(c *WebhookConfig) { c.SecretFile = "/nowhere/secret" }, "secret_file"},
		"public":          {func(c *WebhookConfig) { c.SecretFile = secretFile(t, oneSecret, 0o644) }, "secret_file"},
		"writable":        {func(c *WebhookConfig) { c.SecretFile = secretFile(t, oneSecret, 0o660) }, "secret_file"},
		"empty":           {func(c *WebhookConfig) { c.SecretFile = secretFile(t, "\n", 0o600) }, "secret_file"},
		"no prefix":       {func(c *WebhookConfig) { c.SecretFile = secretFile(t, oneSecret[6:], 0o600) }, "secret_file"},
		"no base64":       {func(c *WebhookConfig) { c.SecretFile = secretFile(t, "whsec_!", 0o600) }, "secret_file"},
		"short":           {func(c *WebhookConfig) { c.SecretFile = secretFile(t, "whsec_AAAA", 0o600) }, "secret_file"},
		"no certificates": {func(c *WebhookConfig) { c.CAFile = good }, "ca_file"},
	} {
		c := WebhookConfig{Name: "x", URL: "https://h/", SecretFile: good}
		test.change(&c)
		_, err := NewWebhook(c, log)
		if wrong := (*FieldError)(nil); !errors.As(err, &wrong) || wrong.Field != test.field || strings.Contains(err.Error(), "MfKQ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCompile(t *testing.T) {
	log, _ := logged()
	path, secret := script(t, "true"), secretFile(t, oneSecret, 0o600)
	set, err := Compile(Config{Boot: []string{path}, Authorize: []string{path}, Presign: []string{path}, Postsign: []string{path}, Timeout: "3s", Renewals: true},
		[]WebhookTable{{Name: "a", URL: "https://h/", SecretFile: secret}}, log)
	if err != nil {
		t.Fatal(err)
	}
	if len(set.Recipients) != 2 || set.Recipients[0].Key() != path || !set.Recipients[0].Renewals() || set.Recipients[1].Key() != "webhook a" ||
		set.Recipients[1].Renewals() || set.Authorize[0].timeout != 3*time.Second || set.Boot[0].timeout != time.Minute {
		t.Errorf("%+v", set)
	}
	for name, test := range map[string]struct {
		c     Config
		hooks []WebhookTable
		index int
		field string
	}{
		"relative":     {Config{Authorize: []string{"hook"}}, nil, -1, "authorize"},
		"unclean":      {Config{Presign: []string{path + "/../hook"}}, nil, -1, "presign"},
		"missing":      {Config{Postsign: []string{path + "x"}}, nil, -1, "postsign"},
		"twice":        {Config{Boot: []string{path, path}}, nil, -1, "boot"},
		"many":         {Config{Boot: make([]string, maxHooks+1)}, nil, -1, "boot"},
		"time":         {Config{Timeout: "soon"}, nil, -1, "timeout"},
		"no time":      {Config{BootTimeout: "0s"}, nil, -1, "boot_timeout"},
		"long":         {Config{PostsignTimeout: "1h"}, nil, -1, "postsign_timeout"},
		"no name":      {Config{}, []WebhookTable{{URL: "https://h/", SecretFile: secret}}, 0, "name"},
		"same name":    {Config{}, []WebhookTable{{Name: "a", URL: "https://h/", SecretFile: secret}, {Name: "a", URL: "https://h/", SecretFile: secret}}, 1, "name"},
		"relative too": {Config{}, []WebhookTable{{Name: "a", URL: "https://h/", SecretFile: "secret"}}, 0, "secret_file"},
		"no secret":    {Config{}, []WebhookTable{{Name: "a", URL: "https://h/"}}, 0, "secret_file"},
	} {
		_, err := Compile(test.c, test.hooks, log)
		if wrong := (*ConfigError)(nil); !errors.As(err, &wrong) || wrong.Field != test.field || wrong.Webhook != test.index {
			t.Errorf("%s: %v", name, err)
		}
	}
}
