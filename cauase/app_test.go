package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"cauase/pkg/client"
	"cauase/pkg/client/clienttest"
	"cauase/pkg/pemfile"
	"cauase/pkg/pki"
)

func TestFirstUser(t *testing.T) {
	s := newShell(t)
	s.daemon.CAU.AutoApprove = 1
	s.ok("request --mode user --cn alice")
	s.says(`first contact.* sha256:[0-9a-f]{64}`)
	s.says(`alice.pem: certificate of CN=alice, 93 days left`)
	if got, want := s.files(), []string{"alice.csr.pem", "alice.pem", "cau.crt.pem"}; !slices.Equal(got, want) {
		t.Errorf("files %v, want %v", got, want)
	}
	if info, err := os.Stat("alice.pem"); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("alice.pem has mode %v, %v", info.Mode(), err)
	}
	before := s.serial("alice.pem")
	s.ok("request --mode user --cn alice")
	if s.serial("alice.pem") != before {
		t.Error("the same command again made another certificate")
	}
	s.ok("csr list --user-key alice.pem")
	s.says("No request is pending")
}

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
	s.says(id + ` +CN=web +DNS:web.example, .*ECDSA P-256 +[0-9a-f]{40}`)
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
	s.says(`serial: +0x[0-9a-f]+\nin decimal: +` + first + `\n`)
	s.ok("crt renew web.crt.pem web.key")
	s.says("not renewing")
	s.daemon.Clock.Advance(63 * 24 * time.Hour)
	s.ok("crt renew web.crt.pem --key web.key")
	second := s.serial("web.crt.pem")
	if first == second {
		t.Error("was not renewed")
	}
	s.ok("crt renew web.crt.pem web.key --force --key-type ed25519")
	if pair, err := pemfile.ReadPair(pemfile.PairPaths{Crt: "web.crt.pem", Key: "web.key"}); err != nil || pki.DescribeKey(pair.Key.Public()) != "Ed25519" {
		t.Errorf("pair: %v", err)
	}

	s.ok("crt revoke web.crt.pem --key web.key --reason superseded")
	s.exits("crt revoke web.crt.pem --key web.key", 1)
	s.ok("crt revoke --serial " + first + " --serial 0xff")
	s.ok("crl update")
	s.says("cas.crl.pem: updated, 1 revocation list\n")
	s.ok("crl show")
	s.says(`revoked: +3`)
	s.says(`superseded`)
	s.says(`0xff on 2026-03-06`)
	s.ok("crl update")
	s.says("unchanged")
}

func TestSignWith(t *testing.T) {
	s := newShell(t)
	s.admin()
	s.exits("request --cn web", 2)
	id := s.id()
	s.exits("request --cn other --dns other.example --csr template.csr.pem", 2)
	s.ok("csr sign " + id + " --with template.csr.pem")
	s.ok("request --cn web")
	s.says(`note: signed with changes: subject is "CN=other", requested was "CN=web"`)
	s.says(`note: signed with changes: SANs are DNS:other.example, requested were none`)
}

// One file for key and certificate may be spelt in two ways.
func TestRequestOneFileTwice(t *testing.T) {
	s := newShell(t)
	s.admin()
	s.exits("request --cn web --crt web.pem --key ./web.pem", 2)
	s.ok("csr sign " + s.id())
	s.ok("request --cn web --crt web.pem --key ./web.pem")
	pair, err := pemfile.ReadPair(pemfile.PairPaths{Crt: "web.pem"})
	if err != nil || pair.Crt == nil {
		t.Errorf("no key and certificate in web.pem: %v", err)
	}
}

// A comma is part of a name, except between fingerprints, which have one variable.
func TestCommas(t *testing.T) {
	s := newShell(t)
	s.exits("request --cn web --org Example,Inc. --org Other --uri https://x.example/a,b", 2)
	req, err := os.ReadFile("web.csr.pem")
	if err != nil {
		t.Fatal(err)
	}
	csr, err := pki.ParseRequest(req)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := slices.Sorted(slices.Values(csr.CSR.Subject.Organization)), []string{"Example,Inc.", "Other"}; !slices.Equal(got, want) {
		t.Errorf("organisations %q, want %q", got, want)
	}
	if want := []string{"URI:https://x.example/a,b"}; !slices.Equal(csr.SANs, want) {
		t.Errorf("SANs %q, want %q", csr.SANs, want)
	}
	pins := client.PinOf(s.daemon.CAU.Newest().Crt).String() + "," + client.PinOf(s.daemon.CAS.Newest().Crt).String()
	for _, list := range []string{pins, strings.ReplaceAll(pins, ",", " ")} {
		s.Setenv("CAUASE_CA_FINGERPRINT", list)
		s.ok("ca update --ca-crt pinned.pem")
		s.ok("ca update --mode user --user-ca-crt pinned-users.pem")
	}
}

