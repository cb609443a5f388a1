package daemon

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"cauase/pkg/hook"
	"cauase/pkg/store"
	"cauase/pkg/testkit"
)

// TestAWebServerIsTold of a certificate until it takes it, in a form that openssl verifies.
func TestAWebServerIsTold(t *testing.T) {
	openssl := testkit.Need(t, "openssl", "openssl")
	key := bytes.Repeat([]byte{0x5a, 0x01}, 16)
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	secret := filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, []byte("whsec_"+base64.StdEncoding.EncodeToString(key)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	type call struct {
		header http.Header
		body   []byte
	}
	calls := make(chan call, 10)
	statuses := make(chan int, 2)
	statuses <- http.StatusServiceUnavailable
	statuses <- http.StatusAccepted
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.WriteHeader(<-statuses)
		calls <- call{r.Header.Clone(), body}
	}))
	defer web.Close()
	hooks := hooksOf(t, hook.Config{}, hook.WebhookTable{Name: "inventory", URL: web.URL + "/x", SecretFile: secret})
	r := launch(t, testConfig(t, t.TempDir(), withSigning(approvesWeb(t), hooks)), testTime())
	status, answer := r.putCSR(t, "web1", request(t, "a.web.example"))
	if status != http.StatusOK {
		t.Fatalf("%d %v", status, answer)
	}
	first := <-calls
	waitFor(t, "the failure is noted", func() bool {
		var all []store.Delivery
		err := r.store.View(t.Context(), func(reader store.Reader) (err error) {
			all, err = reader.Deliveries(t.Context(), "webhook inventory", testTime().Add(time.Hour), 0)
			return err
		})
		return err == nil && len(all) == 1 && all[0].Attempts == 1
	})
	waitFor(t, "the server is asked again when it is time", func() bool {
		r.clk.Advance(time.Minute)
		r.outbox.Kick()
		return len(calls) > 0
	})
	second := <-calls
	if !bytes.Equal(first.body, second.body) || first.header.Get("webhook-id") != second.header.Get("webhook-id") || first.header.Get("webhook-id") == "" {
		t.Errorf("told again it is another event: %v, %v", first.header, second.header)
	}
	for _, one := range []call{first, second} {
		at := one.header.Get("webhook-timestamp")
		if _, err := strconv.ParseInt(at, 10, 64); err != nil {
			t.Errorf("timestamp %q", at)
		}
		cmd := exec.Command(openssl, "dgst", "-sha256", "-mac", "HMAC", "-macopt", "hexkey:"+hex.EncodeToString(key), "-binary")
		cmd.Stdin = strings.NewReader(one.header.Get("webhook-id") + "." + at + "." + string(one.body))
		mac, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		if got := one.header.Get("webhook-signature"); got != "v1,"+base64.StdEncoding.EncodeToString(mac) {
			t.Errorf("signature %s", got)
		}
	}
	waitFor(t, "nothing waits", func() bool {
		r.outbox.Kick()
		return len(r.deliveries(t)) == 0
	})
}
