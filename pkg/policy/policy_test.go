package policy

import (
	"bytes"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pelletier/go-toml/v2"
)

// TestShadows: a rule that can never match, or comes too late, is named with the one before it.
func TestShadows(t *testing.T) {
	rule := func(lines ...string) string { return "[[policy]]\n" + strings.Join(lines, "\n") + "\n" }
	const approve, hold, refuse = `decision = "approve"`, `decision = "hold"`, `decision = "refuse"`
	for name, test := range map[string]struct {
		rules string
		want  string // of the warnings about the last rule; empty: there is none
	}{
		"the same":                        {rule(hold, `names = "a.example"`) + rule(refuse, `names = "a.example"`), "can never match"},
		"more general names":              {rule(approve, `names = "*.example"`) + rule(approve, `names = "a.example"`), "can never match"},
		"literal that has to be spelled":  {rule(approve, `names = "*.example"`) + rule(approve, `names = "ca.example"`), ""},
		"wildcard that has to be spelled": {rule(approve, `names = "*.example"`) + rule(approve, `names = "literal:*.example"`), ""},
		"refusal behind an approval":      {rule(approve, `names = "*.web.example"`) + rule(refuse, `names = "x.web.example"`), "comes too late"},
		"other names":                     {rule(approve, `names = "*.web.example"`) + rule(refuse, `names = "x.db.example"`), ""},
		"everything before":               {rule(hold) + rule(approve, `names = "a.example"`), "can never match"},
		"of one authority":                {rule(hold, `authority = "cas"`) + rule(refuse), ""},
		"of all authorities":              {rule(hold) + rule(refuse, `authority = "cas"`), "can never match"},
		"users are not everybody":         {rule(approve, `names = "cn:*"`) + rule(approve, `names = "cn:alice"`, `authority = "cau"`), "users"},
		"narrower network":                {rule(refuse, `from = "10.0.0.0/8"`) + rule(hold, `from = "10.1.0.0/16"`), "can never match"},
		"wider network":                   {rule(refuse, `from = "10.1.0.0/16"`) + rule(hold, `from = "10.0.0.0/8"`), ""},
		"narrower keys":                   {rule(refuse, `keys = "ecdsa"`) + rule(hold, `keys = "ecdsa-p384"`), "can never match"},
		"asked for in another way":        {rule(refuse, `front_end = "acme"`) + rule(hold, `front_end = "caucase"`), ""},
		"with a proof":                    {rule(refuse, "ssh = true") + rule(hold), ""},
		"networks of names":               {rule(refuse, `names = "10.0.0.0/8"`) + rule(hold, `names = "10.1.0.0/16"`), "can never match"},
		"authority that there is not":     {rule(hold, `authority = "nope"`), `there is no authority "nope": the rule can never match`},
		"one of two":                      {rule(hold, `authority = ["nope", "cas"]`), `there is no authority "nope"`},
		"profile that there is not":       {rule(hold, `profile = "nope"`), `there is no profile "nope": the rule can never match`},
		"certificates of nobody":          {rule(hold, `certificate = "nope"`), `there is no authority "nope" whose`},
		"certificates of elsewhere":       {rule(hold, `certificate = "factory"`), ""},
		"single labels":                   {rule(approve, `names = "*"`), "dns:* can never match"},
		"public suffixes":                 {rule(approve, `names = "*.ck"`), "dns:*.ck can never match"},
		"any name":                        {rule(approve), "not limited"},
		"what a client says of itself":    {rule(approve, `names = "*.example"`, `front_end = "signing"`, `client = "x"`), "no proof"},
	} {
		s := rules(t, test.rules)
		last := s.Len() - 1
		var got []string
		for _, w := range s.Warnings(Surroundings{Authorities: []string{"cas", "cau"}, Issuers: []string{"factory"}, Users: []string{"cau"}, Profiles: []string{"server"}, Daemon: []string{"ca.example"}}) {
			if w.Index == last {
				got = append(got, w.String())
			}
		}
		if text := strings.Join(got, "; "); test.want == "" && text != "" || !strings.Contains(text, test.want) {
			t.Errorf("%s: %q, want %q", name, text, test.want)
		}
	}
}

