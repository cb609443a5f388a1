package deployment

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"cauase/pkg/testkit"
)

// folder is another folder of the office's, where a host works.
func (o *office) folder(name string) *office {
	o.t.Helper()
	other := *o
	other.daemon, other.dir = nil, filepath.Join(o.dir, name)
	must(o.t, o.dir, "mkdir", "-p", name)
	return &other
}

// until runs a script until it succeeds: what it asks about happens in other processes.
func (o *office) until(script string) {
	o.t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		out, code := o.shell(script)
		if code == 0 {
			return
		}
		if time.Now().After(deadline) {
			o.t.Fatalf("in vain: %s: %s", script, out)
		}
	}
}

// eventually reports whether something comes true in time: it depends on other processes.
func (o *office) eventually(done func() bool) bool {
	for deadline := time.Now().Add(patience); !done(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			return false
		}
	}
	return true
}

// background runs a command of the shell until the test ends, or until it is told to.
func (o *office) background(command string) (stop func() int) {
	o.t.Helper()
	var log testkit.Buffer
	cmd := exec.Command("bash", "-c", "exec "+command)
	cmd.Dir, cmd.Stdout, cmd.Stderr = o.dir, &log, &log
	cmd.Env = append(os.Environ(), fmt.Sprintf("CAUASE_CA_URL=http://127.0.0.1:%d", o.port), "XDG_CONFIG_HOME="+o.dir)
	if err := cmd.Start(); err != nil {
		o.t.Fatal(err)
	}
	stop = func() int {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		if o.t.Failed() {
			o.t.Logf("%s said:\n%s", command, &log)
		}
		return cmd.ProcessState.ExitCode()
	}
	o.t.Cleanup(func() { stop() })
	return stop
}

// serviceCA is the fingerprint that a newcomer has to be told.
func (o *office) serviceCA() string {
	o.t.Helper()
	return o.find(aFingerprint, o.find(`service CA: *\S+`, o.log.String()))
}

const fingerprintInPages = "sha256:0c2ec373027b22dc7f29af79ebab18e64bcb8a50afce9a11a7bf18398c3ef2c2"

// TestPageUpdater does what docs/updater.md says, with the agent and a daemon.
func TestPageUpdater(t *testing.T) {
	o := newOffice(t, "docs/updater.md")
	here := fmt.Sprintf("http://127.0.0.1:%d", o.port)
	replace := strings.NewReplacer("http://ca.example:8009", here, fingerprintInPages, o.serviceCA())

	host := o.folder("host")
	host.does(`printf '#!/bin/sh\necho "$CAUASE_CHANGED" >>reloaded\n' >reload && chmod 0755 reload && cp reload reload-web`)
	block := commands(replace.Replace(o.fence("sh request").text))
	if len(block) != 3 {
		t.Fatalf("%q", block)
	}
	settings, request, agent := block[0]+"\n", block[1], block[2]
	if out, code := host.shell(settings + request); code != 2 {
		t.Fatalf("exit code %d: %s", code, out)
	}
	stop := host.background("bash -c '" + settings + "exec " + agent + "'")
	host.until(settings + agent + " --status; [ $? = 2 ]") // pending
	o.does("cauase csr sign " + o.find(anID, o.does("cauase csr list")))
	host.until("test -s web.crt && grep -q crt reloaded")

	// The commands of the table, beside the agent that runs.
	page, err := os.ReadFile(filepath.Join(repository, o.manual))
	if err != nil {
		t.Fatal(err)
	}
	for _, option := range []string{"--status", "--status --json", "--refresh"} {
		if !strings.Contains(string(page), "| `cauase-updater … "+option+"` |") {
			t.Errorf("the page has no %s", option)
		}
		if out, code := host.shell(settings + agent + " " + option); code != 0 {
			t.Errorf("%s: exit code %d: %s", option, code, out)
		}
	}
	if out, code := host.shell(settings + agent + " --once"); code != 1 || !strings.Contains(out, "another") {
		t.Errorf("a second agent on the same files: exit code %d: %s", code, out)
	}
	if code := stop(); code != 0 {
		t.Errorf("told to end, the agent exits with %d", code)
	}
	host.does(settings + agent + " --once")

	// By an invitation, with a key and a request that openssl has made.
	invited := o.folder("invited")
	o.does("cauase invite --dns '*.web.example' --cn '*.web.example' --out invited/invite")
	block = commands(replace.Replace(o.fence("sh invited").text))
	invited.does(block[0] + "\n" + block[1] + " --once")
	if out := invited.does("openssl x509 -in web.crt -noout -ext subjectAltName; ls"); !strings.Contains(out, "DNS:a.web.example") || strings.Contains(out, "\ninvite") {
		t.Errorf("enrolled: %s", out)
	}

	// The configuration file: the web job has its certificate, the other none.
	config := replace.Replace(o.fence("toml config").text)
	config = strings.Replace(config, `group = "0"`, fmt.Sprintf(`group = "%d"`, os.Getgid()), 1)
	write(t, filepath.Join(host.dir, "updater.toml"), config, 0o644)
	host.does("mkdir clients; chmod 0755 reload-web; cauase-updater --config updater.toml --once")
	host.does("test -s clients/crl.pem && test -s crl.pem && test -s ca.pem && cauase-updater --config updater.toml --status")
	if info, err := os.Stat(filepath.Join(host.dir, "crl.pem")); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("the mode of the list: %v, %v", info, err)
	}

	// An authority under a root.
	o.does("cauased manage authority add web-root --role root --validity 20y && cauased manage authority add web --parent web-root")
	o.served("web")
	o.does("cauase --authority web request --chain --cn web --dns www.example --key host/chain.key --crt host/chain.crt --csr host/chain.csr || [ $? = 2 ]")
	o.does("cauase --authority web csr sign " + o.find(anID, o.does("cauase --authority web csr list")))
	chain := "ca-url = \"" + here + "\"\n" + strings.NewReplacer("web.crt", "chain.crt", "web.key", "chain.key", "web.csr", "chain.csr").Replace(o.fence("toml chain").text)
	write(t, filepath.Join(host.dir, "chain.toml"), chain, 0o644)
	host.does("cauase-updater --config chain.toml --once")
	host.does("openssl verify -x509_strict -CAfile root.pem -untrusted chain.crt chain.crt && test $(grep -c BEGIN chain.crt) = 2")
}

