package daemon

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"cauase/pkg/invite"
	"cauase/pkg/testkit"
	"cauase/pkg/testkit/pkitest"
)

// Strangers are told neither whether there is a user already, nor of any invitation: not by an answer that changes when the
// first user has come, nor by one that says an id, a name or a place.
func TestStrangersAreNotToldOfTheFirstUser(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "first-user.invite")
	var log testkit.Buffer
	r := launchLogged(t, testConfig(t, dir, inviting(dir), func(c *Config) { c.Metrics = "127.0.0.1:0" }), testTime(), &log)
	signed := mustRead(t, path)
	host, _ := os.Hostname()
	secrets := []string{signed.Text()[len(invite.Prefix):], signed.ID.String(), path, "first-user", "first user"}
	if len(host) > 3 {
		secrets = append(secrets, host+"\"")
	}
	stranger := &http.Client{Transport: &http.Transport{
		//nolint:gosec // A stranger does not mind.
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
	}}
	defer stranger.CloseIdleConnections()
	ask := func(method, url, body string) string {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		answer, err := stranger.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		text, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		for _, secret := range secrets {
			if strings.Contains(string(text)+fmt.Sprint(answer.Header), secret) {
				t.Errorf("%s %s says %q", method, url, secret)
			}
		}
		return fmt.Sprintf("%d %s", answer.StatusCode, requestID.ReplaceAllString(string(text), "ID"))
	}
	// One that is signed by nobody of here, and says of whom it is.
	forged, err := invite.Sign(pkitest.Key(t), forgery(t, signed))
	if err != nil {
		t.Fatal(err)
	}
	body, err := invite.Presentation{Invitation: forged.Text(), RequestPEM: string(pkitest.NamedRequest(t, pkitest.Key(t), "mallory"))}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	https := "https://" + r.listeners.HTTPS[0].Addr().String()
	look := func() (seen []string) {
		for _, base := range []string{r.httpURL(""), https} {
			for _, path := range []string{"/", "/readyz", "/readyz?verbose", "/healthz", "/cau", "/cau/", "/cau/crt/ca.crt.pem", "/cau/crt/ca.crt.json", "/cau/crt/https-ca.json",
				"/cau/invite", "/cau/invite/" + signed.ID.String(), "/cau/csr", "/cau/csr/1", "/cau/lineage", "/cau/timeline", "/cas/invite"} {
				seen = append(seen, base+path+": "+ask("GET", base+path, ""))
			}
			seen = append(seen, ask("DELETE", base+"/cau/invite/"+signed.ID.String(), ""), ask("PUT", base+"/cau/invite", string(body)))
		}
		return seen
	}
	before := look()
	if err := r.accept(t, signed, "alice"); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the file is removed", func() bool { _, err := os.Stat(path); return os.IsNotExist(err) })
	for n, after := range look() {
		if after != before[n] {
			t.Errorf("there was no user:\n%s\nnow there is:\n%s", before[n], after)
		}
	}
	if status, page := testkit.Get(t, "http://"+r.metrics.listener.Addr().String()+"/metrics"); status != http.StatusOK || strings.Contains(page, signed.ID.String()) || strings.Contains(page, path) {
		t.Errorf("metrics: %d", status)
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{signed.Text(), forged.Text()} {
		if strings.Contains(log.String(), text[len(invite.Prefix):]) {
			t.Error("the log has the text of an invitation")
		}
	}
}

// requestID is what differs in each answer.
var requestID = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f-]{27}|request(_id)?[ =":]+[0-9A-Za-z-]+`)

// forgery is what another would have to sign to be taken for the CA.
func forgery(t *testing.T, of *invite.Signed) []byte {
	t.Helper()
	payload, err := of.Payload()
	if err != nil {
		t.Fatal(err)
	}
	return payload
}
