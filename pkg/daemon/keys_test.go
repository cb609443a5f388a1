package daemon

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/control"
	"cauase/pkg/keys"
	"cauase/pkg/pgtest"
	"cauase/pkg/store"
	"cauase/pkg/testkit"
)

func sealedBy(secret, passphrase string) func(*Config) {
	keys.CheapPassphrases()
	return func(c *Config) {
		c.Sealing = Sealing{Secret: secret}
		if passphrase != "" {
			c.Sealing.Passphrase = func() ([]byte, error) { return []byte(passphrase), nil }
		}
	}
}

// Of two daemons on one database, one has no secret file: it serves what there is until it is given that, and the other goes on.
func TestTwoDaemonsOneLocked(t *testing.T) {
	dsn := pgtest.Start(t, pgtest.Options{}).NewDatabase(t)
	here, there := filepath.Join(t.TempDir(), "secret"), filepath.Join(t.TempDir(), "secret")
	first := launch(t, testConfig(t, t.TempDir(), on(dsn), sealedBy(here, "")), testTime())
	second := launch(t, testConfig(t, t.TempDir(), on(dsn), sealedBy(there, "")), testTime())
	if _, err := os.Stat(there); err == nil {
		t.Error("the second has made a secret that opens nothing")
	}
	for name, c := range map[string]struct {
		of     running
		status int
	}{"first": {first, http.StatusOK}, "second": {second, http.StatusServiceUnavailable}} {
		if status, page := testkit.Get(t, c.of.httpURL("/readyz")); status != c.status || status != http.StatusOK && !strings.Contains(page, "cas failed: the private keys are locked") {
			t.Errorf("%s: readyz: %d %s", name, status, page)
		}
		for _, path := range []string{"/cas/crt/ca.crt.pem", "/cas/crl", "/healthz"} {
			if status, _ := testkit.Get(t, c.of.httpURL(path)); status != http.StatusOK {
				t.Errorf("%s: %s: %d", name, path, status)
			}
		}
	}
	content, err := os.ReadFile(here)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(there, content, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := second.unlock(t.Context(), UnlockRequest{}); err != nil {
		t.Fatal(err)
	}
	a, _ := second.Authority(store.Services)
	if err := a.Maintain(t.Context()); err != nil || a.Locked() != nil {
		t.Errorf("unlocked: %v, %v", err, a.Locked())
	}
}

// Attempts to unlock cost, are recorded, and have to wait when they go wrong; what is right is heard at the socket.
func TestUnlockAttempts(t *testing.T) {
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret")
	if err := launch(t, testConfig(t, dir, sealedBy(secret, "right")), testTime()).stop(); err != nil {
		t.Fatal(err)
	}
	cfg := testConfig(t, dir, sealedBy(secret, ""))
	cfg.Sealing.Socket = filepath.Join(dir, "socket")
	r := launch(t, cfg, testTime())
	ask := func(passphrase string) (answer UnlockAnswer) {
		t.Helper()
		if err := control.Ask(t.Context(), cfg.Sealing.Socket, UnlockRequest{Passphrase: []byte(passphrase)}, &answer); err != nil {
			t.Fatal(err)
		}
		return answer
	}
	if answer := ask(""); !answer.Needed {
		t.Errorf("without one: %+v", answer)
	}
	for range freeAttempts {
		if answer := ask("wrong"); answer.Error != keys.ErrUnwrap.Error() {
			t.Errorf("a wrong one: %+v", answer)
		}
	}
	if answer := ask("right"); answer.Wait != 1 {
		t.Errorf("too soon: %+v", answer)
	}
	r.clk.Advance(2 * time.Second)
	if answer := ask("right"); answer.Error != "" {
		t.Errorf("the right one: %+v", answer)
	}
	refused := 0
	err := r.store.View(context.WithoutCancel(t.Context()), func(rd store.Reader) error {
		return rd.Audit(t.Context(), audit.Filter{Action: audit.UnlockKeys}, func(e audit.Entry) error {
			if e.Result == audit.Refused {
				refused++
			}
			if text, _ := json.Marshal(e); strings.Contains(string(text), "wrong") {
				t.Errorf("a passphrase is in the audit log: %s", text)
			}
			return nil
		})
	})
	if err != nil || refused != freeAttempts {
		t.Errorf("%d refused: %v", refused, err)
	}
}
