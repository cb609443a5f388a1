package main

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"cauase/pkg/client"
	"cauase/pkg/client/clienttest"
)

// newUserShell is a shell of somebody who has not set any variable yet.
func newUserShell(t *testing.T) (s *shell, folder string) {
	t.Helper()
	s = newShell(t)
	for _, name := range []string{"CAUASE_STORE", "CAUASE_CA_URL"} {
		os.Unsetenv(name)
	}
	return s, filepath.Join(os.Getenv("XDG_CONFIG_HOME"), "cauase")
}

// tree returns the names of what is in a folder, with its permissions.
func tree(t *testing.T, folder string) (found []string) {
	t.Helper()
	err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		name, _ := filepath.Rel(folder, path)
		found = append(found, name+" "+info.Mode().Perm().String())
		return err
	})
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return found
}

func (s *shell) pin() string {
	return "--ca-fingerprint " + client.PinOf(s.daemon.CAS.Newest().Crt).String()
}

// A user says once which CA to work with, and works in any folder from then on, where nothing is left.
func TestInit(t *testing.T) {
	s, folder := newUserShell(t)
	s.ok("init --ca-url " + s.daemon.URL + " " + s.pin() + " --ca-fingerprint " + client.PinOf(s.daemon.CAU.Newest().Crt).String())
	s.says(`cauase.toml: written, context default for the CA at http://`)
	s.says(`default/cas.crt.pem: trusting .*sha256:`)
	if strings.Contains(s.err, "first contact") {
		t.Errorf("says %s", s.err)
	}
	want := []string{". -rwx------", "cauase.toml -rw-------", "default -rwx------", "default/cas.crt.pem -rw-------", "default/cau.crt.pem -rw-------"}
	if got := tree(t, folder); !slices.Equal(got, want) {
		t.Errorf("made %v", got)
	}
	before := snapshotOf(t, folder)
	s.ok("init --ca-url " + s.daemon.URL + " " + s.pin())
	s.says("cauase.toml: unchanged")
	s.ok("init")
	s.says("cauase.toml: unchanged")
	if snapshotOf(t, folder) != before {
		t.Error("the same again changes something")
	}

	s.daemon.CAU.AutoApprove = 1
	s.ok("request --mode user --cn admin")
	s.ok("init --user-key admin.pem")
	s.exits("request --cn web", 2)
	id := s.id()
	s.ok("csr sign " + id)
	s.ok("request --cn web")
	s.ok("crl update")
	s.ok("crt show web.pem")
	s.says("trusted: +yes, by " + folder + "/default/cas.crt.pem")
	if got := s.files(); !slices.Equal(got, []string{".web.csr.pem", "admin.csr.pem", "admin.pem", "web.pem"}) {
		t.Errorf("in the current folder there are %v", got)
	}
	if got := tree(t, folder); !slices.Contains(got, "default/cas.crt.pem.vouched -rw-------") || !slices.Contains(got, "default/cas.crl.pem -rw-------") {
		t.Errorf("in the configuration's folder there are %v", got)
	}
	// What is said nearer comes first.
	s.ok("--user-key admin.pem --store elsewhere-not-there crt show web.pem")
	s.says("unknown: elsewhere-not-there/cas.crt.pem holds no CA certificate")
}

func snapshotOf(t *testing.T, folder string) string {
	t.Helper()
	var all strings.Builder
	for _, entry := range tree(t, folder) {
		name, _, _ := strings.Cut(entry, " ")
		content, _ := os.ReadFile(filepath.Join(folder, name)) // none of a folder
		all.WriteString(entry + string(content))
	}
	return all.String()
}

