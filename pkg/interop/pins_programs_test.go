//go:build interop

package interop

import (
	"crypto/x509"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

var programPins = map[string]pin{
	"revoke-unknown": func(t *testing.T, ours, _ *peer) {
		ours.at.cauase("--user-key", "alice.pem", "crt", "revoke", "--serial", "6001").exits(1).complains("--unknown")
		ours.at.caucase("--user-key", "alice.pem", "--revoke-serial", "6001").ok()
	},
	"restore-file": func(t *testing.T, _, _ *peer) {
		d, name, _ := referenceBackup(t)
		d.makesRequest("next")
		d.write("there", []byte("before\n"))
		d.reference("caucased-manage", "--db", "theirs.sqlite", "--restore-backup", name, "alice.pem", "next.csr.pem", "there").ok()
		if text := string(d.read("there")); !strings.HasPrefix(text, "before\n") || len(blocks([]byte(text), "CERTIFICATE")) != 1 {
			t.Errorf("theirs: %s", text)
		}
		d.write("there", []byte("before\n"))
		d.ours("cauased", "manage", "restore", "--db", "ours.sqlite", name, "alice.pem", "next.csr.pem", "there").exits(1).complains("there")
		if string(d.read("there")) != "before\n" || d.has("ours.sqlite") {
			t.Error("ours has restored something")
		}
		d.ours("cauased", "manage", "restore", "--db", "ours.sqlite", name, "alice.pem", "next.csr.pem", "not-there").ok()
		d.certificate("not-there")
	},
	"updater-wakes": updatersWake,
}

var wakeUp = regexp.MustCompile(`Next wake-up at (.*)`)

// updatersWake measures when agents wake up. The reference's says when: at the first of what is due, to the second.
func updatersWake(t *testing.T, ours, _ *peer) {
	binary := filepath.Join(programs.ours, "cauase-updater")
	if out, err := exec.Command("go", "build", "-o", binary, "cauase/updater").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	d := ours.at
	d.obtains("alice.pem", "kept")
	kept := d.certificate("kept.pem")
	args := []string{"--ca-url", ours.http, "--cas-ca", "kept.cas", "--ca", "kept.ca.pem", "--crl", "kept.crl.pem", "--crt", "kept.pem"}
	with := func(more ...string) []string { return append(slices.Clone(args), more...) }
	const day = 24 * time.Hour
	var started time.Time
	for name, c := range map[string]struct {
		args []string
		due  func() time.Time
	}{
		"list": {nil, func() time.Time { // that it has stored: the daemon makes new ones meanwhile
			list, err := x509.ParseRevocationList(blocks(d.read("kept.crl.pem"), "X509 CRL")[0].Bytes)
			if err != nil {
				t.Fatal(err)
			}
			return list.NextUpdate.Add(-7 * day)
		}},
		"certificate": {[]string{"--threshold", "80", "--crl-threshold", "1"}, func() time.Time { return kept.NotAfter.Add(-80 * day) }},
		"max-sleep":   {[]string{"--max-sleep", "2"}, func() time.Time { return started.Add(2 * day) }},
	} {
		started = time.Now()
		p := background(t, d.dir, append([]string{filepath.Join(programs.reference, "caucase-updater")}, with(c.args...)...)...)
		var at string
		eventually(t, time.Minute, func() string {
			if match := wakeUp.FindAllStringSubmatch(p.output.String(), -1); len(match) > 1 {
				at = match[len(match)-1][1]
				return ""
			}
			return "it does not say when it wakes up"
		})
		p.terminate()
		got, err := time.Parse("2006-01-02 15:04:05 -0700", at)
		if err != nil {
			t.Fatal(err)
		}
		due, said := c.due(), time.Since(started) // by then it had said so
		switch late := got.Sub(due); {
		case name == "max-sleep" && (late < -time.Second || late > said+time.Second):
			t.Errorf("%s: wakes up at %s, started two days before %s", name, got, due)
		case name != "max-sleep" && late.Abs() > time.Second:
			t.Errorf("%s: wakes up at %s, due is %s", name, got, due)
		}
	}
	// Ours does not say it; what it has done is in the files.
	p := background(t, d.dir, append([]string{binary}, args...)...)
	eventually(t, time.Minute, func() string {
		if !strings.Contains(p.output.String(), "msg=") || run(t, d.dir, append([]string{binary, "--status"}, args...)...).code != 0 {
			return "the agent is not content yet"
		}
		return ""
	})
	p.terminate()
	if strings.Contains(p.output.String(), "wake-up") {
		t.Errorf("ours says when it wakes up:\n%s", p.output.String())
	}
}