// caucase is where the programs of caucase are, which Python's package manager has installed.
func caucase(t *testing.T) string {
	t.Helper()
	venv := os.Getenv("CAUCASE_VENV")
	if venv == "" {
		venv = filepath.Join(repository, ".cache", "caucase")
	}
	programs, err := filepath.Abs(filepath.Join(venv, "bin"))
	if err == nil {
		_, err = os.Stat(filepath.Join(programs, "caucased"))
	}
	switch {
	case err == nil:
	case os.Getenv(requireAll) == "1":
		t.Fatalf("caucase is not installed, and %s is set (make .cache/caucase/.done, or CAUCASE_VENV): %v", requireAll, err)
	default:
		t.Skipf("NOT TESTED: caucase is not installed (make .cache/caucase/.done, or CAUCASE_VENV): %v", err)
	}
	return programs
}

// TestPageFromCaucase takes over a caucase that has a user and a service, as docs/from-caucase.md says.
func TestPageFromCaucase(t *testing.T) {
	need(t, "bash", "bash")
	need(t, "openssl", "openssl")
	programs := caucase(t)
	o := emptyOffice(t, "docs/from-caucase.md")
	netloc := fmt.Sprintf("127.0.0.1:%d", o.port)
	stop := o.background(filepath.Join(programs, "caucased") + " --netloc " + netloc + " --db caucase.sqlite --server-key caucase.key.pem --cors-key-store caucase.cors")
	for expired := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) { // it is another process, and makes keys
		response, err := http.Get("http://" + netloc + "/cas/crt/ca.crt.pem")
		if err == nil {
			_ = response.Body.Close()
			if response.StatusCode == http.StatusOK {
				break
			}
		}
		if time.Now().After(expired) {
			t.Fatalf("caucased does not answer: %v", err)
		}
	}
	theirs := "export CAUASE_CAUCASE=true CAUASE_KEY_TYPE=rsa-2048\n"
	o.until(theirs + "cauase --mode user request --cn alice --crt user.pem")
	request := theirs + "cauase request --cn web --dns web.example --eku server --crt web.crt --key web.key"
	if out, code := o.shell(request); code != 2 {
		t.Fatalf("exit code %d: %s", code, out)
	}
	o.until(theirs + "cauase csr sign " + o.find(`(?m)^\d+`, o.does(theirs+"cauase csr list")))
	o.does(request)

	block := commands(strings.NewReplacer("ca.example.org:8009", netloc, " …", "").Replace(o.fence("sh take-over").text))
	if len(block) != 4 || !strings.HasPrefix(block[0], "systemctl stop caucased") {
		t.Fatalf("%q", block)
	}
	stop()
	before := o.does("cauase ca show --offline --json")
	o.does(block[1])
	o.does(block[2])
	o.launch(block[3])
	o.does("cauase csr list && cauase crt renew --force web.crt web.key && cauase crl update && openssl verify -crl_check -CAfile $(find . -name cas.crt.pem) -CRLfile $(find . -name cas.crl.pem) web.crt")
	if ca := o.serviceCA(); !strings.Contains(before, strings.TrimPrefix(ca, "sha256:")) {
		t.Errorf("the service CA is %s, caucase's was %s", ca, before)
	}
	o.does("cauased manage next-key-type --authority cas ecdsa-p256")
	o.close()

	// One that caucase's clients are to follow.
	o.does("mkdir old; mv cauase.sqlite* old/; rm -f server.key.pem")
	o.launch(strings.ReplaceAll(strings.TrimSpace(o.fence("sh key-type").text), "ca.example.org:8009", netloc))
	if out := o.does("mkdir new && cauase --store new ca update && openssl x509 -in new/cas.crt.pem -noout -text"); !strings.Contains(out, "rsaEncryption") || !strings.Contains(out, "2048 bit") {
		t.Errorf("the CA's key: %s", out)
	}
}

// TestPageVerifiers runs what docs/verifiers.md has people type to verify a certificate, before and after its revocation.
func TestPageVerifiers(t *testing.T) {
	need(t, "certtool", "gnutls-bin")
	o := newOffice(t, "docs/verifiers.md")
	o.signed("cas", "cauase --ca-crt ca.pem request --cn web --dns web.example --eku server --crt web.crt --key web.key")
	o.does("cauase --ca-crt ca.pem --crl crl.pem crl update")
	o.page("openssl", nil)
	o.page("gnutls", nil)
	o.does("cauase --ca-crt ca.pem crt revoke --other web.crt && cauase --ca-crt ca.pem --crl crl.pem crl update")
	for _, info := range []string{"sh openssl", "sh gnutls"} {
		if out, code := o.shell(o.fence(info).text); code == 0 || !strings.Contains(out, "revoked") {
			t.Errorf("%s, of what is revoked: exit code %d: %s", info, code, out)
		}
	}
}
