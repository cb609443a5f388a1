package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"cauase/pkg/testkit"
)

func publicSSHKey(t *testing.T) string {
	t.Helper()
	public, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ssh.NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key)))
}

// TestTablesOfHosts: paths are relative to the configuration file; what is wrong is named with its place in that, and in the file it names.
func TestTablesOfHosts(t *testing.T) {
	folder := t.TempDir()
	for name, content := range map[string]string{"good": "a.example " + publicSSHKey(t) + "\n", "bad": "\na.example ssh-ed25519 AAAA\n", "ca": publicSSHKey(t) + " CA\n"} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(folder, "cauased.toml")
	for content, want := range map[string]string{
		"[ssh]\nknown_hosts = \"good\"\n":                       "",
		"[ssh]\nknown_hosts = [\"good\"]\nca_keys = [\"ca\"]\n": "",
		"[ssh]\nknown_hosts = []\n":                             "",
		"[ssh]\n":                                               "",
		"[dns]\nserver = \"192.0.2.1\"\n":                       "",
		"[dns]\nserver = \"[2001:db8::1]:5353\"\n":              "",
		"[ssh]\nknown_hosts = [\"good\", \"bad\"]\n":            path + ": line 1, column 2: ssh: " + filepath.Join(folder, "bad") + ":2: ",
		"[ssh]\nca_keys = \"good\"\n":                           filepath.Join(folder, "good") + ":1: ",
		"[ssh]\nknown_hosts = \"absent\"\n":                     filepath.Join(folder, "absent"),
		"[ssh]\nknown_hosts = 5\n":                              "line 2, column 1: ssh.known_hosts: must be the path",
		"[ssh]\nca_keys = [\"\"]\n":                             "line 2, column 1: ssh.ca_keys: must be the path",
		"[ssh]\nknown_host = \"good\"\n":                        "line 2, column 1: ",
		"[dns]\nserver = \"ns.example\"\n":                      "line 2, column 1: dns.server: ",
		"[dns]\nserver = \"192.0.2.1:0\"\n":                     "dns.server: ",
	} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := parse(t, "--netloc", "ca.example", "--config", path)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %v, want %s", content, err, want)
		}
	}
}

// TestReloadOfHosts: on SIGHUP the files are read again; with one of them wrong, what was read before still counts.
func TestReloadOfHosts(t *testing.T) {
	folder := t.TempDir()
	list := filepath.Join(folder, "known_hosts")
	put := func(content string) {
		t.Helper()
		if err := os.WriteFile(list, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("a.example " + publicSSHKey(t) + "\n")
	path := fileOf(t, "[ssh]\nknown_hosts = \""+list+"\"\n")
	cfg := testConfig(t, t.TempDir(), "--config", path)
	var log testkit.Buffer
	logger := slog.New(slog.NewTextHandler(&log, nil))
	d := launchLogged(t, cfg, testTime(), logger).Daemon
	for _, step := range []struct{ content, says string }{
		{"a.example " + publicSSHKey(t) + "\nb.example " + publicSSHKey(t) + "\n", "2 host keys"},
		{"a.example nonsense\n", list + ":1: "},
		{"", "0 host keys"},
	} {
		put(step.content)
		before := len(log.String())
		cfg.file.reload(t.Context(), d, logger, func(string) bool { return true })
		if said := log.String()[before:]; !strings.Contains(said, step.says) {
			t.Errorf("%q: it does not say %s:\n%s", step.content, step.says, said)
		}
	}
}
