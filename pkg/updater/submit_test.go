package updater

import (
	"net/http"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"cauase/pkg/pki"
)

// TestSubmissionIsDurable: a request whose submission nobody answers is on disk by then, and the same
// one is handed in again, by the next agent too: there is one request to sign, and not one for each try.
func TestSubmissionIsDurable(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, dir)
		h.o.poll = time.Hour
		h.daemon.CAS.AutoApprove = 0
		must(t, os.Remove(h.path("web.key"))) // so that it makes a request of its own
		submissions, kept := 0, ""
		h.daemon.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method != http.MethodPut || r.URL.Path != "/cas/csr" {
				return false
			}
			submissions++
			m, err := loadMemory(&h.job)
			if err != nil || m.Request == nil || m.Request.PEM == "" {
				t.Errorf("submission %d: the request is not on disk: %v", submissions, err)
				return false
			}
			if kept != "" && m.Request.PEM != kept {
				t.Errorf("submission %d is another request", submissions)
			}
			kept = m.Request.PEM
			if submissions <= 3 {
				w.WriteHeader(http.StatusGatewayTimeout) // of a proxy: it may have arrived
				return true
			}
			return false
		})
		_, stop := h.start()
		time.Sleep(2 * time.Minute)
		stop()
		_, stop = h.start()
		time.Sleep(10 * time.Minute)
		stop()
		if submissions != 4 {
			t.Errorf("%d submissions\n%s", submissions, h.log)
		}
		request, err := pki.ParseRequest([]byte(kept))
		must(t, err)
		must(t, pki.CheckPublicKey(request.CSR.PublicKey))
	})
}
