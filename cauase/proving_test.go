package main

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"cauase/pkg/pki"
	"cauase/pkg/proof"
)

// sshHostKeyFile writes a host key as ssh-keygen does, and returns its public half.
func sshHostKeyFile(t *testing.T, file string) ssh.PublicKey {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(key, "")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
	public, err := ssh.NewPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return public
}

// A prover is a daemon that is proved to who asks, and signs by that. What it is sent is checked here, as the daemon does.
func (s *shell) prover(answer func(w http.ResponseWriter, p proof.Presentation) bool) {
	s.daemon.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodPut || r.URL.Path != "/cas/prove" {
			return false
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			s.Error(err)
		}
		p, err := proof.DecodePresentation(body)
		if err != nil {
			s.Error(err)
		}
		if answer(w, p) {
			return true
		}
		s.daemon.CAS.AutoApprove = 1
		r.URL.Path, r.Body = "/cas/csr", io.NopCloser(bytes.NewReader([]byte(p.RequestPEM)))
		return false
	})
}

// The certificate is there with one command, as what is signed is what a daemon wants to see.
func TestRequestWithAnSSHHostKey(t *testing.T) {
	s := newShell(t)
	public := sshHostKeyFile(t, "host_key")
	seen := 0
	s.prover(func(_ http.ResponseWriter, p proof.Presentation) bool {
		seen++
		sig, err := proof.ParseSSH(p.SSH.Signature)
		if err != nil || sig.Verify([]byte(p.SSH.Statement)) != nil || sig.Fingerprint() != ssh.FingerprintSHA256(public) {
			t.Errorf("signature: %v", err)
		}
		statement, err := proof.DecodeStatement([]byte(p.SSH.Statement))
		if err != nil {
			t.Error(err)
		}
		digest, err := pki.DigestOf([]byte(p.RequestPEM))
		if err != nil {
			t.Error(err)
		}
		ca := s.daemon.CAS.Oldest()
		if statement.Authority != "cas" || statement.Request != digest || statement.CA != proof.Fingerprint(ca) || !statement.Made.Equal(s.daemon.Clock.Now()) {
			t.Errorf("statement: %+v", statement)
		}
		return false
	})
	s.ok("request --cn web.example --ssh-host-key=host_key")
	if _, err := os.Stat("web.example.pem"); err != nil || seen != 1 {
		t.Errorf("%v, asked %d times", err, seen)
	}
	s.ok("request --cn web.example --ssh-host-key=host_key") // holds a valid certificate
	if seen != 1 {
		t.Errorf("asked %d times", seen)
	}
}

// Without names, those of the certificate that is shown are asked for.
func TestRequestWithAnotherCertificate(t *testing.T) {
	s := newShell(t)
	s.admin()
	s.ok("request --cn device --dns device.example --ip 192.0.2.1 --sign --crt device.pem")
	s.prover(func(_ http.ResponseWriter, p proof.Presentation) bool {
		held, err := proof.ParseHeld(p.Certificate)
		if err != nil || held.Verify(held.Certificate.PublicKey) != nil || held.Certificate.Subject.CommonName != "device" || p.SSH != nil {
			t.Errorf("%+v, %v", held, err)
		}
		req, err := pki.ParseRequest([]byte(p.RequestPEM))
		if err != nil || req.CSR.Subject.CommonName != "device" || len(req.CSR.DNSNames) != 1 || len(req.CSR.IPAddresses) != 1 {
			t.Errorf("%+v, %v", req, err)
		}
		return false
	})
	s.ok("request --proof-crt device.pem --crt new.pem")
	if _, err := os.Stat("new.pem"); err != nil {
		t.Error(err)
	}
}

// Whoever is refused is told why, nothing is left behind, and hints say what can be done.
func TestProofsThatAreRefusedToTheClient(t *testing.T) {
	s := newShell(t)
	sshHostKeyFile(t, "host_key")
	for _, tt := range []struct {
		status int
		answer string
		code   int
		want   string
	}{
		{403, "proof refused: unknown key", 1, "unknown key"},
		{403, "proof refused: unknown key", 1, "hint: the daemon's operators"},
		{404, "not found", 1, "takes no proofs"},
		{405, "no", 1, "takes no proofs"},
	} {
		s.prover(func(w http.ResponseWriter, _ proof.Presentation) bool {
			http.Error(w, tt.answer, tt.status)
			return true
		})
		s.exits("request --cn web.example --ssh-host-key=host_key", tt.code)
		if !strings.Contains(s.err, tt.want) {
			t.Errorf("%d %s: %s", tt.status, tt.answer, s.err)
		}
		for _, file := range []string{"web.example.pem", ".web.example.csr.pem", "web.example.csr.pem"} {
			if _, err := os.Stat(file); err == nil {
				t.Errorf("%d: %s is left behind", tt.status, file)
			}
		}
	}
}

func TestWrongCommandLinesOfProofs(t *testing.T) {
	s := newShell(t)
	s.admin()
	sshHostKeyFile(t, "host_key")
	_, key, _ := ed25519.GenerateKey(rand.Reader)
	locked, err := ssh.MarshalPrivateKeyWithPassphrase(crypto.PrivateKey(key), "", []byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("user_key", pem.EncodeToMemory(locked), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("text", []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	for line, want := range map[string]string{
		"--ssh-host-key=absent":                 "absent",
		"--ssh-host-key=user_key":               "is it the key of a user?",
		"--ssh-host-key=text":                   "text is not a private key of OpenSSH",
		"--ssh-host-key=.":                      "is not a file",
		"--proof-crt=absent":                    "absent",
		"--proof-crt=":                          "needs the name of a file",
		"--proof-key=host_key":                  "goes with --proof-crt",
		"--ssh-host-key=host_key --sign":        "with --sign or --invite they are not asked",
		"--ssh-host-key=host_key --invite text": "",
	} {
		s.exits("request --cn web.example "+line, 1)
		if !strings.Contains(s.err, want) {
			t.Errorf("%s: %s", line, s.err)
		}
	}
}