// The same command again means the same names, before and after the certificate is there.
func TestRequestForOtherNames(t *testing.T) {
	s := newShell(t)
	s.admin()
	const full = "request --cn web --org O --dns a.example --ip 2001:DB8::1 --uri spiffe://x/y --eku server"
	s.exits(full, 2)
	id := s.id()
	for i := range 2 {
		for _, other := range []string{"--dns b.example", "--org P", "--ip 192.0.2.1", "--email a@b.example", "--uri spiffe://x/z", "--eku client"} {
			s.exits("request --cn web "+other, 1)
			s.says("error: web.csr.pem is a request without .*--" + strings.Fields(other)[0][2:])
			s.says("hint: .*--force")
		}
		if i == 0 {
			s.ok("csr sign " + id)
		}
		s.ok("request --cn web")
		s.ok(full)
	}
}

// Whoever signs has to see for what.
func TestShowRequestedUsages(t *testing.T) {
	s := newShell(t)
	s.exits("request --cn web --eku server --eku code --eku 1.2.3.4", 2)
	s.ok("csr show " + s.id())
	s.says(`(?m)^usages: +server, code, 1\.2\.3\.4$`)
	s.says(`(?m)^asks for: +ExtendedKeyUsage$`)
	s.ok("csr show --json web.csr.pem")
	s.says(`"usages": \[\s+"server",\s+"code",\s+"1\.2\.3\.4"\s+\]`)
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

func TestReject(t *testing.T) {
	s := newShell(t)
	s.admin()
	s.exits("request --cn web", 2)
	id := s.id()
	s.ok("csr reject " + id)
	s.exits("crt get "+id+" x.pem", 1)
	s.says("rejected")
}

func TestWait(t *testing.T) {
	s := newShell(t)
	asked := 0
	s.daemon.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodGet && strings.HasPrefix(r.URL.Path, "/cas/csr/") {
			asked++
			if asked == 1 {
				w.WriteHeader(http.StatusServiceUnavailable) // no reason to give up
				return true
			}
			w.WriteHeader(http.StatusNotFound) // rejected meanwhile
			return true
		}
		return false
	})
	s.exits("request --cn web --wait", 1)
	s.says("trying again")
	s.says("was rejected")
	if got := s.files(); len(got) != 0 {
		t.Errorf("left %v", got)
	}

	s.daemon.Intercept(nil)
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	if code := s.runContext(ctx, "request --cn web --wait"); code != 2 {
		t.Errorf("interrupted: exit %d\n%s", code, s.err)
	}
	id := s.id()
	s.exits("request --cn web", 2)
	if s.id() != id {
		t.Error("an interrupted request was not resumed")
	}
}

func TestDirectories(t *testing.T) {
	s := newShell(t)
	s.ok("crl update --ca-crt cas --crl crls")
	ca := s.daemon.CAS.Newest().Crt
	if got := s.files(); len(got) != 4 || !strings.HasSuffix(got[1], ".ca.pem") || !strings.HasSuffix(got[3], ".crl.pem") {
		t.Errorf("files %v", got)
	}
	s.daemon.Clock.Advance(clienttest.LeafLife)
	s.daemon.CAS.Rollover()
	s.ok("ca update --ca-crt cas")
	s.says("cas: updated, 2 CA certificates")
	s.daemon.Clock.Set(ca.NotAfter.Add(time.Second))
	s.ok("ca update --ca-crt cas --json")
	var view updatedView
	if err := json.Unmarshal([]byte(s.out), &view); err != nil || !view.Changed || view.Count != 1 {
		t.Errorf("%s, %v", s.out, err)
	}
	s.ok("ca show --ca-crt cas")
	s.says(client.PinOf(s.daemon.CAS.Newest().Crt).String())
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
}

