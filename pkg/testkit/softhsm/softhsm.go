// Package softhsm gives tests PKCS #11 tokens: those of SoftHSM 2, in a folder of the test's own. They are pulled out and put back by
// renaming the folders that they are.
package softhsm

import (
	"fmt"
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
	Module  string // path of its library
	Library string // path of the library that URI names
	Conf    string // value of SOFTHSM2_CONF for those who use it
	Tool    string // pkcs11-tool

	tokens string // folder of all tokens
	away   string // folder of those that are pulled out
	pin    string // file of the PIN
}

// Check skips the test where there is no SoftHSM, or fails it where all is required.
func Check(t testing.TB) {
	t.Helper()
	testkit.Need(t, "softhsm2-util", "softhsm2")
	testkit.Need(t, "pkcs11-tool", "opensc")
}

// Make makes a SoftHSM without tokens in a folder.
func Make(dir string) (*HSM, error) {
	h := &HSM{Tool: "pkcs11-tool"}
	for _, path := range modules {
		if _, err := os.Stat(path); err == nil {
			h.Module, h.Library = path, path
			break
		}
	}
	if h.Module == "" {
		return nil, fmt.Errorf("none of %v is there", modules)
	}
	h.tokens, h.away = filepath.Join(dir, "tokens"), filepath.Join(dir, "away")
	h.Conf, h.pin = filepath.Join(dir, "softhsm2.conf"), filepath.Join(dir, "pin")
	for _, folder := range []string{h.tokens, h.away} {
		if err := os.Mkdir(folder, 0o700); err != nil {
			return nil, err
		}
	}
	return h, os.WriteFile(h.Conf, []byte("directories.tokendir = "+h.tokens+"\nobjectstore.backend = file\nlog.level = ERROR\n"), 0o600)
}

// Init makes a token.
func (h *HSM) Init(label string) error {
	_, err := h.run("softhsm2-util", "--init-token", "--free", "--label", label, "--so-pin", "so-"+PIN, "--pin", PIN)
	return err
}

func (h *HSM) run(name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), "SOFTHSM2_CONF="+h.Conf)
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, out)
	}
	return string(out), err
}

// Args are the arguments of pkcs11-tool for a token, logged in.
func (h *HSM) Args(label string, args ...string) []string {
	return append([]string{"--module", h.Module, "--token-label", label, "--login", "--pin", PIN}, args...)
}

// Run runs pkcs11-tool on a token, and returns what it prints.
func (h *HSM) Run(label string, args ...string) (string, error) {
	return h.run(h.Tool, h.Args(label, args...)...)
}

// Pull pulls out all tokens.
func (h *HSM) Pull() error { return move(h.tokens, h.away) }

// Put puts them back.
func (h *HSM) Put() error { return move(h.away, h.tokens) }

func move(from, to string) error {
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := os.Rename(filepath.Join(from, e.Name()), filepath.Join(to, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// SetPIN writes the file that URI names for the PIN.
func (h *HSM) SetPIN(pin string) error { return os.WriteFile(h.pin, []byte(pin+"\n"), 0o600) }

// URI is that of a token, with what it takes to reach it.
func (h *HSM) URI(label string) string {
	return "pkcs11:token=" + strings.ReplaceAll(label, " ", "%20") + "?module-path=" + h.Library + "&pin-source=" + h.pin
}