// Who answers is not the CA that the fingerprint is of, or the context is about another CA: nothing changes.
func TestInitRefuses(t *testing.T) {
	s, folder := newUserShell(t)
	other := clienttest.NewAuthority(t, s.daemon.Clock, "Other")
	s.exits("init", 1)
	s.says("its address is not given\n.*hint: give --ca-url")
	s.exits("init "+s.daemon.URL, 1)
	s.says("the CA's address is given with --ca-url")
	s.exits("init --ca-url "+s.daemon.URL+" --ca-fingerprint "+client.PinOf(other.Newest().Crt).String(), 1)
	s.says("no CA certificate with the expected fingerprint")
	if got := tree(t, folder); len(got) > 0 {
		t.Errorf("left behind: %v", got)
	}
	s.ok("init --ca-url " + s.daemon.URL + " " + s.pin())
	s.says("cau: nothing was given to know this authority's CA by")
	before := snapshotOf(t, folder)

	second := clienttest.Start(t, s.daemon.Clock)
	s.exits("init --ca-url "+second.URL+" --ca-fingerprint "+client.PinOf(second.CAS.Newest().Crt).String(), 1)
	s.says("the context default is about the CA at " + s.daemon.URL + ` \(.*line 5\), not ` + second.URL + "\n.*hint: --context NAME")
	s.exits("init --ca-fingerprint "+client.PinOf(other.Newest().Crt).String(), 1)
	s.says("expected fingerprint.*\n.*hint: what is trusted there is not replaced")
	// Another CA in the place of the one that is known.
	s.daemon.Intercept(nil)
	s.daemon.CAS = other
	s.exits("init", 1)
	s.says("hint: what is trusted there is not replaced")
	if snapshotOf(t, folder) != before {
		t.Error("something has changed")
	}

	s.ok("init --context lab --ca-url " + second.URL + " --ca-fingerprint " + client.PinOf(second.CAS.Newest().Crt).String())
	s.ok("--context lab ca update")
	s.says("lab/cas.crt.pem: unchanged, 1 CA certificate")
	s.exits("ca update", 1)
	s.Setenv("CAUASE_CONTEXT", "labs")
	s.exits("ca update", 1)
	s.says(`--context "labs": there is no such context\n.*hint: did you mean lab\?`)
	s.Setenv("CAUASE_CONTEXT", "lab")
	s.ok("ca update")
	s.exits("--context ../lab ca update", 1)
	s.says(`is not the name of a context`)
}

