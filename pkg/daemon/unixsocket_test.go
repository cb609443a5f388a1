package daemon

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cauase/pkg/store"
	"cauase/pkg/testkit/pkitest"
)

// overUnix is a client of whoever listens on a socket.
func overUnix(path string) *http.Client {
	return &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}}}
}

// TestADaemonOnAUnixSocket: what is served over HTTP is served there, to whoever may write to it, and nothing that takes a
// certificate over TLS.
func TestADaemonOnAUnixSocket(t *testing.T) {
	dir, err := os.MkdirTemp("", "d")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	socket := filepath.Join(dir, "api.sock")
	r := launch(t, testConfig(t, t.TempDir(), func(c *Config) {
		c.Bind, c.SocketMode = []string{"unix:" + socket}, 0o600
	}), testTime())
	client := overUnix(socket)
	t.Cleanup(client.CloseIdleConnections)
	do := func(method, path, body string) (int, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, "http://ca.example/"+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(text)
	}
	if status, text := do(http.MethodGet, "cas/crt/ca.crt.pem", ""); status != http.StatusOK || !strings.Contains(text, "BEGIN CERTIFICATE") {
		t.Errorf("%d %s", status, text)
	}
	if status, _ := do(http.MethodGet, "cas/csr", ""); status != http.StatusUnauthorized {
		t.Errorf("a list for users: %d", status)
	}
	if status, text := do(http.MethodPut, "cas/csr", string(pkitest.NamedRequest(t, pkitest.Key(t), "a.example"))); status != http.StatusCreated {
		t.Errorf("%d %s", status, text)
	}
	err = r.store.View(t.Context(), func(r store.Reader) error {
		pending, err := r.Requests(t.Context(), store.Services, 0)
		if err == nil && (len(pending) != 1 || pending[0].Address != "unix" || pending[0].Submitter != "anonymous unix") {
			t.Errorf("pending: %+v", pending)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	client.CloseIdleConnections()
	if err := r.stop(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(socket); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket is left: %v", err)
	}
}