// A rule said to be shadowed decides about nothing, whatever is asked for.
func TestShadowedRulesNeverDecide(t *testing.T) {
	conditions := []string{"", `from = "10.0.0.0/8"`, `from = "10.1.0.0/16"`, `keys = "ecdsa"`, `keys = ["ecdsa-p256", "rsa"]`, "ssh = true", `authority = "cas"`}
	names := []string{"", `names = "*.web.example"`, `names = "a.web.example"`, `names = ["*.web.example", "*.db.example"]`, `names = "literal:*.web.example"`, `names = ["a.web.example", "10.0.0.0/8"]`}
	var all []string
	for _, c := range conditions {
		for _, n := range names {
			for _, d := range []string{"approve", "hold", "refuse"} {
				all = append(all, fmt.Sprintf("[[policy]]\ndecision = %q\n%s\n%s\n", d, c, n))
			}
		}
	}
	var cases []Case
	for _, who := range []Asker{near, far, sshd} {
		for _, asked := range [][]string{nil, {"DNS:a.web.example"}, {"DNS:b.web.example"}, {"DNS:*.web.example"}, {"DNS:a.web.example", "DNS:x.example"}, {"DNS:ca.web.example"}, {"IP:10.0.0.1"}, {"DNS:a.db.example", "DNS:a.web.example"}} {
			for _, key := range []string{"ecdsa-p256", "ecdsa-p384", "rsa-2048"} {
				cases = append(cases, Case{Authority: "cas", Names: named(asked...), Key: key, Asker: who, Daemon: []string{"ca.web.example"}},
					Case{Authority: "cau", Users: true, Names: named(asked...), Key: key, Asker: who, Daemon: []string{"ca.web.example"}})
			}
		}
	}
	in := Surroundings{Users: []string{"cau"}, Daemon: []string{"ca.web.example"}}
	shadowed := 0
	for _, first := range all {
		for _, second := range all {
			s := rules(t, first+second)
			if s.shadowOf(1, in, false) == nil {
				continue
			}
			shadowed++
			for _, c := range cases {
				if v := s.Judge(c); v.Rule == "policy-2" {
					t.Fatalf("%s%sdecides about %v, %s, %+v", first, second, c.Names, c.Key, c.Asker)
				}
			}
		}
	}
	if shadowed < 100 {
		t.Errorf("only %d are shadowed: that proves little", shadowed)
	}
}

// The digest is that of what a rule means, not of how it is written.
func TestDigests(t *testing.T) {
	digest := func(text string) []byte {
		return rules(t, "[[policy]]\nname = \"x\"\ndecision = \"approve\"\n"+text).rules[0].digest
	}
	for same, other := range map[string]string{
		`names = ["a.example", "*.B.example"]`: `names = ["dns:*.b.example", "a.EXAMPLE"]`,
		`from = ["10.0.0.0/8", "::1"]`:         `from = ["::1/128", "10.0.0.0/8"]`,
		`keys = ["rsa", "ecdsa"]`:              `keys = ["ecdsa", "rsa"]`,
		`max_validity = "36h"`:                 `max_validity = "1.5d"`,
		`rate = "10/h"`:                        `rate = "10/60m"`,
		`authority = "cas"`:                    `authority = ["cas"]`,
	} {
		if !bytes.Equal(digest(same), digest(other)) {
			t.Errorf("%s and %s have different digests", same, other)
		}
	}
	seen := map[string]string{}
	for _, text := range []string{"", `names = "a.example"`, `names = "*.example"`, `names = "literal:*.example"`, `names = "cn:a.example"`, `from = "10.0.0.0/8"`, `rate = "1/h"`, `asker_rate = "1/h"`, "ssh = true",
		"invitation = true", `certificate = "a"`, `authority = "a"`, `profile = "a"`, `keys = "rsa"`, `max_validity = "1d"`} {
		sum := string(digest(text))
		if before, twice := seen[sum]; twice {
			t.Errorf("%q and %q have one digest", text, before)
		}
		seen[sum] = text
	}
}

