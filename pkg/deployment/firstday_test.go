package deployment

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"cauase/pkg/testkit"
)

// hostsOfFirstDay is how many machines the page has.
const hostsOfFirstDay = 20

// A userData is what cloud-init reads, as far as the page needs it.
type userData struct {
	ManageEtcHosts bool  `json:"manage_etc_hosts"`
	RunCmd         []any `json:"runcmd"` // a line for the shell, or a list of words
	WriteFiles     []struct {
		Path        string `json:"path"`
		Permissions string `json:"permissions"`
		Content     string `json:"content"`
	} `json:"write_files"`
}

// script is what cloud-init makes of runcmd.
func (u userData) script(t *testing.T) string {
	t.Helper()
	text := "#!/bin/sh\n"
	for _, item := range u.RunCmd {
		switch item := item.(type) {
		case string:
			text += item + "\n"
		case []any:
			for _, word := range item {
				text += "'" + strings.ReplaceAll(fmt.Sprint(word), "'", `'\''`) + "' "
			}
			text += "\n"
		default:
			t.Fatalf("runcmd: %v", item)
		}
	}
	return text
}

// TestPageFirstDay does what docs/first-day.md says: twenty machines, each with a name and an /etc of its own in namespaces, do
// what cloud-init would have them do.
func TestPageFirstDay(t *testing.T) {
	for program, debianPackage := range map[string]string{"unshare": "util-linux", "python3": "python3", "cloud-init": "cloud-init", "hostname": "hostname"} {
		need(t, program, debianPackage)
	}
	if out, err := try(t.TempDir(), "unshare", "--user", "--map-root-user", "--mount", "--uts", "true"); err != nil {
		if os.Getenv("CAUASE_REQUIRE_ALL") == "1" {
			t.Fatal(out, err)
		}
		t.Skip("NOT TESTED: namespaces cannot be made here: ", out, err)
	}
	o := emptyOffice(t, "docs/first-day.md")
	here := strings.NewReplacer("ca.lab.example:8009", fmt.Sprintf("127.0.0.1:%d", o.port), "ca.lab.example", "127.0.0.1")
	o.launch(strings.TrimSpace(here.Replace(o.fence("sh daemon").text)))
	o.does(here.Replace(strings.ReplaceAll(o.fence("sh user").text, "$USER", "alice")))
	settings := here.Replace(o.fence("sh settings").text)
	o.does(settings + o.fence("sh invite").text)
	write(t, filepath.Join(o.dir, "user-data.yaml"), here.Replace(o.fence("yaml user-data").text), 0o644)
	o.does(settings + o.fence("sh user-data").text) // which cloud-init finds valid

	var data userData
	parsed := must(t, o.dir, "python3", "-c", "import json, sys, yaml; json.dump(yaml.safe_load(open('user-data')), sys.stdout)")
	if err := json.Unmarshal([]byte(parsed), &data); err != nil {
		t.Fatal(err)
	}
	var hosts []*cloudHost
	for i := 1; i <= hostsOfFirstDay; i++ {
		hosts = append(hosts, newCloudHost(o, fmt.Sprintf("web%02d", i), data))
	}
	var all sync.WaitGroup
	for _, h := range hosts {
		all.Go(func() { h.boot(data.script(t)) })
	}
	all.Wait()
	if t.Failed() {
		return
	}

	overview := o.does(settings + o.fence("sh overview").text)
	for _, h := range hosts {
		if n := strings.Count(overview, "CN="+h.name+".lab.example"); n != 1 {
			t.Errorf("%s stands %d times in:\n%s", h.name, n, overview)
		}
		h.run(o.fence("sh host").text, "OK", "DNS:"+h.name+".lab.example")
		if _, err := os.Stat(filepath.Join(h.etc, "cauase", "invite")); err == nil {
			t.Errorf("%s still has the invitation", h.name)
		}
	}
	// One more has come too late, and none has another's name.
	late := newCloudHost(o, "web21", data)
	said, err := late.in(strings.ReplaceAll(data.script(t), "'systemctl'", "true systemctl"))
	if err != nil || !strings.Contains(said, "invitation") {
		t.Errorf("one host more than the invitation is for: %v %s", err, said)
	}
	t.Log("one more is told: ", said)
	if _, err := os.Stat(filepath.Join(late.etc, "cauase", "host.crt")); err == nil {
		t.Error("it has a certificate")
	}
	o.does(settings + o.fence("sh void").text)

	revoke := commands(o.fence("sh revoke").text)
	lineage := strings.Fields(o.does(settings + revoke[0]))[0]
	out := o.does(settings + strings.ReplaceAll(strings.Join(revoke[1:], "\n"), "LINEAGE", lineage))
	if !strings.Contains(out, "cessationOfOperation") {
		t.Errorf("the list: %s", out)
	}
	// The agents of the others hear of it.
	o.until(fmt.Sprintf("openssl verify -crl_check -CAfile cas.crt.pem -CRLfile %s/cauase/crl.pem %s/cauase/host.crt 2>&1 | grep -q revoked", hosts[0].etc, hosts[6].etc))
	o.does(fmt.Sprintf("openssl verify -crl_check -CAfile cas.crt.pem -CRLfile %s/cauase/crl.pem %s/cauase/host.crt", hosts[0].etc, hosts[1].etc))

	if out := o.does(settings + o.fence("sh backup").text); !strings.Contains(out, "can be restored with this key") {
		t.Errorf("drill: %s", out)
	}
}

