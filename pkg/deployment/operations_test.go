package deployment

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"cauase/pkg/testkit"
)

// An office is a daemon, its operator and its users, who work by a page of the manual, all in one folder.
type office struct {
	t      *testing.T
	manual string
	dir    string
	port   int
	daemon *exec.Cmd
	log    *testkit.Buffer
}

// newOffice is one with a daemon and a user.
func newOffice(t *testing.T, manual string) *office {
	t.Helper()
	need(t, "bash", "bash")
	need(t, "openssl", "openssl")
	o := emptyOffice(t, manual)
	o.open()
	o.does("cauase request --cn alice --invite first-user.invite --crt user.pem")
	return o
}

// emptyOffice is a folder and a port.
func emptyOffice(t *testing.T, manual string) *office {
	t.Helper()
	o := &office{t: t, manual: manual, dir: t.TempDir(), port: testkit.FreePorts(t, 2)}
	t.Cleanup(o.close)
	return o
}

// open starts the daemon in the folder.
func (o *office) open() {
	o.t.Helper()
	o.launch(fmt.Sprintf("cauased --netloc 127.0.0.1:%d", o.port))
}

// launch has a command of the shell start the daemon.
func (o *office) launch(command string) {
	o.t.Helper()
	o.log = &testkit.Buffer{}
	o.daemon = exec.Command("bash", "-c", "exec "+command)
	o.daemon.Dir, o.daemon.Stdout, o.daemon.Stderr = o.dir, o.log, o.log
	if err := o.daemon.Start(); err != nil {
		o.t.Fatal(err)
	}
	select {
	case <-o.log.Contains("service CA:"):
	case <-time.After(2 * time.Minute):
		o.t.Fatalf("the daemon has not started:\n%s", o.log)
	}
}

// close ends it.
func (o *office) close() {
	if o.daemon != nil {
		_ = o.daemon.Process.Signal(syscall.SIGTERM)
		_ = o.daemon.Wait()
		o.daemon = nil
	}
}

