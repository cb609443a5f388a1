package policy

import (
	"fmt"
	"strings"
	"testing"

	"github.com/pelletier/go-toml/v2"
)

// rules reads rules as they stand in a file.
func rules(t testing.TB, text string) *Set {
	t.Helper()
	var file struct {
		Policy []Config `toml:"policy"`
	}
	if err := toml.Unmarshal([]byte(text), &file); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	s, err := Compile(file.Policy)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return s
}

// named reads names as they are shown.
func named(list ...string) (names []Name) {
	for _, text := range list {
		kind, value, _ := strings.Cut(text, ":")
		names = append(names, Name{kind, value})
	}
	return names
}

// The askers of the matrix.
var (
	near    = Asker{FrontEnd: "caucase", Address: "10.1.2.3"}
	far     = Asker{FrontEnd: "caucase", Address: "192.0.2.7"}
	mapped  = Asker{FrontEnd: "caucase", Address: "::ffff:10.1.2.3"}
	nowhere = Asker{FrontEnd: "caucase"}
	ptr     = Asker{FrontEnd: "caucase", Address: "10.1.2.3", Reverse: []string{"a.web.example.", "*.web.example", "ca.example"}}
	factory = Asker{FrontEnd: "caucase", Certificate: &Certificate{Authority: "factory", Serial: "0x1", Subject: "CN=dev 7,O=Factory",
		Names: []string{"DNS:dev7.web.example", "DNS:*.web.example", "DNS:example", "IP:10.0.0.7", "email:dev7@web.example", "URI:urn:dev:7", "DNS:ca.example"}}}
	// What verifiers do not take for its name, as it has others.
	misnamed = shows("CN=bank.example", "DNS:dev9.web.example")
	misword  = shows("CN=bank", "DNS:dev9.web.example")
	mailer   = shows("CN=pay@bank.example", "email:dev9@web.example")
	rightly  = shows("CN=dev9.web.example", "DNS:dev9.web.example")
	person   = shows("CN=Jane Doe", "email:jane@web.example")
	nameless = Asker{FrontEnd: "caucase", Certificate: &Certificate{Authority: "factory", Serial: "0x2", Subject: "CN=dev8.web.example"}}
	others   = Asker{FrontEnd: "caucase", Certificate: &Certificate{Authority: "others", Serial: "0x1", Subject: "CN=x", Names: []string{"DNS:a.web.example"}}}
	sshd     = Asker{FrontEnd: "caucase", SSH: &SSHHost{Fingerprint: "SHA256:x", Names: []string{"a.web.example", "10.0.0.7"}}}
	api      = Asker{FrontEnd: "signing", Client: "printers7"}
	acme     = Asker{FrontEnd: "acme", Client: "printers7"}
	invited  = Asker{FrontEnd: "caucase", Invitation: "00ff"}
)