func TestHTTPSWarning(t *testing.T) {
	s := newShell(t)
	s.admin()
	s.ok("csr list")
	if strings.Contains(s.err, "warning") {
		t.Errorf("warned: %s", s.err)
	}
	s.daemon.Reference = true
	s.ok("csr list")
	s.says("warning: .*not authenticated")
	s.exits("csr list --strict-https", 1)
	s.says("hint: leave out --strict-https")
	s.daemon.Reference = false
	s.daemon.SetLeaf(s.daemon.CAS.IssueServer(t, "127.0.0.1"))
	s.exits("csr list", 1)
	s.says("hint: somebody may be answering")
}

// Who is in between a user and the daemon must not show a harmless request in the place of
// another.
func TestRequestShownToUserIsAuthentic(t *testing.T) {
	s := newShell(t)
	s.exits("request --cn mallory", 2)
	id := s.id()
	s.exits("request --cn bob", 2)
	bob, err := os.ReadFile("bob.csr.pem")
	if err != nil {
		t.Fatal(err)
	}
	s.daemon.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if r.TLS != nil || !strings.HasSuffix(r.URL.Path, "/csr/"+id) {
			return false
		}
		_, err := w.Write(bob)
		return err == nil
	})
	s.ok("csr show " + id)
	s.says("CN=bob")
	s.admin()
	s.ok("csr show " + id)
	s.says("CN=mallory")
	s.ok("csr get " + id + " got.csr.pem")
	s.ok("csr show got.csr.pem")
	s.says("CN=mallory")
}