func TestConfigShow(t *testing.T) {
	s, folder := newUserShell(t)
	s.ok("config show")
	s.says("(?m)^ca-url +- +default$")
	if err := os.MkdirAll(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(folder, "cauase.toml")
	content := "threshold = \"12h\"\ncurrent-context = \"home\"\n\n[context.home]\nca-url = \"http://ca.home.example\"\nuser-key = \"~/me.pem\"\nca-crt = \"svc.pem\"\n\n" +
		"[context.lab]\nca-url = \"http://ca.lab.example\"\nauthority = \"lab\"\nthreshold = 3\n"
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("HOME", "/home/me")
	t.Setenv("CAUASE_KEY_TYPE", "ed25519")
	s.ok("config show --mode user")
	for _, want := range []string{
		`ca-url +http://ca.home.example +` + path + `, line 5`, `user-key +/home/me/me.pem +` + path + `, line 6`, `ca-crt +` + folder + `/svc.pem +` + path + ", line 7",
		`threshold +0.5 +` + path + `, line 1`, `key-type +ed25519 +CAUASE_KEY_TYPE`, `mode +user +--mode`, `crl +` + folder + `/home/cas.crl.pem +default`, `contexts: +home, lab`, `context: +home`,
	} {
		s.says("(?m)^" + want + "$")
	}
	s.ok("config show --context lab --json")
	var view configView
	if err := json.Unmarshal([]byte(s.out), &view); err != nil || view.Context != "lab" || !slices.Contains(view.Settings, settingView{"authority", "lab", path + ", line 11"}) ||
		!slices.Contains(view.Settings, settingView{"threshold", 3.0, path + ", line 12"}) {
		t.Errorf("%s, %v", s.out, err)
	}
	// Of what excludes each other the nearer counts.
	s.ok("config show --context lab --mode user --json")
	s.says(`"authority",\s+"value": "cau"`)
}

// What is wrong in a configuration is said with its place, and nothing is done by it.
func TestConfigurationRefused(t *testing.T) {
	s, folder := newUserShell(t)
	path := filepath.Join(folder, "cauase.toml")
	if err := os.MkdirAll(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	for content, want := range map[string]string{
		"ca_url = \"http://x\"\n":                     `line 1, column 1: there is no setting "ca_url"\n.*hint: did you mean ca-url\?`,
		"[context.a]\nuserkey = \"x\"\n":              `line 2, column 1: there is no setting "userkey"\n.*hint: did you mean user-key\?`,
		"user-kex = 1\nca-urk = 1\n":                  `line 1, column 1: there is no setting "user-kex"\n.*hint: .*\n.*cauase.toml: line 2, column 1: there is no setting "ca-urk"\n.*hint: did you mean ca-url\?`,
		"[contexts.a]\nca-url = \"x\"\n":              `there is no setting "contexts"\n.*hint: did you mean context\?`,
		"context = \"a\"\n":                           `context is a table for each context\n.*hint: .*current-context = "NAME"`,
		"current-context = \"a\"\n[context.b]\n":      `current-context "a": there is no such context`,
		"[context.a]\n[context.b]\n":                  `which context\? .*\n.*hint: give --context, one of a, b`,
		"threshold = \"soon\"\n":                      `line 1, column 1: threshold: "soon" is not a time such as 31`,
		"threshold = true\n":                          `line 1, column 1: threshold: must be a number of days`,
		"caucase = \"yes\"\n":                         `caucase: must be true or false`,
		"[context.\"../x\"]\nca-url = \"http://x\"\n": `is not the name of a context`,
		"ca-url = \n":                                 `line 1, column`,
		"context = 5\n":                               `context is a table`,
		"[context]\na = 5\n":                          `context.a is no table`,
		"[[context]]\nca-url = \"http://x\"\n":        `context is a table for each`,
	} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, line := range []string{"ca update", "config show", "request --cn x"} {
			if line == "config show" && strings.HasPrefix(want, "which context") {
				continue
			}
			s.exits(line, 1)
			s.says(want)
		}
		s.ok("config show --help") // how one finds out
		s.ok("completion bash")
		s.exits("--config none ca update", 1)
		s.says("the CA's address is not given")
	}
	// Also what is found out later than when it is read, and where the environment gives it.
	for content, want := range map[string]string{
		"mode = \"usr\"\n":                          `line 1, column 1: mode: "usr" is not one of service, user`,
		"authority = \"Web\"\n":                     `line 1, column 1: authority: "Web" is not the name`,
		"key-type = \"dsa\"\n":                      `line 1, column 1: key-type: "dsa" is not one of`,
		"\nthreshold = -1\n":                        `line 2, column 1: threshold -1 is not a number of days`,
		"ca-fingerprint = [\"sha\"]\n":              `line 1, column 1: ca-fingerprint: `,
		"catch-up = -1\n":                           `line 1, column 1: catch-up -1 is not`,
		"[context.default]\nca-url = \"ftp://x\"\n": `line 2, column 1: ca-url: CA URL "ftp://x"`,
	} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		s.exits("ca update", 1)
		s.says(path + ": " + want)
	}
	for name, want := range map[string]string{"MODE": `"usr" is not`, "KEY_TYPE": `"usr" is not`, "CA_FINGERPRINT": `"usr" is not`, "CA_URL": `CA URL "usr"`, "AUTHORITY": `.*"USR" is not`} {
		t.Setenv("CAUASE_"+name, map[bool]string{true: "USR", false: "usr"}[name == "AUTHORITY"])
		s.exits("--config none ca update", 1)
		s.says("error: CAUASE_" + name + ": " + want)
		os.Unsetenv("CAUASE_" + name)
	}
	good := "[context.default]\nca-url = \"" + s.daemon.URL + "\"\n"
	if err := os.WriteFile(path, []byte(good), 0o600); err != nil {
		t.Fatal(err)
	}
	s.ok("ca update")
	for _, exposed := range []string{path, folder} {
		info, err := os.Stat(exposed)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(exposed, info.Mode().Perm()|0o022); err != nil {
			t.Fatal(err)
		}
		s.exits("ca update", 1)
		s.says("can be written by everybody.*\n.*hint: whoever can write it decides which CA is trusted")
		if err := os.Chmod(exposed, info.Mode().Perm()); err != nil {
			t.Fatal(err)
		}
	}
	s.exits("--config nowhere.toml ca update", 1)
	s.says("--config: .*nowhere.toml.*\n.*hint: cauase init makes one")
}

