package main

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"cauase/pkg/pemfile"
	"cauase/pkg/pki"
)

func TestServiceJourney(t *testing.T) {
	s := newShell(t)
	s.admin()
	request := "request --cn web --dns web.example --ip 192.0.2.1 --email a@b.example --uri spiffe://example/web --eku server --key web.key --crt web.crt.pem"
	s.exits(request, 2)
	id := s.id()
	s.says("hint: .*csr sign " + id)
	s.exits(request, 2)
	if s.id() != id {
		t.Errorf("another id: %s", s.out)
	}
	s.exits("crt get "+id+" elsewhere.pem", 2)
	s.ok("csr list")
	s.says(id + ` +as-requested +93d +ECDSA P-256 +CN=web\n +names: +DNS:web.example, email:a@b.example, IP:192.0.2.1, URI:spiffe://example/web\n +key id: +[0-9a-f]{40}\n +key hash: +sha256:[0-9a-f]{64}\n +key usage: +digitalSignature\n +usages: +server\n`)
	s.ok("csr show " + id)
	s.says(`IP:192.0.2.1`)
	s.ok("csr get " + id + " copy.csr.pem")
	s.ok("csr show copy.csr.pem")
	s.ok("csr sign " + id)
	s.exits("csr sign "+id, 1)
	s.says("hint: it is not pending")
	s.ok(request)
	s.ok("crt show web.crt.pem")
	s.says(`trusted: +yes`)
	s.says(`names: .*DNS:web.example.*IP:192.0.2.1`)

	first := s.serial("web.crt.pem")
	s.says(`serial: +0x[0-9a-f]+\n`)
	s.ok("crt show --decimal web.crt.pem")
	s.says(`serial: +` + first + `\n`)
	s.ok("crt renew web.crt.pem web.key")
	s.says("not renewing")
	s.daemon.Clock.Advance(63 * 24 * time.Hour)
	s.ok("crt renew web.crt.pem --key web.key")
	second := s.serial("web.crt.pem")
	if first == second {
		t.Error("was not renewed")
	}
	if content, err := os.ReadFile("web.crt.pem"); err != nil || os.WriteFile("second.pem", content, 0o600) != nil {
		t.Fatal(err)
	}
	s.ok("crt renew web.crt.pem web.key --force --key-type ed25519")
	if pair, err := pemfile.ReadPair(pemfile.PairPaths{Crt: "web.crt.pem", Key: "web.key"}); err != nil || pki.DescribeKey(pair.Key.Public()) != "Ed25519" {
		t.Errorf("pair: %v", err)
	}

	s.ok("crt revoke web.crt.pem --key web.key --reason superseded")
	s.exits("crt revoke web.crt.pem --key web.key", 1)
	s.ok("crt revoke --serial " + first)
	s.says(`revoked serial 0x[0-9a-f]+: CN=web \[DNS:web.example.*\], serial 0x[0-9a-f]+, valid until 2\S+ \S+ UTC, lineage \d+`)
	s.ok("crt revoke --other second.pem")
	s.says(`revoked second.pem: CN=web \[DNS:web.example.*\], serial 0x[0-9a-f]+, valid until 2\S+ \S+ UTC, lineage \d+`)
	s.exits("crt revoke --serial 0xff", 1)
	s.says("^cauase: error: 0xff: the daemon has no record of a certificate with this serial number")
	s.says("hint: .*--unknown")
	s.ok("crt revoke --serial 0xff --unknown")
	s.says("serial 0xff: the daemon has no record")
	s.ok("crl update")
	s.says("cas.crl.pem: updated, 1 revocation list\n")
	s.ok("crl show")
	s.says(`revoked: +4`)
	s.says(`superseded`)
	s.says(`0xff on 2026-03-06`)
	s.ok("crl update")
	s.says("unchanged")
}