// TestFailures gives command lines that must fail, say why, and change no file.
func TestFailures(t *testing.T) {
	s := newShell(t)
	s.admin()
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	s.ok("request --mode user --cn admin") // so that it is there
	must(os.WriteFile("junk.pem", []byte("junk\n"), 0o600))
	must(os.Symlink("junk.pem", "link.pem"))
	must(os.Mkdir("folder", 0o755))
	pin := client.PinOf(s.daemon.CAU.Newest().Crt).String()
	tests := []struct{ line, says string }{
		{"frobnicate", `there is no command "frobnicate"`},
		{"csr frobnicate", `there is no command "csr frobnicate"`},
		{"--frobnicate", `not defined: -frobnicate`},
		{"csr list --frobnicate", `not defined: -frobnicate`},
		{"--ca-url https://127.0.0.1 ca update", `give the http:// address`},
		{"--ca-url 127.0.0.1 ca update", `not of the form|not a URL`},
		{"--ca-url http://127.0.0.1:1 ca update", `connection refused`},
		{"--mode both ca update", `neither service nor user`},
		{"--threshold -1 ca update", `not a number of days`},
		{"--threshold NaN ca update", `not a number of days`},
		{"--threshold soon ca update", `invalid value|parse`},
		{"--key-type rsa-512 request --cn x", `--key-type: .*is not one of`},
		{"--ca-fingerprint sha256:12 ca update", `is not a fingerprint`},
		{"--ca-fingerprint= ca update", `is not a fingerprint`},
		{"--ca-fingerprint=, ca update", `is not a fingerprint`},
		{"--ca-fingerprint " + pin + " ca update", `hint: compare with the fingerprint`},
		{"request", `where to store the certificate`},
		{"request --cn ../x", `where to store the certificate`},
		{"request web", `names are given with flags`},
		{"request --crt x.pem", `names nobody`},
		{"request --cn x --dns -.example", `SubjectAltName DNS`},
		{"request --cn x --ip 300.1.1.1", `not an IP address`},
		{"request --cn x --uri nowhere", `not an absolute URI`},
		{"request --cn x --country xx", `two capital letters`},
		{"request --cn x --eku everything", `is not one of server`},
		{"request --cn x --csr x.pem", `needs a file of its own`},
		{"request --cn x --csr ./x.pem", `needs a file of its own`},
		{"request --cn x --crt x.crt --key x.key --csr folder/../x.key", `needs a file of its own`},
		{"request --cn x --csr admin.pem", `something else than a request, and would lose it`},
		{"request --cn x --csr admin.pem --force", `something else than a request, and would lose it`},
		{"request --cn x --csr junk.pem", `something else than a request, and would lose it`},
		{"request --cn x --crt junk.pem", `junk.pem exists, and`},
		{"request --cn x --crt x.crt --key junk.pem", `junk.pem exists, and`},
		{"request --cn x --crt admin.pem --key x.key", `admin.pem exists, and the key that goes with it is not in x.key`},
		{"request --cn x --crt cas.crt.pem --force", `cas.crt.pem is for what comes from the CA`},
		{"request --cn x --crt x.crt --key ./cas.crl.pem", `is for what comes from the CA`},
		{"request --cn x --crt admin.pem", `holds a private key already`},
		{"request --cn x --crt nowhere/x.pem", `no such file`},
		{"request --cn x --crt link.pem", `symbolic link`},
		{"request --cn x --crt folder", `not a regular file`},
		{"csr send", `which request`},
		{"csr send nowhere.pem", `no such file`},
		{"csr send junk.pem", `answered 400`},
		{"csr send folder", `not a regular file`},
		{"csr show", `which request`},
		{"csr show nowhere", `no such file`},
		{"csr show 99", `answered 404`},
		{"csr show junk.pem", `CSR: `},
		{"csr get abc x.pem", `is not the id`},
		{"csr get 99 x.pem", `answered 404`},
		{"csr sign", `which request`},
		{"csr sign abc", `is not the id`},
		{"csr sign 99", `answered 404`},
		{"csr sign 1 2 --with admin.csr.pem", `one request at a time`},
		{"csr sign 1 --with=", `--with needs the path`},
		{"csr sign 1 --with junk.pem", `junk.pem: CSR`},
		{"csr reject 99", `answered 404`},
		{"csr list --user-key junk.pem", `holds no private key`},
		{"csr list --user-key nowhere.pem", `no such file`},
		{"crt get", `which certificate`},
		{"crt get 99 x.pem", `no such request`},
		{"crt get -1 x.pem", `not defined`},
		{"crt renew nowhere.pem", `no such file`},
		{"crt renew junk.pem", `hint: if the key is in a file of its own`},
		{"crt renew admin.pem --force", `not the holder`},
		{"crt revoke", `which certificate`},
		{"crt revoke nowhere.pem", `no such file`},
		{"crt revoke --other junk.pem", `0 certificates`},
		{"crt revoke --serial 0", `not a positive number`},
		{"crt revoke --serial 1e5", `not a positive number`},
		{"crt revoke --serial 0x-1", `not a positive number`},
		{"crt revoke --serial 1 --reason removeFromCRL", `--reason: `},
		{"crt revoke a.pem b.pem --key k.pem", `--key goes with one`},
		{"crt show nowhere.pem", `no such file`},
		{"crt show junk.pem", `holds no certificate`},
		{"ca show --offline", `does not exist yet`},
		{"ca show x", `takes no arguments`},
		{"--ca-url http://127.0.0.1:1 ca show", `connection refused`},
		{"--catch-up -1 ca update", `--catch-up -1 is not a number of spans`},
		{"--catch-up NaN ca update", `is not a number of spans`},
		{"--catch-up Inf ca update", `is not a number of spans`},
		{"--catch-up soon ca update", `invalid value|parse`},
		{"ca update x", `takes no arguments`},
		{"ca update --ca-crt junk.pem", `holds nothing usable`},
		{"ca update --ca-crt admin.pem", `no locally stored CA certificate`},
		{"ca update --ca-crt link.pem", `holds nothing usable`},
		{"crl show", `holds no revocation list`},
		{"crl update --crl admin.pem", `would lose it`},
		{"completion tcsh", `no completion for "tcsh"`},
	}
	before := snapshot(s)
	for _, tt := range tests {
		t.Run(tt.line, func(t *testing.T) {
			s.T = t
			if code := s.run(tt.line); code != 1 {
				t.Errorf("exit %d\n%s%s", code, s.out, s.err)
			}
			if !regexp.MustCompile(tt.says).MatchString(s.err) {
				t.Errorf("does not say %s:\n%s", tt.says, s.err)
			}
			for line := range strings.Lines(s.err) {
				if !strings.HasPrefix(line, "cauase: ") {
					t.Errorf("stray line %q", line)
				}
			}
			if after := snapshot(s); after != before {
				t.Errorf("files changed:\n%s\nwere:\n%s", after, before)
				before = after
			}
		})
	}
}

// snapshot shows all files and what they hold.
func snapshot(s *shell) string {
	var all strings.Builder
	for _, name := range s.files() {
		data, _ := os.ReadFile(name)
		all.WriteString(name + ": " + string(data) + "\n")
	}
	return all.String()
}

