// Package softhsm gives tests PKCS #11 tokens: those of SoftHSM 2, in a folder of the test's own. They are pulled out and put back by
// renaming the folder that one of them is.
package softhsm

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"cauase/pkg/testkit"
)

// PIN is that of all tokens that tests make.
const PIN = "1234-secret-PIN"

// modules is where distributions have the library.
var modules = []string{"/usr/lib/softhsm/libsofthsm2.so", "/usr/lib64/pkcs11/libsofthsm2.so", "/usr/lib64/softhsm/libsofthsm2.so", "/usr/local/lib/softhsm/libsofthsm2.so"}

// A HSM is a SoftHSM with its tokens.
type HSM struct {
	Module string // path of the library
	Conf   string // value of SOFTHSM2_CONF for those who use it
	Tool   string // pkcs11-tool

	t      testing.TB
	util   string
	tokens string // folder of all tokens
	away   string // folder of those that are pulled out
}

// New makes a SoftHSM without tokens, or skips the test where there is none. It sets SOFTHSM2_CONF for this process, too.
func New(t testing.TB) *HSM {
	t.Helper()
	h := &HSM{t: t, util: testkit.Need(t, "softhsm2-util", "softhsm2"), Tool: testkit.Need(t, "pkcs11-tool", "opensc")}
	for _, path := range modules {
		if _, err := os.Stat(path); err == nil {
			h.Module = path
			break
		}
	}
	if h.Module == "" {
		t.Fatalf("softhsm2-util is installed, but none of %v", modules)
	}
	dir := t.TempDir()
	h.tokens, h.away, h.Conf = filepath.Join(dir, "tokens"), filepath.Join(dir, "away"), filepath.Join(dir, "softhsm2.conf")
	for _, folder := range []string{h.tokens, h.away} {
		if err := os.Mkdir(folder, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(h.Conf, []byte("directories.tokendir = "+h.tokens+"\nobjectstore.backend = file\nlog.level = ERROR\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if t, ok := t.(*testing.T); ok {
		t.Setenv("SOFTHSM2_CONF", h.Conf)
	}
	return h
}

// Init makes a token.
func (h *HSM) Init(label string) {
	h.t.Helper()
	h.run(h.util, "--init-token", "--free", "--label", label, "--so-pin", "so-"+PIN, "--pin", PIN)
}

func (h *HSM) run(name string, args ...string) string {
	h.t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), "SOFTHSM2_CONF="+h.Conf)
	out, err := cmd.CombinedOutput()
	if err != nil {
		h.t.Fatalf("%s: %v\n%s", strings.ReplaceAll(strings.Join(cmd.Args, " "), PIN, "…"), err, out)
	}
	return string(out)
}

// Run runs pkcs11-tool on a token, logged in, and returns what it prints.
func (h *HSM) Run(label string, args ...string) string {
	h.t.Helper()
	return h.run(h.Tool, append([]string{"--module", h.Module, "--token-label", label, "--login", "--pin", PIN}, args...)...)
}

// Pull pulls out all tokens that are there, and returns what puts them back.
func (h *HSM) Pull() (back func()) {
	h.t.Helper()
	move := func(from, to string) {
		h.t.Helper()
		entries, err := os.ReadDir(from)
		if err != nil {
			h.t.Fatal(err)
		}
		for _, e := range entries {
			if err := os.Rename(filepath.Join(from, e.Name()), filepath.Join(to, e.Name())); err != nil {
				h.t.Fatal(err)
			}
		}
	}
	move(h.tokens, h.away)
	return func() { h.t.Helper(); move(h.away, h.tokens) }
}

// PINFile writes a file with a PIN, for its owner only.
func (h *HSM) PINFile(pin string) string {
	h.t.Helper()
	path := filepath.Join(filepath.Dir(h.Conf), "pin")
	if err := os.WriteFile(path, []byte(pin+"\n"), 0o600); err != nil {
		h.t.Fatal(err)
	}
	return path
}

// URI is that of a token, with what it takes to reach it.
func (h *HSM) URI(label string) string {
	return "pkcs11:token=" + label + "?module-path=" + h.Module + "&pin-source=" + filepath.Join(filepath.Dir(h.Conf), "pin")
}
