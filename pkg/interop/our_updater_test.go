//go:build interop

package interop

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestOurUpdater has our agent keep a host's files true against the reference's daemon: first
// certificate, its renewal with a new RSA key, lists, and a file that is lost.
func TestOurUpdater(t *testing.T) {
	needReference(t)
	binary := filepath.Join(programs.ours, "cauase-updater")
	if out, err := exec.Command("go", "build", "-o", binary, "cauase/updater").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	// Certificates of a minute, which are renewed after half of it.
	d := startReference(t, "--service-crt-validity", "0.0007", "--service-auto-approve-count", "1").desk(t)
	d.makesRequest("web", dns("web.example.org"))
	p := background(t, d.dir, binary, "--ca-url", d.ca.http, "--cas-ca", "cas", "--ca", services.ca, "--crl", services.crl,
		"--csr", "web.csr.pem", "--key", "web.key", "--crt", "web.crt.pem")
	says := func(what string) func() string {
		return func() string {
			if p.ended() {
				t.Fatalf("the agent ended: %v", p.err)
			}
			if !strings.Contains(p.output.String(), what) {
				return "the agent has not said " + what
			}
			return ""
		}
	}
	eventually(t, time.Minute, says("certificate issued"))
	d.valid(services, "web.crt.pem")
	d.genuine(services)
	if files := d.files("cas"); len(files) != 1 || !strings.HasSuffix(files[0], ".ca.pem") {
		t.Errorf("directory of CAs: %q", files)
	}
	first := d.certificate("web.crt.pem")

	eventually(t, time.Minute, says("renewed"))
	d.valid(services, "web.crt.pem")
	d.genuine(services)
	second := d.certificate("web.crt.pem")
	if second.Equal(first) || second.Subject.String() != first.Subject.String() || !d.keyMatches("web.key", "web.crt.pem") {
		t.Errorf("renewed %s to %s", first.Subject, second.Subject)
	}
	for line := range strings.Lines(p.output.String()) {
		// The reference's lists live for a third of that minute, and it may be late with the next one.
		if strings.Contains(line, "level=ERROR") && !strings.Contains(line, "there is no newer one yet") {
			t.Errorf("an error on the way: %s", line)
		}
	}
	if !p.terminate() || p.err != nil {
		t.Errorf("did not end well: %v", p.err)
	}
}