func TestExpiredTrust(t *testing.T) {
	s := newShell(t)
	s.ok("ca update")
	s.daemon.Clock.Advance(2 * clienttest.LeafLife)
	s.daemon.CAS.Rollover()
	s.daemon.Clock.Advance(3 * clienttest.LeafLife)
	s.exits("ca update", 1)
	s.says("about 1.0 spans ago\n.*hint: .*--ca-fingerprint sha256:.*--catch-up SPANS")
	before := snapshot(s)
	s.exits("ca update --catch-up 0.9", 1)
	s.says("more than the 0.9 allowed")
	s.exits("crl update", 1)
	s.exits("request --cn web", 1)
	if snapshot(s) != before {
		t.Error("files have changed")
	}
	s.ok("ca update --ca-fingerprint " + client.PinOf(s.daemon.CAS.Newest().Crt).String())
}

func TestCatchUp(t *testing.T) {
	s := newShell(t)
	s.ok("ca update")
	first, err := os.ReadFile("cas.crt.pem")
	if err != nil {
		t.Fatal(err)
	}
	g := []clienttest.CA{s.daemon.CAS.Newest()}
	for range 4 {
		s.daemon.Clock.Advance(2 * clienttest.LeafLife)
		g = append(g, s.daemon.CAS.Rollover())
	}
	// The first expired four spans ago.
	for name, chain := range map[string][][]byte{
		"forged":      {s.daemon.CAS.Link(clienttest.CA{Crt: g[0].Crt, Key: g[4].Key}, g[4])},
		"reordered":   {s.daemon.CAS.Link(g[0], g[1]), s.daemon.CAS.Link(g[2], g[3]), s.daemon.CAS.Link(g[1], g[2])},
		"truncated":   {s.daemon.CAS.Link(g[0], g[1])},
		"rolled back": {s.daemon.CAS.Link(g[3], g[4])},
	} {
		s.daemon.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path == "/cas/crt/ca.crt.json" {
				_, _ = w.Write(append(append([]byte("["), bytes.Join(chain, []byte(","))...), ']'))
				return true
			}
			return false
		})
		s.exits("--catch-up 5 ca update", 1)
		s.exits("--catch-up 5 crl update", 1)
		if got, err := os.ReadFile("cas.crt.pem"); err != nil || !bytes.Equal(got, first) || len(s.files()) != 1 {
			t.Errorf("%s: the store has changed, or %v; files %v", name, err, s.files())
		}
	}
	s.daemon.Intercept(nil)
	s.exits("ca update", 1)
	s.exits("--catch-up 3.9 ca update", 1)
	t.Setenv("CAUASE_CATCH_UP", "4.1")
	s.ok("crl update")
	if got := storedCAs(t, "cas.crt.pem"); len(got) != 3 || !got[2].Equal(g[4].Crt) {
		t.Errorf("%d CA certificates", len(got))
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
	// The library looks at the process's own arguments for this.
	args := os.Args
	t.Cleanup(func() { os.Args = args })
	os.Args = []string{"cauase", "csr", "--generate-bash-completion"}
	s.ok("csr --generate-bash-completion")
	if got := strings.Fields(s.out); !slices.Contains(got, "reject") {
		t.Errorf("completes csr with %v", got)
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
			got := strings.Join(arrange(strings.Fields(tt.in), app.Flags, app.Commands), " ")
			if got != tt.out {
				t.Errorf("got  %s\nwant %s", got, tt.out)
			}
		})
	}
}

// A list that is withheld is told of, and none that has been is taken for it.
func TestListWithheld(t *testing.T) {
	s := newShell(t)
	old := s.daemon.CAS.Newest()
	s.daemon.Clock.Advance(time.Hour)
	s.daemon.CAS.Rollover()
	s.ok("ca update")
	s.ok("crl update --crl whole.pem")
	if s.err != "" {
		t.Errorf("says %q", s.err)
	}
	s.daemon.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, "/crl") {
			return false
		}
		_, err := w.Write(s.daemon.CAS.CRL(old, 100, s.daemon.Clock.Now()))
		return err == nil
	})
	s.ok("crl update --crl whole.pem")
	if s.err != "" {
		t.Errorf("says %q while the list stored is current", s.err)
	}
	s.ok("crl update --crl one.pem")
	s.says("warning: the daemon has served no revocation list of the CA with key id")
}