// TestMatrix: rule × who × names. Whatever no rule decides is held.
func TestMatrix(t *testing.T) {
	type try struct {
		who   Asker
		names string // separated by spaces
		want  Decision
	}
	const approve = "decision = \"approve\"\n"
	for rule, tries := range map[string][]try{
		``: {{near, "DNS:a.web.example", Hold}},
		approve + `names = ["*.web.example"]`: {
			{near, "DNS:a.web.example", Approve}, {nowhere, "DNS:A.Web.EXAMPLE", Approve}, {near, "DNS:a_b.web.example", Approve},
			{near, "DNS:xn--mnchen-3ya.web.example", Approve}, {near, "DNS:a.web.example DNS:b.web.example DNS:b.web.example", Approve},
			{near, "DNS:web.example", Hold}, {near, "DNS:a.b.web.example", Hold}, {near, "DNS:a.web.example DNS:evil.example", Hold},
			{near, "DNS:*.web.example", Hold}, {near, "DNS:a.web.example DNS:*.web.example", Hold}, {near, "", Hold},
			{near, "DNS:a.web.example.", Hold}, {near, "DNS:.web.example", Hold}, {near, `DNS:a\x00.web.example`, Hold}, {near, "DNS:a.web.example\x00.evil.example", Hold},
			{near, "DNS:\u212a.web.example", Hold}, {near, "IP:10.0.0.1", Hold}, {near, "DNS:a.web.example IP:10.0.0.1", Hold},
			{near, "email:root@a.web.example", Hold}, {near, "URI:https://a.web.example/", Hold}, {near, "otherName:1.3.6.1.4.1.311.20.2.3", Hold}, {near, "otherName:", Hold},
			{near, "DNS:a.web.example CN:a.web.example", Approve}, {near, "CN:b.web.example", Approve}, {near, "CN:b.web.example.", Hold}, {near, "DNS:a.web.example CN:evil.example", Hold},
			{near, "DNS:a.web.example CN:*.web.example", Hold}, {near, "DNS:a.web.example CN:alice", Hold},
			{near, "DNS:a.web.example subject:O=system:masters", Hold}, {near, "directoryName:CN=a.web.example", Hold}, {near, "DNS:a.web.examplex", Hold}, {near, "DNS:aweb.example", Hold},
		},
		approve + `names = ["literal:*.web.example"]`: {{near, "DNS:*.web.example", Approve}, {near, "DNS:a.web.example", Hold}, {near, "DNS:*.WEB.example", Approve}},
		approve + `names = ["*.example", "*.*.example", "*.uk", "*"]`: {
			{near, "DNS:x.example", Approve}, {near, "DNS:ca.example", Hold}, {near, "DNS:CA.example", Hold}, {near, "DNS:co.uk", Hold}, {near, "DNS:x.uk", Approve},
			{near, "DNS:localhost", Hold}, {near, "DNS:example", Hold}, {near, "DNS:*.web.example", Hold}, {near, "CN:ca.example", Hold}},
		approve + `names = ["ca.example", "localhost", "co.uk"]`: {{near, "DNS:ca.example", Approve}, {near, "DNS:LOCALHOST", Approve}, {near, "DNS:co.uk", Approve}},
		approve + `names = "*.münchen.example"`:                  {{near, "DNS:a.xn--mnchen-3ya.example", Approve}, {near, "DNS:a.XN--MNCHEN-3YA.example", Approve}},
		approve + `names = ["10.0.0.0/8", "2001:db8::/32"]`: {
			{near, "IP:10.9.8.7", Approve}, {near, "IP:2001:db8::1", Approve}, {near, "IP:11.0.0.1", Hold}, {near, "IP:::ffff:10.9.8.7", Hold},
			{near, "IP:10.0.0.9", Hold}, {near, "CN:10.9.8.7", Approve}, {near, "DNS:10.9.8.7", Hold}},
		approve + `names = ["10.0.0.9", "::/0"]`: {{near, "IP:10.0.0.9", Approve}, {near, "IP:::ffff:10.0.0.9", Hold}},
		approve + `names = ["*@example.org", "alice@Example.com"]`: {
			{near, "email:bob@EXAMPLE.org", Approve}, {near, "email:alice@example.com", Approve}, {near, "email:Alice@example.com", Hold},
			{near, "email:bob@sub.example.org", Hold}, {near, "DNS:example.org", Hold}, {near, "CN:bob@example.org", Approve}},
		approve + `names = ["https://*.web.example/app/*", "urn:dev:*"]`: {
			{near, "URI:https://a.web.example/app/7", Approve}, {near, "URI:HTTPS://A.web.example/app/7", Approve}, {near, "URI:https://a.web.example/app/..", Hold},
			{near, "URI:https://a.web.example/app/%2e%2e", Hold}, {near, "URI:https://a.web.example/app/7/8", Hold}, {near, "URI:https://a.web.example/app/", Hold},
			{near, "URI:https://a.web.example:8443/app/7", Hold}, {near, "URI:https://a.web.example/app/7?x", Hold}, {near, "URI:http://a.web.example/app/7", Hold},
			{near, "URI:https://evil.example#.web.example/app/7", Hold}, {near, "URI:urn:dev:7", Approve}, {near, "URI:urn:dev:7:8", Hold}, {near, "URI:https://*.web.example/app/7", Hold}},
		approve + `names = ["https://*.example/"]`: {{near, "URI:https://ca.example/", Hold}, {near, "URI:https://cb.example/", Approve}},
		approve + `names = ["cn:*", "o:Example", "ou:*"]`: {
			{near, "CN:alice subject:O=Example", Approve}, {near, "CN:ALICE subject:O=EXAMPLE subject:OU=a.b", Approve}, {near, "CN:alice subject:O=Evil", Hold},
			{near, "CN:pay.bank.example", Hold}, {near, "CN:a@b.example", Hold}, {near, "CN:*", Hold}, {near, "DNS:a.web.example", Hold}, {near, "CN:localhost", Approve}},
		approve + `names = ["*.web.example"]` + "\nfrom = [\"10.0.0.0/8\"]": {
			{near, "DNS:a.web.example", Approve}, {mapped, "DNS:a.web.example", Approve}, {far, "DNS:a.web.example", Hold}, {nowhere, "DNS:a.web.example", Hold}},
		approve + `names = ["{request.address.ptr}"]`: {
			{ptr, "DNS:a.web.example", Approve}, {ptr, "DNS:A.web.example CN:a.web.example", Approve}, {ptr, "DNS:b.web.example", Hold}, {near, "DNS:a.web.example", Hold},
			{ptr, "DNS:*.web.example", Hold}, {ptr, "DNS:ca.example", Hold}, {ptr, "DNS:a.web.example DNS:b.web.example", Hold}},
		approve + `names = ["www.{request.address.ptr}"]`: {{ptr, "DNS:www.a.web.example", Approve}, {ptr, "DNS:a.web.example", Hold}},
		approve + "names = [\"{identity.name}\"]\ncertificate = \"factory\"": {
			{factory, "DNS:dev7.web.example IP:10.0.0.7 CN:Dev  7", Approve}, {factory, "DNS:a.web.example", Hold}, {factory, "DNS:*.web.example", Hold}, {factory, "DNS:example", Hold},
			{factory, "DNS:ca.example", Hold}, {others, "DNS:a.web.example", Hold}, {near, "DNS:dev7.web.example", Hold}, {sshd, "DNS:a.web.example", Hold},
			{factory, "email:dev7@web.example", Hold}, {misnamed, "CN:bank.example", Hold}, {misnamed, "CN:BANK.example.", Hold}, {misnamed, "DNS:bank.example", Hold}, {misnamed, "CN:dev9.web.example", Approve},
			{misword, "CN:bank", Hold}, {rightly, "CN:dev9.web.example DNS:dev9.web.example", Approve}, {mailer, "CN:pay@bank.example", Hold}, {person, "CN:Jane Doe", Approve}, {nameless, "DNS:dev8.web.example", Approve}, {factory, "", Hold}},
		approve + "names = [\"email:{identity.name}\", \"uri:{identity.name}\"]\ncertificate = \"factory\"": {
			{factory, "email:dev7@WEB.example URI:urn:dev:7", Approve}, {factory, "email:DEV7@web.example", Hold}},
		approve + "names = [\"cn:{identity.name}\"]\ncertificate = \"factory\"": {
			{misnamed, "CN:bank.example", Hold}, {misword, "CN:bank", Hold}, {rightly, "CN:dev9.web.example", Approve}, {nameless, "CN:dev8.web.example", Approve}, {person, "CN:jane doe", Approve}},
		approve + "names = [\"*.{identity.name}\"]\ncertificate = \"factory\"": {{factory, "DNS:x.dev7.web.example", Approve}, {factory, "DNS:*.dev7.web.example", Hold}},
		approve + "names = [\"{identity.name}\"]\nssh = true": {
			{sshd, "DNS:a.web.example IP:10.0.0.7", Approve}, {sshd, "DNS:b.web.example", Hold}, {factory, "DNS:dev7.web.example", Hold}, {near, "DNS:a.web.example", Hold}},
		approve + "certificate = \"factory\"\ncertificate_names = \"*.web.example\"\nnames = \"*.web.example\"": {
			{factory, "DNS:z.web.example", Approve}, {nameless, "DNS:z.web.example", Approve}, {others, "DNS:z.web.example", Hold}},
		approve + "front_end = \"acme\"\nclient = \"printers*\"\nnames = \"*.web.example\"": {
			{acme, "DNS:a.web.example", Approve}, {api, "DNS:a.web.example", Hold}, {near, "DNS:a.web.example", Hold}},
		"decision = \"refuse\"\ninvitation = true": {{invited, "DNS:a.web.example", Refuse}, {near, "DNS:a.web.example", Hold}},
		"decision = \"refuse\"\nnames = [\"*.bank.example\", \"pay.web.example\", \"10.0.0.0/8\"]": {
			{near, "DNS:pay.bank.example", Refuse}, {near, "DNS:x.example DNS:pay.bank.example", Refuse}, {near, "DNS:*.bank.example", Refuse},
			{near, "DNS:*.web.example", Refuse}, {near, "CN:PAY.web.example", Refuse}, {near, "CN:pay.bank.example.", Refuse}, {near, "CN:b\u00fccher.bank.example", Refuse}, {near, "CN:*.bank.example.", Refuse}, {near, "IP:::ffff:10.0.0.1", Refuse}, {near, "DNS:x.example", Hold}, {near, "", Hold}},
		"decision = \"refuse\"\nmatch = \"all\"\nnames = [\"*.bank.example\"]": {{near, "DNS:pay.bank.example", Refuse}, {near, "DNS:x.example DNS:pay.bank.example", Hold}},
		approve: {{near, "DNS:a.b.c.example subject:O=x otherName:", Approve}, {near, "DNS:*.web.example", Hold}, {near, "DNS:ca.example", Hold}, {near, "CN:ca.example.", Hold}, {near, "CN:ca\u3002example", Hold}, {near, "DNS:co.uk", Hold}, {near, "IP:10.0.0.9", Hold}},
		"authority = \"other\"\ndecision = \"refuse\"":                                    {{near, "DNS:a.web.example", Hold}},
		"profile = [\"web\", \"as-requested\"]\ndecision = \"refuse\"":                    {{near, "DNS:a.web.example", Refuse}},
		"keys = [\"ecdsa\"]\ndecision = \"refuse\"":                                       {{near, "DNS:a.web.example", Refuse}},
		"keys = [\"rsa\", \"ecdsa-p384\", \"ed25519\"]\ndecision = \"refuse\"":            {{near, "DNS:a.web.example", Hold}},
		"keys = [\"ecdsa-p256\"]\ndecision = \"hold\"\n[[policy]]\ndecision = \"refuse\"": {{near, "DNS:a.web.example", Hold}},
	} {
		text := ""
		if rule != "" {
			text = "[[policy]]\n" + rule
		}
		s := rules(t, text)
		for _, try := range tries {
			c := Case{Authority: "cas", Profile: "as-requested", Key: "ecdsa-p256", Asker: try.who, Daemon: []string{"CA.example", "10.0.0.9"}}
			for _, n := range splitNames(try.names) {
				c.Names = append(c.Names, named(n)...)
			}
			v, steps := s.Explain(c)
			if v.Decision != try.want {
				t.Errorf("%s\n  for %q by %+v: %s, want %s: %v", rule, try.names, try.who, v.Decision, try.want, steps)
			}
			if got, err := NewEngine(s).Decide(t.Context(), c); err != nil || got.Decision != v.Decision || got.Rule != v.Rule {
				t.Errorf("%s: decided %+v, explained %+v", rule, got, v)
			}
		}
	}
}