// A rule approves as often as it says, for all and for each asker, in any span of time; what exceeds that is held. What rules that stay have
// approved goes on counting when others are replaced.
func TestRates(t *testing.T) {
	text := "[[policy]]\nnames = \"*.web.example\"\ndecision = \"approve\"\nrate = \"5/h\"\nasker_rate = \"2/h\"\n"
	e := NewEngine(rules(t, text))
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	ask := func(address string) Decision {
		v, err := e.Decide(t.Context(), Case{Names: named("DNS:a.web.example"), Time: now, Asker: Asker{Address: address}})
		if err != nil || v.Decision == Hold && (v.Reason == "" || v.Rule != "policy-1") {
			t.Errorf("%+v %v", v, err)
		}
		return v.Decision
	}
	step := func(address string, want Decision) {
		t.Helper()
		if got := ask(address); got != want {
			t.Errorf("%s at %s: %s, want %s", address, now.Format(time.TimeOnly), got, want)
		}
	}
	step("192.0.2.1", Approve)
	step("192.0.2.1", Approve)
	step("::ffff:192.0.2.1", Hold)
	step("2001:db8::1", Approve)
	step("2001:db8::2", Approve)
	step("2001:db8::3", Hold) // of one network
	now = now.Add(30 * time.Minute)
	step("192.0.2.2", Approve)
	step("192.0.2.3", Hold)
	e.Replace(rules(t, text+"[[policy]]\ndecision = \"refuse\"\n"))
	step("192.0.2.3", Hold)
	now = now.Add(-time.Hour) // a clock that is set back gives nothing
	step("192.0.2.3", Approve)
	now = now.Add(2 * time.Hour)
	for range 2 {
		step("192.0.2.1", Approve)
	}
	step("192.0.2.1", Hold)
	if v := e.Set().Judge(Case{Names: named("DNS:a.web.example"), Time: now, Asker: Asker{Address: "192.0.2.1"}}); v.Decision != Approve {
		t.Error("a look counts")
	}
}

// What was decided by rules that have been replaced is not current.
func TestVerdictsOfReplacedRules(t *testing.T) {
	e := NewEngine(nil)
	v, err := e.Decide(t.Context(), Case{})
	if err != nil || v.Decision != Hold || !v.Current() {
		t.Errorf("%+v %v", v, err)
	}
	e.Replace(nil)
	if v.Current() {
		t.Error("current")
	}
}

