package verifiers

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	_ "embed"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"cauase/pkg/judges"
	"cauase/pkg/testkit"
)

func pemOf(crt *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: crt.Raw})
}

// askJudge asks one of the judges of chains.
func askJudge(j func() *judges.Judges, name string) func(*testing.T, *scene) (ask, error) {
	return func(t *testing.T, s *scene) (ask, error) {
		only := j().Only(name)
		q := judges.Question{Roots: s.cas, At: time.Now()}
		for _, l := range s.lists {
			q.CRLs = append(q.CRLs, l.Raw)
		}
		return func(h holder) error {
			q := q
			q.Leaf = h.pair.Leaf
			return only.Ask(t, q)[name]
		}, nil
	}
}

// askCurl has curl verify a server.
func askCurl(t *testing.T, s *scene) (ask, error) {
	curl := testkit.Need(t, "curl", "curl")
	return func(h holder) error {
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		server.TLS = &tls.Config{Certificates: []tls.Certificate{h.pair}, MinVersion: tls.VersionTLS12}
		server.StartTLS()
		defer server.Close()
		_, port, err := net.SplitHostPort(server.Listener.Addr().String())
		if err != nil {
			return err
		}
		_, err = run(s.dir, []string{"CURL_HOME=" + s.dir}, curl, "-sS", "--noproxy", "*", "--cacert", s.ca, "--crlfile", s.crl, "https://127.0.0.1:"+port+"/")
		return err
	}, nil
}

// askStrongSwan asks "pki --verify", which takes one certificate or list from a file.
func askStrongSwan(t *testing.T, s *scene) (ask, error) {
	pki := testkit.Need(t, "pki", "strongswan-pki")
	argv := []string{pki, "--verify"}
	for i := range s.cas {
		ca := write(t, filepath.Join(s.dir, fmt.Sprintf("strongswan-%d.crt", i)), pemOf(s.cas[i]), 0o644)
		crl := write(t, filepath.Join(s.dir, fmt.Sprintf("strongswan-%d.crl", i)), s.lists[i].Raw, 0o644)
		argv = append(argv, "--cacert", ca, "--crl", crl)
	}
	return func(h holder) error {
		out, err := run(s.dir, nil, append(argv, "--in", h.crt)...)
		if err == nil && !bytes.Contains([]byte(out), []byte("certificate trusted, lifetimes valid, certificate not revoked")) {
			return errors.New(out)
		}
		return err
	}, nil
}

// script runs a program that judges all holders at once: it gets the files, and says of each in JSON why it was refused, or nothing.
func script(t *testing.T, s *scene, argv ...string) (ask, error) {
	t.Helper()
	argv = append(argv, s.ca, s.crl)
	for _, h := range s.holders() {
		argv = append(argv, h.crt, h.key)
	}
	out, err := run(s.dir, nil, argv...)
	if err != nil {
		return nil, err
	}
	var answers []string
	if err := json.Unmarshal([]byte(out), &answers); err != nil || len(answers) != len(s.holders()) {
		t.Fatalf("%s: %v", out, err)
	}
	return func(h holder) error {
		for i, other := range s.holders() {
			if other.name == h.name && answers[i] != "" {
				return errors.New(answers[i])
			}
		}
		return nil
	}, nil
}

func (s *scene) holders() []holder { return append(s.good[:], s.revoked[:]...) }

//go:embed testdata/node.mjs
var nodeScript []byte

func askNode(t *testing.T, s *scene) (ask, error) {
	node := testkit.Need(t, "node", "nodejs")
	return script(t, s, node, write(t, filepath.Join(s.dir, "node.mjs"), nodeScript, 0o644))
}

//go:embed testdata/python_ssl.py
var pythonSSL []byte

func askPythonSSL(t *testing.T, s *scene) (ask, error) {
	python := testkit.Need(t, "python3", "python3")
	return script(t, s, python, write(t, filepath.Join(s.dir, "python_ssl.py"), pythonSSL, 0o644))
}

//go:embed testdata/cryptography.py
var pythonCryptography []byte

func askCryptography(t *testing.T, s *scene) (ask, error) {
	python := withCryptography(t)
	return script(t, s, python, write(t, filepath.Join(s.dir, "verify_cryptography.py"), pythonCryptography, 0o644))
}

// withCryptography finds a Python with a version of cryptography that verifies.
func withCryptography(t *testing.T) string {
	t.Helper()
	candidates := []string{os.Getenv("CAUASE_VERIFIERS_PYTHON"), "../../.cache/verifiers/bin/python3", "python3"}
	for _, python := range candidates {
		if python == "" {
			continue
		}
		if abs, err := filepath.Abs(python); err == nil && filepath.Base(python) != python {
			python = abs
		}
		if _, err := run("/", nil, python, "-c", "from cryptography.x509.verification import PolicyBuilder; PolicyBuilder().build_client_verifier"); err == nil {
			return python
		}
	}
	if os.Getenv("CAUASE_REQUIRE_ALL") == "1" {
		t.Fatal("there is no Python with a cryptography that verifies (pip install cryptography)")
	}
	t.Skip("NOT TESTED: there is no Python with a cryptography that verifies (pip install cryptography)")
	return ""
}
