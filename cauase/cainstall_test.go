package main

import (
	"encoding/json"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"cauase/pkg/anchors"
	"cauase/pkg/client/clienttest"
	"cauase/pkg/testkit"
	"cauase/pkg/testkit/pkitest"
)

// TestInstallFollows: what is trusted here is in the store, over a rollover, and nothing else is touched. Package deployment has the
// stores of a machine.
func TestInstallFollows(t *testing.T) {
	testkit.Need(t, "certutil", "libnss3-tools")
	s := newShell(t)
	s.ok("ca update")
	s.ok("--mode user ca update")
	db := filepath.Join(t.TempDir(), "db")
	if err := anchors.MakeNSS(t.Context(), db); err != nil {
		t.Fatal(err)
	}
	run := func(line string) storeView {
		t.Helper()
		s.ok("--json " + line + " --nss " + db)
		var view installedView
		if err := json.Unmarshal([]byte(s.out), &view); err != nil || len(view.Stores) != 1 {
			t.Fatalf("%v: %s", err, s.out)
		}
		return view.Stores[0]
	}
	if v := run("ca install --dry-run"); len(v.Added) != 1 {
		t.Errorf("%+v", v)
	}
	if v := run("ca install"); len(v.Added) != 1 || v.Place != db {
		t.Errorf("%+v", v)
	}
	if v := run("--ca-url http://another.example ca install"); len(v.Added) != 0 || len(v.Kept) != 1 {
		t.Errorf("by another address: %+v", v)
	}
	if v := run("--ca-url http://another.example ca remove"); len(v.Removed) != 1 {
		t.Errorf("by another address: %+v", v)
	}
	if v := run("ca install"); len(v.Added) != 1 {
		t.Errorf("%+v", v)
	}
	if v := run("--mode user ca install"); len(v.Added) != 1 || len(v.Kept) != 0 {
		t.Errorf("of users: %+v", v)
	}
	for range 3 {
		s.daemon.Clock.Advance(clienttest.LeafLife)
		s.daemon.CAS.Rollover()
		s.ok("ca update")
	}
	if v := run("ca install"); len(v.Added) != 3 || len(v.Kept)+len(v.Removed) != 1 {
		t.Errorf("after rollovers: %+v", v)
	}
	s.daemon.Clock.Advance(4 * clienttest.LeafLife)
	s.daemon.CAS.Rollover()
	s.ok("ca update")
	if v := run("ca install"); len(v.Removed) == 0 || len(v.Added) != 1 {
		t.Errorf("after some have expired: %+v", v)
	}
	if v := run("ca install"); len(v.Added)+len(v.Removed) != 0 {
		t.Errorf("again: %+v", v)
	}
	if v := run("ca remove"); len(v.Removed) == 0 {
		t.Errorf("%+v", v)
	}
	if v := run("ca remove --all"); len(v.Removed) != 1 || !strings.HasPrefix(v.Removed[0], "cauase-cau@") {
		t.Errorf("%+v", v)
	}
	s.exits("ca install --nss nowhere", 1)
	s.says("nowhere holds no NSS database")
}

// TestInstallRefuses: nothing is installed that programs could do nothing with.
func TestInstallRefuses(t *testing.T) {
	s, root, _ := newTreeShell(t)
	s.exits("ca install --into curl", 1)
	s.says("holds no valid CA certificate of cas\n.*hint: cauase ca update")
	s.ok("--authority web ca update")
	s.ok("--authority web ca install --into curl")
	s.says("to be trusted: CN=Web,")
	s.write("below.pem", pkitest.PEM(root.NewCABelow("Web").Crt))
	s.exits("--authority web ca install --into curl --ca-crt below.pem", 1)
	s.says("in below.pem are below a root.*\n.*hint: cauase ca root --authority web")
	s.ok("--authority web ca root")
	s.ok("--authority web ca install --into curl")
	s.says("to be trusted: CN=Root,")
	for line, says := range map[string]string{
		"ca install --into debain":                                  "did you mean debian",
		"ca install x":                                              "--into",
		"ca remove --keystore nowhere":                              "nowhere",
		"ca install --nss . --nss-password-file nowhere":            "nowhere",
		"ca install --into redhat --config none --dry-run --quiet ": "",
	} {
		s.run(line)
		if !regexp.MustCompile(says).MatchString(s.out + s.err) {
			t.Errorf("%s: says %s%s", line, s.out, s.err)
		}
	}
}