// shell runs a script and returns what it prints and its exit code.
func (o *office) shell(script string) (string, int) {
	o.t.Helper()
	cmd := exec.Command("bash")
	cmd.Dir, cmd.Stdin = o.dir, strings.NewReader(script)
	cmd.Env = append(os.Environ(), fmt.Sprintf("CAUASE_CA_URL=http://127.0.0.1:%d", o.port), "CAUASE_USER_KEY="+filepath.Join(o.dir, "user.pem"), "XDG_CONFIG_HOME="+o.dir)
	out, err := cmd.CombinedOutput()
	if err != nil && cmd.ProcessState.ExitCode() < 0 {
		o.t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// does runs a script that has to succeed.
func (o *office) does(script string) string {
	o.t.Helper()
	out, code := o.shell(script)
	if code != 0 {
		o.t.Fatalf("%s: exit code %d\n%s", script, code, out)
	}
	return out
}

// page runs the commands of a block of the page, with what stands there replaced by what is here. Each has to succeed,
// but those whose numbers are pending.
func (o *office) page(name string, pending []int, replace ...string) (outputs []string) {
	o.t.Helper()
	return o.block(name, -1, pending, replace)
}

// pageUntil runs the first commands of a block only: others would wait for somebody, or are alternatives.
func (o *office) pageUntil(name string, count int, replace ...string) (outputs []string) {
	o.t.Helper()
	return o.block(name, count, nil, replace)
}

func (o *office) block(name string, count int, pending []int, replace []string) (outputs []string) {
	o.t.Helper()
	block := o.fence("sh " + name)
	for i, command := range commands(strings.NewReplacer(replace...).Replace(block.text)) {
		if i == count {
			break
		}
		want := 0
		if slices.Contains(pending, i) {
			want = 2
		}
		out, code := o.shell(command)
		if code != want {
			o.t.Fatalf("%s:%d: %s: exit code %d, want %d\n%s", o.manual, block.line+i, command, code, want, out)
		}
		outputs = append(outputs, out)
	}
	return outputs
}

// fence returns the block of the page with this behind its backticks.
func (o *office) fence(info string) fence {
	o.t.Helper()
	all := fences(o.t, o.manual)
	at := slices.IndexFunc(all, func(f fence) bool { return f.info == info })
	if at < 0 {
		o.t.Fatalf("%s has no block %s", o.manual, info)
	}
	return all[at]
}

// find returns the first match of a pattern.
func (o *office) find(pattern, text string) string {
	o.t.Helper()
	found := regexp.MustCompile(pattern).FindString(text)
	if found == "" {
		o.t.Fatalf("no %s in:\n%s", pattern, text)
	}
	return found
}

const (
	anID          = `\b\d{10,}\b`
	aFingerprint  = `sha256:[0-9a-f]{64}`
	fingerprintOf = "sha256:…"
)

// TestPageOperations does what docs/operations.md says, in the order of a CA's life.
func TestPageOperations(t *testing.T) {
	o := newOffice(t, "docs/operations.md")

	o.page("invite", nil)
	// Carol comes without an invitation.
	o.does("cauase --mode user request --cn carol || [ $? = 2 ]")
	id := o.find(anID, o.does("cauase --mode user csr list"))
	carol := o.page("sign", []int{0}, "bob", "carol", "ID", id)
	if !strings.Contains(strings.Join(carol, ""), "threshold is not reached") {
		t.Errorf("a certificate that has just been made is renewed: %s", carol)
	}
	o.page("revoke", nil, "0x5d04…", o.find(`0x[0-9a-f]+`, o.does("cauase crt show carol.pem")))

	// Operators help where nobody can log in.
	o.does("cauase --mode user request --cn dave --crt dave.pem || [ $? = 2 ]")
	id = o.find(anID, o.does("cauase --mode user csr list"))
	o.page("nobody-left", nil, " ID", " "+id)
	o.does("cauase --mode user request --cn dave --crt dave.pem")

	// Hosts.
	must(t, o.dir, "mkdir", "web")
	write(t, filepath.Join(o.dir, "reload"), "#!/bin/sh\necho \"$CAUASE_CHANGED\" >>reloaded\n", 0o755)
	o.does("cauase request --dns web.example --eku server --crt web/web.crt --key web/web.key || [ $? = 2 ]")
	id = o.find(anID, o.does("cauase csr list"))
	digest := o.find(aFingerprint, o.does("cauase csr show "+id+" | grep digest"))
	o.does("cp web/web.csr.pem web.csr.pem")
	outputs := o.pageUntil("digest", 2, "3872013", id, fingerprintOf, digest)
	if !strings.Contains(outputs[0], digest) {
		t.Errorf("no digest: %s", outputs[0])
	}
	o.does("cauase request --dns web.example --eku server --crt web/web.crt --key web/web.key")
	o.page("cron", nil, "/usr/local/bin/reload", "./reload", "/etc/web/", "web/")
	if reloaded, err := os.ReadFile(filepath.Join(o.dir, "reloaded")); err != nil || strings.Count(string(reloaded), "\n") != 1 {
		t.Errorf("the program was to hear of the list only: %s %v", reloaded, err)
	}
	ca := o.find(aFingerprint, strings.Join(o.page("fingerprints", nil), ""))
	o.does("mkdir away")
	o.page("first-contact", nil, "http://ca.example.org:8009", fmt.Sprintf("http://127.0.0.1:%d --ca-crt away/ca.pem", o.port), fingerprintOf, ca)
	o.page("anchor-anew", []int{2}, "cauase ", "cauase --ca-crt away/ca.pem ", fingerprintOf, ca, "web.example.org", "host.example", "web.key", "away/web.key", "web.crt", "away/web.crt")

	// Records and backups.
	o.page("audit", nil, " ID", " "+id, "0x1234", o.find(`0x[0-9a-f]+`, o.does("cauase crt show web/web.crt")))
	o.page("inspect", nil)
	o.does("mkdir usb")
	o.page("backup", nil, "/var/lib/cauase/", "", "/media/usb", "usb")
	backup := o.find(`\S+\.rows\.caucased`, o.does("ls usb"))
	drill := o.page("drill", nil, "/backup/20260501033000.rows.caucased", "usb/"+backup)
	if !strings.Contains(drill[0], "The backup can be restored with this key") {
		t.Errorf("drill: %s", drill[0])
	}
	o.does("rm -f cas.pem; printf 'a long passphrase\n' >pass")
	o.pageUntil("export", 1, "cas.pem", "cas.pem --passphrase-file pass")
	o.does("openssl pkey -in cas.pem -passin file:pass -noout -text")
	o.close()

	// The database is lost, the backup is there.
	o.does("mkdir lost; mv cauase.sqlite* server.key.pem lost/; rm new.*")
	o.page("restore", nil, "BACKUP", "usb/"+backup, fingerprintOf, ca)
	o.open()
	o.does("CAUASE_USER_KEY=new.pem cauase csr list")
	if out, code := o.shell("cauase csr list"); code == 0 {
		t.Errorf("the key that opened the backup still opens doors: %s", out)
	}
	o.close()
	o.pageUntil("move", 3, "systemctl stop cauased", "true", "postgres://cauase@db.example/cauase", "elsewhere.sqlite")

	// Another CA begins with what openssl has made.
	o.does("mkdir other; mv elsewhere.sqlite cauase.sqlite* server.key.pem other/")
	o.does(`openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key.pem -out ca.crt.pem -days 900 -subj "/CN=Existing CA" \
 -addext keyUsage=critical,keyCertSign,cRLSign && touch index && printf 01 >crlnumber &&
 printf '[ca]\ndefault_ca=a\n[a]\ndatabase=index\ncrlnumber=crlnumber\ndefault_md=sha256\n' >ca.conf &&
 openssl ca -config ca.conf -gencrl -crldays 30 -keyfile ca.key.pem -cert ca.crt.pem -out ca.crl.pem`)
	o.pageUntil("import", 2)
	o.open()
	if out := o.does("cauase --ca-crt existing.pem ca update && openssl x509 -noout -subject -in existing.pem"); !strings.Contains(out, "Existing CA") {
		t.Errorf("the imported CA is not served: %s", out)
	}
}

// signed has a host's request signed by the user, and fetched.
func (o *office) signed(authority, request string) {
	o.t.Helper()
	o.does(request + " || [ $? = 2 ]")
	o.does("cauase --authority " + authority + " csr sign " + o.find(anID, o.does("cauase --authority "+authority+" csr list")))
	o.does(request)
}

// served waits until the daemon has noticed an authority that was added, which it does within a second.
func (o *office) served(authority string) {
	o.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		out, code := o.shell("cauase --authority " + authority + " ca update")
		if code == 0 {
			return
		}
		if time.Now().After(deadline) {
			o.t.Fatalf("%s is not served: %s", authority, out)
		}
	}
}

// TestPageAuthorities does what docs/authorities.md says.
func TestPageAuthorities(t *testing.T) {
	need(t, "jq", "jq")
	need(t, "curl", "curl")
	o := newOffice(t, "docs/authorities.md")
	o.pageUntil("add", 1)
	o.served("lab")
	o.does("cauase --authority lab request --cn web --dns www.lab.example --crt web.pem --key web.key || [ $? = 2 ]")
	o.does("cauase --authority lab csr sign " + o.find(anID, o.does("cauase --authority lab csr list")))
	o.does("cauase --authority lab request --cn web --dns www.lab.example --crt web.pem --key web.key")
	if out := o.page("list", nil); strings.TrimSpace(out[2]) != o.find(aFingerprint, out[1]) {
		t.Errorf("the fingerprint of lab is %s, and %s", out[1], out[2])
	}

	// A root, and what is below it verifies by it.
	o.page("root", nil, "lab", "below")
	o.served("below")
	o.does(fmt.Sprintf("curl -sSf -o root.pem http://127.0.0.1:%d/below/crt/root.pem", o.port))
	o.signed("below", "cauase --authority below request --chain --cn web --dns www.below.example --crt below.pem --key below.key")
	o.page("verify", nil, "web.pem", "below.pem")
	o.page("set-parent", nil)
	o.page("revoke", nil, "lab", "below", "--reason", "--yes --reason", "5260eeab21fb2e4ae8d097966778a4baa7e66846",
		o.find(`key[- ]id:? *[0-9a-f]{40}`, o.does("cauased manage authority show below"))[len("key id "):])
	o.page("retire", nil, "retire", "retire --yes")

	// The root's key is elsewhere. Both databases are in one folder here.
	o.page("offline-root", nil, "home-root", "far-root", "root.pem", "far.pem")
	o.page("offline-here", nil, "home-root", "far-root", "root.pem", "far.pem", "lab", "far")
	o.does("cauased manage authority request far --out far.request --ahead 3")
	o.does("cauased manage authority sign --db root.sqlite far.request --out far.signed --yes")
	o.does("cauased manage authority install far.signed")
	serial := o.find(`0x[0-9a-f]{12,}`, o.does("cauased manage authority show far --json | jq '.generations[0].serial'"))
	o.page("revoke-offline", nil, "home-root", "far-root", "0x4db4c371c9774", serial, "lab.request", "next.request", "lab", "far", "--out root.crl.pem", "--out root.crl.pem --force --yes")
}
