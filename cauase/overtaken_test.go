package main

import (
	"bytes"
	"net/http"
	"os"
	"strings"
	"testing"

	"cauase/pkg/pemfile"
)

// What another run has put in place while this one asked the daemon stays: written over, its
// key might meet our certificate.
func TestRenewOvertaken(t *testing.T) {
	s := newShell(t)
	s.admin()
	s.exits("request --cn web --crt web.crt --key web.key", 2)
	s.ok("csr sign " + s.id())
	s.ok("request --cn web --crt web.crt --key web.key")
	copyFile := func(from, to string) {
		data, err := os.ReadFile(from)
		if err == nil {
			err = os.WriteFile(to, data, 0o600)
		}
		if err != nil {
			t.Error(err)
		}
	}
	copyFile("web.crt", "other.crt")
	copyFile("web.key", "other.key")
	s.ok("crt renew --force other.crt other.key")
	s.daemon.Intercept(func(_ http.ResponseWriter, r *http.Request) bool {
		if strings.HasSuffix(r.URL.Path, "/crt/renew") {
			copyFile("other.crt", "web.crt")
			copyFile("other.key", "web.key")
		}
		return false
	})
	s.exits("crt renew --force web.crt web.key", 1)
	s.says("web.crt was replaced meanwhile")
	pair, err := pemfile.ReadPair(pemfile.PairPaths{Crt: "web.crt", Key: "web.key"})
	if err != nil || pair.Crt == nil {
		t.Fatalf("key and certificate: %v", err)
	}
	if s.serial("web.crt") != s.serial("other.crt") {
		t.Error("the other run's certificate was replaced")
	}
}

// The key of another run that began at the same time stays with its request.
func TestRequestOvertaken(t *testing.T) {
	s := newShell(t)
	s.exits("request --cn web --crt other.pem", 2)
	key, err := os.ReadFile("other.pem")
	if err != nil {
		t.Fatal(err)
	}
	s.daemon.Intercept(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodGet {
			if err := os.WriteFile("web.pem", key, 0o600); err != nil {
				t.Error(err)
			}
		}
		return false
	})
	s.exits("request --cn web", 1)
	s.says("web.pem has got a private key meanwhile")
	if now, err := os.ReadFile("web.pem"); err != nil || !bytes.Equal(now, key) {
		t.Errorf("the other run's key was replaced: %v", err)
	}
}

// What a run that was killed has left of a key is not kept for ever.
func TestRenewSweeps(t *testing.T) {
	s := newShell(t)
	s.admin()
	s.exits("request --cn web --crt web.crt --key web.key", 2)
	s.ok("csr sign " + s.id())
	s.ok("request --cn web --crt web.crt --key web.key")
	for _, left := range []string{".web.key.0123456789abcdef.new", ".web.crt.0123456789abcdef.new"} {
		if err := os.WriteFile(left, []byte("half a"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s.ok("crt renew --force web.crt web.key")
	for _, name := range s.files() {
		if strings.HasSuffix(name, ".new") {
			t.Errorf("%s is still there", name)
		}
	}
}