// splitNames splits at spaces before a kind.
func splitNames(text string) (list []string) {
	for _, word := range strings.Split(text, " ") {
		if strings.Contains(word, ":") || len(list) == 0 {
			if word != "" {
				list = append(list, word)
			}
			continue
		}
		list[len(list)-1] += " " + word
	}
	return list
}

// TestUsersAreApprovedByNameOnly: a rule about everybody's requests is not about those of whoever would administer the daemon.
func TestUsersAreApprovedByNameOnly(t *testing.T) {
	c := Case{Authority: "cau", Users: true, Names: named("CN:alice")}
	for rule, want := range map[string]Decision{
		`decision = "approve"`:                        Hold,
		"decision = \"approve\"\nauthority = \"cau\"": Approve,
		`decision = "refuse"`:                         Refuse,
	} {
		if v, _ := rules(t, "[[policy]]\n"+rule).Explain(c); v.Decision != want {
			t.Errorf("%s: %s", rule, v.Decision)
		}
	}
	if w := rules(t, "[[policy]]\ndecision = \"approve\"\nauthority = \"cau\"\nnames = \"cn:*\"").Warnings(Surroundings{Users: []string{"cau"}}); len(w) != 1 || !strings.Contains(fmt.Sprint(w), "users") {
		t.Errorf("warnings: %v", w)
	}
}

// shows is who shows a certificate with a subject and names.
func shows(subject string, names ...string) Asker {
	return Asker{FrontEnd: "caucase", Certificate: &Certificate{Authority: "factory", Serial: "0x9", Subject: subject, Names: names}}
}
