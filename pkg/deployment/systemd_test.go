package deployment

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestPageSystemd does what docs/systemd.md says below a folder that stands for the root directory, as far as that goes
// where systemd does not run: programs install, units with the overrides of the page hold before systemd-analyze, and what the
// settings of the examples start works.
func TestPageSystemd(t *testing.T) {
	need(t, "make", "make")
	need(t, "systemd-sysusers", "systemd")
	analyze := need(t, "systemd-analyze", "systemd")
	o := emptyOffice(t, "docs/systemd.md")
	root := filepath.Join(o.dir, "root")
	makefile, err := filepath.Abs(filepath.Join(repository, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	must(t, o.dir, "mkdir", "-p", "root/etc", "root/var/lib/cauase")
	// What is built is there already; nobody becomes root.
	o.does(`mkdir stubs && printf '#!/bin/sh\nexec "$@"\n' >stubs/sudo && chmod 0755 stubs/sudo`)
	path := "export PATH=" + o.dir + "/stubs:$PATH; "

	install := commands(o.fence("sh install").text)
	if len(install) != 3 {
		t.Fatalf("%q", install)
	}
	for i, more := range []string{"GO=true BIN=" + bin, "GO=true BIN=" + bin + " DESTDIR=" + root, "GO=true BIN=" + bin} {
		command, _, _ := strings.Cut(install[i], " #")
		command = strings.Replace(command, "make ", "make -C "+filepath.Dir(makefile)+" ", 1)
		o.does(path + strings.ReplaceAll(strings.TrimSpace(command), `"$PWD/stage"`, `"`+o.dir+`/stage"`) + " " + more)
	}
	if a, b := files(t, filepath.Join(root, "usr/local")), files(t, filepath.Join(o.dir, "stage/usr")); len(a) < 20 || len(a) != len(b) {
		t.Errorf("%d files are installed, %d for a package", len(a), len(b))
	}

	// The daemon.
	block := commands(o.fence("sh daemon").text)
	if len(block) != 6 || !strings.HasPrefix(block[2], "sudoedit ") || !strings.HasPrefix(block[3], "sudo systemctl daemon-reload") ||
		!strings.HasPrefix(block[4], "sudo systemctl enable --now cauased") || !strings.HasPrefix(block[5], "journalctl -u cauased") {
		t.Fatalf("%q", block)
	}
	o.does(path + block[0] + " --root=" + root + " " + root + "/usr/local/lib/sysusers.d/cauase.conf && grep -q ^cauase: root/etc/passwd && grep -q ^cauase: root/etc/group")
	o.does(path + strings.NewReplacer(" /", " "+root+"/", "-g cauase", "-g "+fmt.Sprint(os.Getgid())).Replace(block[1]))
	settings := filepath.Join(root, "etc/cauase/cauased.env")
	if info, err := os.Stat(settings); err != nil || info.Mode().Perm() != 0o640 {
		t.Fatalf("%v, %v", info, err)
	}
	// What the unit starts, with the settings of the example, but for place and port.
	example, err := os.ReadFile(settings)
	if err != nil {
		t.Fatal(err)
	}
	write(t, settings, strings.NewReplacer("ca.example.org:8009", fmt.Sprintf("127.0.0.1:%d", o.port), "0.0.0.0,::", "127.0.0.1",
		"/var/lib/", root+"/var/lib/").Replace(string(example)), 0o640)
	unit := filepath.Join(root, "usr/local/lib/systemd/system/cauased.service")
	start := o.find(`(?m)^ExecStart=.*$`, must(t, o.dir, "cat", unit))
	home := filepath.Join(root, "var/lib/cauase")
	environment := "set -a; while IFS='=' read -r name value; do case $name in CAUASED_*) export \"$name=$value\";; esac; done <" + settings + "; cd " + home + "; "
	command := strings.NewReplacer("ExecStart=/usr/local/", root+"/usr/local/", "/var/lib/", root+"/var/lib/").Replace(start)
	o.launch("bash -c '" + strings.ReplaceAll(environment, "'", `'\''`) + "exec " + command + "'")
	o.does("cd " + home + " && " + path + strings.NewReplacer("/var/lib/cauase", home, "http://ca.example.org", "$CAUASE_CA_URL").Replace(o.fence("sh first-user").text))
	if out := o.does(path + environment + strings.ReplaceAll(o.fence("sh manage").text, "sudo -u cauase ", "sudo ")); !strings.Contains(out, "invitation.use") {
		t.Errorf("audit: %s", out)
	}

	// The agent, for the files of nginx.
	o.does("cp root/var/lib/cauase/user.pem . && mkdir tls && printf '#!/bin/sh\n' >tls/reload && chmod 0755 tls/reload")
	request := "cauase request --cn www --dns www.example.org --eku server --crt tls/www.crt.pem --key tls/www.key.pem"
	o.signed("cas", request)
	write(t, filepath.Join(o.dir, "updater.toml"), strings.NewReplacer("http://ca.example.org:8009", fmt.Sprintf("http://127.0.0.1:%d", o.port),
		fingerprintInPages, o.serviceCA(), "/etc/nginx/", o.dir+"/").Replace(o.fence("toml agent").text), 0o644)
	o.does("cauase-updater --config updater.toml --once && test -s tls/ca.pem && test -s tls/crl.pem")

	// The units, with the overrides that the page shows.
	for _, name := range []string{"cauased.service", "cauase-updater.service"} {
		folder := filepath.Join(root, "usr/local/lib/systemd/system")
		must(t, folder, "mkdir", "-p", name+".d")
		write(t, filepath.Join(folder, name+".d", "override.conf"), o.fence("ini "+name).text, 0o644)
		text := must(t, folder, "cat", name)
		write(t, filepath.Join(folder, name), strings.ReplaceAll(text, "/usr/local/bin/", root+"/usr/local/bin/"), 0o644)
		if out, err := try(folder, analyze, "verify", "--man=no", filepath.Join(folder, name)); err != nil || out != "" {
			t.Errorf("%s: %s%v", name, out, err)
		}
	}

	// From outside.
	probe := strings.Split(strings.TrimPrefix(o.fence("console probe").text, "$ "), "\n")[0]
	if out, code := o.shell(strings.ReplaceAll(probe, "http://ca.example.org:8009", "$CAUASE_CA_URL")); code > 1 || !strings.Contains(out, "service CRL: valid for") {
		t.Errorf("the probe: exit code %d: %s", code, out)
	}
}