func TestJSONWhereverAsked(t *testing.T) {
	s := newShell(t)
	s.admin()
	s.exits("request --cn web", 2)
	id := s.id()
	s.ok("csr sign " + id)
	for _, line := range []string{"request --cn web", "request --cn web", "csr get " + id, "csr get " + id + " got.csr.pem", "crt get " + id} {
		s.ok("--json " + line)
		if !json.Valid([]byte(s.out)) {
			t.Errorf("%s: not JSON: %q", line, s.out)
		}
	}
}

func TestHook(t *testing.T) {
	s := newShell(t)
	hook := "#!/bin/sh\necho $CAUASE_CHANGED >> changed\n"
	if err := os.WriteFile("hook", []byte(hook), 0o755); err != nil {
		t.Fatal(err)
	}
	s.ok("ca update --on-renew ./hook")
	s.ok("ca update --on-renew ./hook")
	s.ok("crl update --on-renew ./hook")
	if got, err := os.ReadFile("changed"); err != nil || string(got) != "ca\ncrl\n" {
		t.Errorf("changed %q, %v", got, err)
	}
	s.exits("ca update --ca-crt new.pem --on-renew /bin/false", 3)
	s.says("--on-renew failed")
	s.exits("ca update --ca-crt newer.pem --on-renew ./nowhere", 3)
	s.says("hint: --on-renew takes the path")
	for name, script := range map[string]struct{ text, says string }{
		"windows": {"#!/bin/sh\r\necho hi\r\n", `--on-renew failed: .*windows has Windows line ends`},
		"nowhere": {"#!/nowhere/sh\n", `--on-renew failed: the interpreter /nowhere/sh, which its first line names, is not there`},
		"nothing": {"echo hi\n", `--on-renew failed: .*nothing is neither a program for this system nor a script`},
	} {
		if err := os.WriteFile(name, []byte(script.text), 0o755); err != nil {
			t.Fatal(err)
		}
		s.exits("ca update --ca-crt "+name+".pem --on-renew ./"+name, 3)
		s.says(script.says)
	}
}

func TestHelpAndCompletion(t *testing.T) {
	s := newShell(t)
	for _, line := range []string{"", "--help", "csr", "csr --help", "csr sign --help", "--version", "completion bash", "completion zsh", "completion fish"} {
		s.ok(line)
		if s.out == "" || s.err != "" {
			t.Errorf("%q: out %q, err %q", line, s.out, s.err)
		}
	}
	s.ok("csr re --generate-bash-completion")
	if s.out != "reject\treject pending requests (users only)\n" {
		t.Errorf("completes csr re with %q", s.out)
	}
}

func TestArrange(t *testing.T) {
	app := newApp(environment{})
	tests := []struct{ name, in, out string }{
		{"nothing", "cauase", "cauase"},
		{"a global flag behind", "cauase csr list --json", "cauase --json csr list"},
		{"with a value", "cauase csr list --mode user", "cauase --mode user csr list"},
		{"with a value joined", "cauase csr list --mode=user", "cauase --mode=user csr list"},
		{"a flag behind arguments", "cauase csr sign 1 --with f 2", "cauase csr sign --with f -- 1 2"},
		{"a command's flag before a global one", "cauase crt get 1 f --key k", "cauase crt get --key k -- 1 f"},
		{"an argument named like a command", "cauase csr send list", "cauase csr send -- list"},
		{"after two dashes", "cauase csr send -- --json", "cauase csr send -- --json"},
		{"unknown", "cauase csr list --nope", "cauase csr list --nope"},
		{"a value missing", "cauase csr list --mode", "cauase --mode"},
		{"a value of a command's flag missing", "cauase csr sign 1 --with", "cauase csr sign --with"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := strings.Join(reorderArgs(strings.Fields(tt.in), app.Flags, app.Commands), " ")
			if got != tt.out {
				t.Errorf("got  %s\nwant %s", got, tt.out)
			}
		})
	}
}
