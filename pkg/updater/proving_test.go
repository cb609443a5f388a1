package updater

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"io"
	"net/http"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/ssh"

	"cauase/pkg/proof"
)

// TestAgentWithAnSSHHostKey: what the agent hands in proves which host it is, anew at each attempt, as a proof is good for minutes.
func TestAgentWithAnSSHHostKey(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, dir)
		_, key, err := ed25519.GenerateKey(rand.Reader)
		must(t, err)
		block, err := ssh.MarshalPrivateKey(key, "")
		must(t, err)
		h.job.SSHHostKey = h.path("ssh_host_key")
		must(t, os.WriteFile(h.job.SSHHostKey, pem.EncodeToMemory(block), 0o600))
		made := map[time.Time]bool{}
		h.daemon.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method != http.MethodPut || r.URL.Path != "/cas/prove" {
				return false
			}
			body, err := io.ReadAll(r.Body)
			must(t, err)
			p, err := proof.DecodePresentation(body)
			must(t, err)
			sig, err := proof.ParseSSH(p.SSH.Signature)
			must(t, err)
			must(t, sig.Verify([]byte(p.SSH.Statement)))
			s, err := proof.DecodeStatement([]byte(p.SSH.Statement))
			must(t, err)
			made[s.Made] = true
			if len(made) <= 2 {
				w.WriteHeader(http.StatusServiceUnavailable)
				return true
			}
			h.daemon.CAS.AutoApprove = 1
			r.URL.Path, r.Body = "/cas/csr", io.NopCloser(bytes.NewReader([]byte(p.RequestPEM)))
			return false
		})
		_, stop := h.start()
		time.Sleep(time.Hour)
		stop()
		if _, err := os.Stat(h.path("web.crt")); err != nil || len(made) != 3 {
			t.Errorf("%v, proofs made at %v\n%s", err, made, h.log)
		}
	})
}

// An SSH host key is for a first certificate, and there is one way to get that.
func TestJobsWithAnSSHHostKey(t *testing.T) {
	h := newHost(t, t.TempDir())
	h.job.SSHHostKey = "key"
	must(t, h.job.Validate())
	h.job.Invite = "invite"
	if h.job.Validate() == nil {
		t.Error("beside an invitation")
	}
	h.job.Invite, h.job.CSR = "", ""
	if h.job.Validate() == nil {
		t.Error("without a request")
	}
}
