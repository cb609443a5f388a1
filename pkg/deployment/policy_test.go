package deployment

import (
	"fmt"
	"strings"
	"testing"
)

// TestPagePolicy does what docs/policy.md says: the page's rules in the file of a daemon, and the commands that try them.
func TestPagePolicy(t *testing.T) {
	need(t, "bash", "bash")
	o := emptyOffice(t, "docs/policy.md")
	rules := o.fence("toml rules").text
	o.does("cat >cauased.toml <<'END'\n" + strings.ReplaceAll(rules, `"10.0.0.0/8"`, `"127.0.0.0/8"`) + "END\ncp cauased.toml new.toml")
	o.launch(fmt.Sprintf("cauased --config cauased.toml --netloc 127.0.0.1:%d", o.port))
	o.does("cauase request --cn alice --invite first-user.invite --crt user.pem")

	// The rules decide: the names are the page's.
	o.does("cauase request --profile server --cn a.web.example --key web.key.pem --csr web.csr.pem --crt web.crt.pem")
	if out, code := o.shell("cauase request --cn www.bank.example --key bank.key.pem --csr bank.csr.pem --crt bank.crt.pem"); code == 0 || !strings.Contains(out, "an authority of its own") {
		t.Errorf("the bank: exit code %d: %s", code, out)
	}
	if out, code := o.shell("cauase request --cn a.pay.example --key pay.key.pem --csr pay.csr.pem --crt pay.crt.pem"); code != 2 || !strings.Contains(out, "pending") {
		t.Errorf("payments: exit code %d: %s", code, out)
	}

	block := commands(o.fence("sh try").text)
	if len(block) != 3 {
		t.Fatalf("%q", block)
	}
	o.does(block[0])
	if out := o.does(block[1] + " --profile server"); !strings.Contains(out, "hold") {
		t.Errorf("from an address that is in no rule: %s", out)
	}
	if out := o.does(strings.Replace(block[1], "10.1.2.3", "127.0.0.1", 1) + " --profile server"); !strings.Contains(out, "approve") || !strings.Contains(out, "web") {
		t.Errorf("test: %s", out)
	}
	if out, code := o.shell(block[2]); code != 0 {
		t.Errorf("the same rules decide otherwise: exit code %d: %s", code, out)
	}
	o.does(`sed -i 's/\*.web.example/*.other.example/' new.toml`)
	if out, code := o.shell(block[2]); code != 2 || !strings.Contains(out, "a.web.example") {
		t.Errorf("replay of changed rules: exit code %d: %s", code, out)
	}
}