// A cloudHost is a machine with its own name and its own /etc.
type cloudHost struct {
	o         *office
	name, etc string
	agent     *exec.Cmd
	log       testkit.Buffer
}

// newCloudHost makes a machine as cloud-init does before it runs commands.
func newCloudHost(o *office, name string, data userData) *cloudHost {
	o.t.Helper()
	h := &cloudHost{o: o, name: name, etc: filepath.Join(o.dir, "hosts", name, "etc")}
	must(o.t, o.dir, "mkdir", "-p", h.etc)
	for _, part := range []string{"passwd", "group", "nsswitch.conf", "alternatives", "ssl", "ld.so.cache", "localtime"} {
		_, _ = try(o.dir, "cp", "-a", "/etc/"+part, h.etc) // where there is one
	}
	hosts := "127.0.0.1 localhost\n"
	if data.ManageEtcHosts {
		hosts += "127.0.1.1 " + name + ".lab.example " + name + "\n"
	}
	write(o.t, filepath.Join(h.etc, "hosts"), hosts, 0o644)
	for _, file := range data.WriteFiles {
		inside, found := strings.CutPrefix(file.Path, "/etc/")
		var mode os.FileMode
		if _, err := fmt.Sscanf(file.Permissions, "%o", &mode); err != nil || !found {
			o.t.Fatalf("%s: mode %q", file.Path, file.Permissions)
		}
		path := filepath.Join(h.etc, inside)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			o.t.Fatal(err)
		}
		write(o.t, path, file.Content, mode)
	}
	// What systemd would do, as the unit says: the agent is started by the test, outside of this script.
	path := filepath.Join(o.dir, "hosts", name, "bin")
	if err := os.MkdirAll(path, 0o755); err != nil {
		o.t.Fatal(err)
	}
	write(o.t, filepath.Join(path, "systemctl"), "#!/bin/sh\n[ \"$*\" = 'enable --now cauase-updater' ] && : >/etc/cauase/enabled\n", 0o755)
	return h
}

// command is one inside the machine.
func (h *cloudHost) command(script string, before ...string) *exec.Cmd {
	inside := fmt.Sprintf("mount --bind '%s' /etc && hostname %s && PATH='%s':$PATH && cd / && %s", h.etc, h.name, filepath.Join(filepath.Dir(h.etc), "bin"), script)
	argv := append(before, "unshare", "--user", "--map-root-user", "--mount", "--uts", "sh", "-c", inside)
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir = h.o.dir
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "CAUASE_") && !strings.HasPrefix(v, "XDG_") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	return cmd
}

// in runs a script in the machine, as cloud-init does: each command, whatever became of the one before.
func (h *cloudHost) in(script string, before ...string) (string, error) {
	path := filepath.Join(h.etc, "cauase", "runcmd")
	if err := os.WriteFile(path, []byte(script), 0o700); err != nil {
		return "", err
	}
	out, err := h.command("/etc/cauase/runcmd", before...).CombinedOutput()
	return string(out), err
}

// boot runs the commands of cloud-init, and the agent once these have enabled it.
func (h *cloudHost) boot(script string) {
	out, err := h.in(script)
	if err != nil {
		h.o.t.Errorf("%s: %v\n%s", h.name, err, out)
		return
	}
	if _, err := os.Stat(filepath.Join(h.etc, "cauase", "enabled")); err != nil {
		h.o.t.Errorf("%s: the agent was not enabled: %s", h.name, out)
		return
	}
	h.agent = h.command("exec cauase-updater --config /etc/cauase/updater.toml")
	h.agent.Stdout, h.agent.Stderr = &h.log, &h.log
	if err := h.agent.Start(); err != nil {
		h.o.t.Error(err)
		return
	}
	h.o.t.Cleanup(func() {
		_ = h.agent.Process.Kill()
		_ = h.agent.Wait()
		if h.o.t.Failed() {
			h.o.t.Logf("%s:\n%s", h.name, &h.log)
		}
	})
}

// run runs commands in the machine until they say that all is well: the agent has just begun.
func (h *cloudHost) run(script string, says ...string) {
	h.o.t.Helper()
	write(h.o.t, filepath.Join(h.etc, "cauase", "look"), "#!/bin/sh\nset -e\n"+script, 0o755)
	var out []byte
	ok := h.o.eventually(func() bool {
		var err error
		out, err = h.command("/etc/cauase/look").CombinedOutput()
		return err == nil
	})
	for _, text := range says {
		ok = ok && strings.Contains(string(out), text)
	}
	if !ok {
		h.o.t.Errorf("%s: %s\n%s", h.name, out, &h.log)
	}
}