// All that a certificate would say of its holder is a name, each once.
func TestNamesOf(t *testing.T) {
	san := func(names ...asn1.RawValue) pkix.Extension {
		der, err := asn1.Marshal(names)
		if err != nil {
			t.Fatal(err)
		}
		return pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Value: der}
	}
	name := func(tag int, value string) asn1.RawValue {
		return asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: tag, Bytes: []byte(value)}
	}
	type attr struct {
		ID    asn1.ObjectIdentifier
		Value string `asn1:"utf8"`
	}
	type rdnSET []attr
	cn, o, ou, uid, mail := asn1.ObjectIdentifier{2, 5, 4, 3}, asn1.ObjectIdentifier{2, 5, 4, 10}, asn1.ObjectIdentifier{2, 5, 4, 11},
		asn1.ObjectIdentifier{0, 9, 2342, 19200300, 100, 1, 1}, asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 1}
	for want, subject := range map[string][]rdnSET{
		"DNS:a.web.example":                           {{{cn, "A.web.example"}}},
		"DNS:a.web.example CN:evil.example":           {{{cn, "a.web.example"}}, {{cn, "evil.example"}}},
		"DNS:a.web.example subject:OU=admins":         {{{cn, "a.web.example"}, {ou, "admins"}}},
		"DNS:a.web.example email:root@x.example":      {{{mail, "root@x.example"}}},
		"DNS:a.web.example CN:\u212a.web.example":     {{{cn, "\u212a.web.example"}}},
		"DNS:a.web.example subject:UID=7 subject:O=x": {{{uid, "7"}}, {{o, "x"}}},
	} {
		der, err := asn1.Marshal(subject)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, n := range NamesOf(der, []pkix.Extension{san(name(2, "a.web.example"))}) {
			got = append(got, n.Kind+":"+n.Value)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if got := NamesOf([]byte{0x30, 0}, []pkix.Extension{san(name(0, "x"), name(8, "\x2a"))}); len(got) != 2 || got[0].Kind == KindDNS {
		t.Errorf("other kinds: %v", got)
	}
	if got := NamesOf([]byte{1}, nil); len(got) != 1 {
		t.Errorf("what cannot be read names nobody: %v", got)
	}
}

// TestCommonName: of a subject that is on record as text the common name is found, where there is no doubt about it.
func TestCommonName(t *testing.T) {
	for subject, want := range map[string]string{
		"CN=a.example": "a.example", "O=x,CN=a": "a", "CN=a+OU=b,UID=7": "a", `CN=a\,CN\=b,O=c`: "a,CN=b", `O=x\,CN=evil`: "", "CN=a,CN=b": "", `CN=a\x00`: "", "CN=#0401": "",
		"": "", "(unreadable name)": "", `CN=\`: "", `CN=\ a\ `: " a ", "1.2.3=x,CN=a": "a",
	} {
		if got := commonName(subject); got != want {
			t.Errorf("%s: %q", subject, got)
		}
	}
}

// FuzzRules: whatever stands in a file is rules or an error that names one, and rules decide about anything without failing. What one pattern
// alone approves it does not when it is not there.
func FuzzRules(f *testing.F) {
	for _, seed := range []string{"*.web.example", "literal:*.example", "10.0.0.0/8", "*@example.org", "https://*.example/*", "urn:a:*", "cn:a*b*c", "subject:O=*", "{identity.name}", "www.{request.address.ptr}", "\u212a.example", "xn--", "a..b", "ip:::ffff:1.2.3.4", "uri:x:", "o:", "*"} {
		f.Add(seed, "DNS:a.web.example", "any")
		f.Add(seed, "CN:a.example", "all")
	}
	f.Fuzz(func(t *testing.T, pattern, name, match string) {
		if len(name) > 500 {
			return // requests have no such names
		}
		c := Config{Names: pattern, Decision: "approve", Certificate: "x", Rate: "1/h"}
		kind, value, _ := strings.Cut(name, ":")
		asked := Case{Names: []Name{{kind, value}}, Daemon: []string{"ca.example"}, Asker: Asker{Reverse: []string{value}, Certificate: &Certificate{Authority: "x", Subject: value, Names: []string{name}}}}
		if s, err := Compile([]Config{c}); err == nil {
			v, steps := s.Explain(asked)
			if len(steps) != 1 || s.Judge(asked).Decision != v.Decision {
				t.Errorf("%+v %v", v, steps)
			}
			p := s.rules[0].names[0]
			if v.Decision == Approve && !p.literal && strings.Contains(value, "*") {
				t.Errorf("%q approves %q", pattern, name)
			}
			// Its canonical form means the same.
			again, err := Compile([]Config{{Names: p.shown, Decision: "approve", Certificate: "x", Rate: "1/h"}})
			if err != nil {
				t.Fatalf("%q became %q: %v", pattern, p.shown, err)
			}
			if again.Judge(asked).Decision != v.Decision || !bytes.Equal(again.rules[0].digest, s.rules[0].digest) {
				t.Errorf("%q became %q, which is something else", pattern, p.shown)
			}
			s.Warnings(Surroundings{})
		}
		c = Config{Names: []any{pattern, "x.example"}, Decision: "refuse", Match: match, Client: pattern, FrontEnd: "acme", From: value}
		if s, err := Compile([]Config{c, c}); err == nil {
			s.Explain(asked)
			s.Warnings(Surroundings{})
		}
		var file struct {
			Policy []Config `toml:"policy"`
		}
		if toml.Unmarshal([]byte(pattern), &file) == nil {
			_, _ = Compile(file.Policy)
		}
	})
}