// Those who relied on the current folder go on with what is there. Nobody else can have them trust something by putting it there.
func TestCurrentFolder(t *testing.T) {
	s, folder := newUserShell(t)
	s.Setenv("CAUASE_CA_URL", s.daemon.URL)
	s.ok("ca update")
	if got := s.files(); len(got) > 0 {
		t.Errorf("in the current folder there are %v", got)
	}
	host := strings.TrimPrefix(s.daemon.URL, "http://")
	if got := tree(t, folder); !slices.Contains(got, "hosts/"+host+"/cas.crt.pem -rw-------") {
		t.Errorf("made %v", got)
	}
	s.ok("--store . ca update")
	before, err := os.ReadFile("cas.crt.pem")
	if err != nil {
		t.Fatal(err)
	}
	s.ok("crl update")
	s.says("note: using cas.crt.pem in the current folder, as versions before did")
	s.says("(?m)^cas.crl.pem: updated")
	s.ok("--quiet crl update")
	if s.err != "" {
		t.Errorf("says %s", s.err)
	}
	if err := os.Chmod(".", 0o777); err != nil {
		t.Fatal(err)
	}
	s.exits("ca update", 1)
	s.says("it is not trusted unless it is asked for\n.*hint: --store . takes")
	s.ok("--store . ca update")
	s.ok("--ca-crt cas.crt.pem --crl cas.crl.pem crl update") // named, it was asked for
	if err := os.Chmod(".", 0o755); err != nil {
		t.Fatal(err)
	}
	s.ok("init " + s.pin())
	s.ok("crl update")
	s.says("note: cas.crt.pem in the current folder is not used: the context default has its trust in " + folder)
	if after, err := os.ReadFile("cas.crt.pem"); err != nil || string(after) != string(before) {
		t.Error("the file in the current folder has changed")
	}
}

// Only what was stored is said to be trusted from now on.
func TestTrustIsSaidWhenStored(t *testing.T) {
	s := newShell(t)
	s.exits("crt get 99", 1)
	if strings.Contains(s.err, "from now on trusting") {
		t.Errorf("says %s", s.err)
	}
	s.ok("ca update")
	s.says(`first contact: from now on trusting .*, in cas.crt.pem; compare`)
	s.ok("ca update --ca-crt pinned.pem " + s.pin())
	if strings.Contains(s.err, "first contact") {
		t.Errorf("says %s", s.err)
	}
}

// Names of usages and reasons are taken in any case, and with either spelling.
func TestSpellings(t *testing.T) {
	s := newShell(t)
	s.admin()
	for _, eku := range []string{"serverAuth", "serverauth", "server-auth", "SERVER"} {
		s.exits("request --cn web --force --eku "+eku, 2)
	}
	s.exits("request --cn web --eku servr", 1)
	s.says(`--eku "servr" is not one of .*\n.*hint: did you mean server\?`)
	for i, reason := range []string{"keycompromise", "key-compromise", "KeyCompromise", "key_compromise"} {
		s.ok(fmt.Sprintf("crt revoke --unknown --serial %d --reason %s", i+1, reason))
	}
	s.exits("crt revoke --serial 5 --reason keykompromise", 1)
	s.says(`hint: did you mean keyCompromise\?`)
	for _, threshold := range []string{"31", "31d", "12h", "0.5", "1d12h"} {
		s.ok("crt renew admin.pem --mode user --threshold " + threshold)
	}
	s.daemon.CAU.AutoApprove = 2
	s.ok("request --mode user --cn admin --crt apart.crt --key apart.key --force")
	s.exits("crt renew apart.crt", 1)
	s.says(`error: apart.crt holds no private key\n.*hint: .*--key apart.key`)
}
