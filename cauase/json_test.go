package main

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"cauase/pkg/ledger/ledgertest"
	"cauase/pkg/pemfile"
	"cauase/pkg/testkit"
	"cauase/pkg/testkit/pkitest"

	manners "cauase/pkg/cli"
)

// jsonPage is docs/json.md, also after a test has changed the folder.
var jsonPage, _ = filepath.Abs("../docs/json.md")

// What commands print with --json, and what they say beside it, is as docs/json.md has it.
func TestJSONIsAsDocumented(t *testing.T) {
	objects, _ := testkit.DocumentedJSON(t, jsonPage)
	commands := testkit.PrintedJSON(t, jsonPage, toolName)
	s := newShell(t)
	verbs := manners.Verbs(newApp(environment{}))
	testkit.CheckVerbs(t, jsonPage, toolName, verbs)
	s.admin()
	tried := map[string]bool{}
	check := func(command, args, object string, code int) {
		t.Helper()
		s.exits("--json "+command+" "+args, code)
		tried[command] = true
		kind, isList := strings.CutPrefix(object, "list of ")
		if !strings.Contains(commands[command], object) && !strings.Contains(commands[command], kind) {
			t.Errorf("%s is documented to print %q, and not %s", command, commands[command], object)
		}
		var list []map[string]any
		var err error
		if isList {
			err = json.Unmarshal([]byte(s.out), &list)
		} else {
			list = make([]map[string]any, 1)
			err = json.Unmarshal([]byte(s.out), &list[0])
		}
		if err != nil || isList && len(list) == 0 {
			t.Errorf("%s %s: %v: %s", command, args, err, s.out)
		}
		for _, one := range list {
			if err := testkit.ConformsTo(one, "", objects[strings.ToLower(kind)]); err != nil {
				t.Errorf("%s %s: %v", command, args, err)
			}
		}
		s.checkMessages(objects["message"])
	}
	check("request", "--cn web --dns web.example --eku server --eku 1.2.3", "result", 2)
	var pending resultView
	if err := json.Unmarshal([]byte(s.out), &pending); err != nil {
		t.Fatal(err)
	}
	check("csr list", "", "list of request", 0)
	check("csr show", pending.ID, "request", 0)
	check("csr show", pending.ID+" --user-key=", "request", 0)
	check("csr show", "web.csr.pem", "request", 0)
	check("csr get", pending.ID, "PEM", 0)
	check("csr get", pending.ID+" got.csr.pem", "result", 0)
	check("csr reject", "--reason no "+pending.ID, "list of result", 0)
	check("request", "--cn web", "result", 4)
	check("request", "--cn web --sign", "certificate", 0)
	check("request", "--cn web", "certificate", 0)
	s.write("password", []byte("correct horse\n"))
	check("request", "--cn browser --sign --eku client --p12 browser.p12 --p12-password-file password", "certificate", 0)
	check("p12", "--crt web.pem --p12-password-file password", "PKCS #12 file", 0)
	check("self-signed", "--cn device.example --out device", "self-signed certificate", 0)
	s.write("other.csr.pem", pkitest.NamedRequest(t, pkitest.Key(t), "other.example"))
	check("csr send", "other.csr.pem", "list of sent", 0)
	var sent []sentView
	if err := json.Unmarshal([]byte(s.out), &sent); err != nil || len(sent) != 1 {
		t.Fatalf("%v: %s", err, s.out)
	}
	check("csr send", "other.csr.pem --wait=1ns", "list of sent", 2)
	check("csr sign", sent[0].ID, "list of result", 0)
	check("csr send", "other.csr.pem --wait", "list of sent", 0)
	check("crt get", sent[0].ID, "PEM", 0)
	check("crt get", sent[0].ID+" other.pem", "certificate", 0)
	s.write("third.csr.pem", pkitest.NamedRequest(t, pkitest.Key(t), "third.example"))
	check("sign", "third.csr.pem --yes --wait=1ns", "result", 2)
	check("sign", "third.csr.pem --yes", "certificate", 0)
	check("crt show", "web.pem cas.crt.pem", "list of certificate", 0)
	check("crt renew", "web.pem --force", "certificate", 0)
	crts, err := pemfile.ReadCertificates("web.pem")
	if err != nil {
		t.Fatal(err)
	}
	s.daemon.Log = ledgertest.New("key")
	s.daemon.Log.Append(s.daemon.Clock.Now(), "cas", "crt.renew", crts[0].Raw)
	check("log check", "", "log", 0)
	check("crt proof", "web.pem --out web.proof", "proof", 0)
	s.daemon.Log.Rewrite(0, s.daemon.Clock.Now())
	check("log check", "--with cas.crt.pem.checkpoints", "log", 5)
	check("log accept", "", "log", 0)
	check("crt revoke", "web.pem", "list of result", 0)
	check("ca update", "", "updated", 0)
	check("ca root", "--root-ca root.pem", "updated", 0)
	check("crl update", "", "updated", 0)
	check("crl show", "", "list of revocation list", 0)
	check("config show", "", "settings", 0)
	check("ca show", "", "timeline", 0)
	check("ca install", "--into curl", "stores", 0)
	check("ca remove", "--into curl", "stores", 0)
	check("ca card", "--out card.png", "trust card", 0)
	check("invite", "--dns x.example --out x.invite", "invitation", 0)
	check("invite", "--dns x.example", "invitation", 0)
	check("invite show", "x.invite", "invitation", 0)
	check("init", "--config own.toml", "initialised", 0)
	check("invite list", "", "list of recorded invitation", 0)
	check("invite void", "x.invite", "list of withdrawn invitation", 0)
	check("lineage list", "--all", "list of lineage", 0)
	var lineages []lineageView
	if err := json.Unmarshal([]byte(s.out), &lineages); err != nil {
		t.Fatal(err)
	}
	check("lineage show", lineages[0].ID, "lineage", 0)
	check("lineage revoke", lineages[0].ID, "result of a lineage", 0)
	check("cors list", "", "list of decision about web pages", 0)
	check("cors withdraw", "https://pages.example", "decisions taken back", 0)
	check("cors withdraw", "--all", "decisions taken back", 0)
	check("completion", "bash", "script", 0)
	for _, verb := range verbs {
		if !tried[verb] {
			t.Errorf("%s is not tried", verb)
		}
		s.ok("--json " + verb + " --help")
		testkit.CheckJSON(t, jsonPage, "help", s.out)
		s.exits(verb+" --json --frobnicate", 1)
		if s.out != "" || s.checkMessages(objects["message"]) != 1 {
			t.Errorf("%s: a usage error is %q, %q", verb, s.out, s.err)
		}
	}
	for line, object := range map[string]string{"csr": "help", "": "help", "help crt renew": "help", "version": "version", "--version": "version"} {
		s.ok("--json " + line)
		testkit.CheckJSON(t, jsonPage, object, s.out)
	}
	for _, line := range []string{"csr list --frobnicate --json", "--json frobnicate", "csr send nowhere.csr --json", "--json request"} {
		s.exits(line, 1)
		if s.out != "" && !json.Valid([]byte(s.out)) {
			t.Errorf("%s: prints %q", line, s.out)
		}
		if s.checkMessages(objects["message"]) == 0 {
			t.Errorf("%s: says nothing", line)
		}
	}
}

// checkMessages checks what was said beside the result, and returns how many messages there were.
func (s *shell) checkMessages(members map[string]testkit.JSONMember) (n int) {
	s.Helper()
	for line := range strings.Lines(s.err) {
		var message map[string]any
		if err := json.Unmarshal([]byte(line), &message); err != nil {
			s.Errorf("%q: %v", line, err)
			continue
		}
		if err := testkit.ConformsTo(message, "", members); err != nil {
			s.Errorf("%s: %v", line, err)
		}
		n++
	}
	return n
}
