package hook

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cauase/pkg/pki"
	"cauase/pkg/policy"
	"cauase/pkg/testkit/pkitest"
)

// always is rules that decide the same of everything.
type always policy.Verdict

func (v always) Decide(context.Context, policy.Case) (policy.Verdict, error) {
	return policy.Verdict(v), nil
}

func caseOf(t *testing.T) (policy.Case, *pki.Request) {
	t.Helper()
	req := pkitest.HostRequest(t, "a.example")
	return policy.Case{
		Authority: "cas", Profile: "server", Names: policy.NamesOf(req.CSR.RawSubject, req.CSR.Extensions), Key: "ecdsa-p256",
		Validity: time.Hour, Time: time.Date(2031, 5, 1, 12, 0, 0, 0, time.UTC),
		Asker: policy.Asker{Address: "192.0.2.1", FrontEnd: "signing", Client: "abc"}, Digest: req.Digest, KeyID: req.KeyID, PEM: req.PEM,
	}, req
}

// TestTheStrictestCounts: rules × what hooks answer, or do not.
func TestTheStrictestCounts(t *testing.T) {
	log, _ := logged()
	c, _ := caseOf(t)
	hooks := map[string]*Program{}
	for name, text := range map[string]string{
		"allow": `echo '{"decision":"allow"}'`, "hold": `echo '{"decision":"hold","reason":"look"}'`, "refuse": `echo '{"decision":"refuse","reason":"no\u001b[2J"}'`,
		"fails": "exit 1", "garbage": "echo nonsense", "nothing": "true", "array": "echo []", "null": "echo null", "empty": "echo '{}'",
		"other": `echo '{"decision":"approve"}'`, "case": `echo '{"Decision":"allow"}'`, "unknown": `echo '{"decision":"allow","x":1}'`,
		"twice": `echo '{"decision":"refuse","decision":"allow"}'`, "two": `echo '{"decision":"allow"}{"decision":"allow"}'`,
		"number": `echo '{"decision":1}'`, "cut": `printf '{"decision":"allow"'`, "utf8": `printf '{"decision":"allow","reason":"\377"}'`, "killed": "kill -9 $$",
	} {
		hooks[name] = NewProgram(Authorize, script(t, text), time.Minute, log)
	}
	hooks["missing"] = NewProgram(Authorize, filepath.Join(t.TempDir(), "none"), 0, log)
	writable := script(t, `echo '{"decision":"allow"}'`)
	if err := os.Chmod(writable, 0o777); err != nil {
		t.Fatal(err)
	}
	hooks["writable"] = NewProgram(Authorize, writable, 0, log)
	decide := func(rules policy.Decision, names ...string) policy.Verdict {
		t.Helper()
		holder := NewHolder(policy.NewEngine(nil))
		set := &Set{}
		for _, name := range names {
			set.Authorize = append(set.Authorize, hooks[name])
		}
		holder.Replace(nil, set)
		p := &Policy{Rules: always{Decision: rules, Rule: "rule", Digest: []byte{1}}, Hooks: holder}
		v, err := p.Decide(t.Context(), c)
		if err != nil {
			t.Fatalf("%s %v: %v", rules, names, err)
		}
		return v
	}
	for _, test := range []struct {
		rules, want policy.Decision
		names       []string
	}{
		{policy.Approve, policy.Approve, nil},
		{policy.Approve, policy.Approve, []string{"allow"}}, {policy.Hold, policy.Hold, []string{"allow"}}, {policy.Refuse, policy.Refuse, []string{"allow"}},
		{policy.Approve, policy.Hold, []string{"hold"}}, {policy.Hold, policy.Hold, []string{"hold"}},
		{policy.Approve, policy.Refuse, []string{"refuse"}}, {policy.Hold, policy.Refuse, []string{"refuse"}},
		{policy.Approve, policy.Hold, []string{"allow", "hold", "allow"}}, {policy.Approve, policy.Refuse, []string{"hold", "refuse"}},
		{policy.Approve, policy.Refuse, []string{"allow", "fails"}},
	} {
		v := decide(test.rules, test.names...)
		if v.Decision != test.want {
			t.Errorf("rules %s, hooks %v: %s", test.rules, test.names, v.Decision)
		}
		byHook := v.Decision != test.rules
		if strings.HasPrefix(v.Rule, "authorize hook /") != byHook || byHook && v.Digest != nil {
			t.Errorf("rules %s, hooks %v: decided by %q", test.rules, test.names, v.Rule)
		}
	}
	if v := decide(policy.Approve, "refuse"); v.Reason != `no\x1b[2J` {
		t.Errorf("reason %q", v.Reason)
	}
	for name := range hooks {
		switch name {
		case "allow", "hold", "refuse":
			continue
		}
		for _, rules := range []policy.Decision{policy.Approve, policy.Hold} {
			v := decide(rules, name)
			if v.Decision != policy.Refuse || v.Reason == "" || strings.Contains(v.Reason, "/") || !strings.HasPrefix(v.Rule, "authorize hook /") {
				t.Errorf("a hook that is %s: %+v", name, v)
			}
		}
	}
}

// TestWhatAnAuthorizeHookIsTold: the members that docs/hooks.md lists, with digests that others compute, too.
func TestWhatAnAuthorizeHookIsTold(t *testing.T) {
	log, _ := logged()
	c, req := caseOf(t)
	to := filepath.Join(t.TempDir(), "input")
	holder := NewHolder(policy.NewEngine(nil))
	holder.Replace(nil, &Set{Authorize: []*Program{NewProgram(Authorize, script(t, "cat > "+to+`; echo '{"decision":"allow"}'`), 0, log)}})
	p := &Policy{Rules: always{Decision: policy.Approve, Rule: "web"}, Hooks: holder}
	v, err := p.Decide(t.Context(), c)
	if err != nil || v.Decision != policy.Approve || v.Rule != "web" || v.Current == nil || !v.Current() {
		t.Fatalf("%+v %v", v, err)
	}
	holder.Replace(nil, &Set{})
	if v.Current() {
		t.Error("what other hooks have decided still counts")
	}
	text, err := os.ReadFile(to)
	if err != nil {
		t.Fatal(err)
	}
	var told map[string]any
	if err := json.Unmarshal(text, &told); err != nil {
		t.Fatal(err)
	}
	spki, err := x509.MarshalPKIXPublicKey(req.CSR.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(spki)
	key, _ := told["key"].(map[string]any)
	if key["sha256"] != hex.EncodeToString(sum[:]) || len(key["sha1"].(string)) != 40 || key["type"] != "ecdsa-p256" {
		t.Errorf("key %v", key)
	}
	asked, _ := told["request"].(map[string]any)
	if asked["pem"] != string(req.PEM) || asked["digest"] != "sha256:"+hex.EncodeToString(req.Digest[:]) {
		t.Errorf("request %v", asked)
	}
	for member, want := range map[string]any{"version": 1.0, "hook": "authorize", "authority": "cas", "profile": "server", "address": "192.0.2.1",
		"client": "abc", "validity_seconds": 3600.0, "time": "2031-05-01T12:00:00Z"} {
		if told[member] != want {
			t.Errorf("%s: %v", member, told[member])
		}
	}
	if got := told["policy"].(map[string]any); got["decision"] != "approve" || got["rule"] != "web" {
		t.Errorf("policy %v", got)
	}
}

func FuzzAnswers(f *testing.F) {
	for _, text := range []string{`{"decision":"allow"}`, `{"decision":"refuse","reason":"x"}`, `{}`, `[]`, ``, `{"names":["DNS:a.example"],"validity":"3d"}`,
		`{"subject":"CN=x","extensions":[{"oid":"2.5.29.37","critical":true,"value":"MAoGCCsGAQUFBwMB"}]}`, `{"names":[]}`, "\xff", `{"names":["IP:::1"]}`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var decided AuthorizeAnswer
		if unmarshal(text, &decided) == nil {
			if shown := reasonOf(decided.Reason); len(shown) > maxReason+10 || pki.EscapeText(shown) != shown {
				t.Errorf("reason %q", shown)
			}
			if d, err := decided.decision(); err == nil && d.Stricter(policy.Refuse) {
				t.Errorf("decision %q", d)
			}
		}
		var changed PresignAnswer
		if unmarshal(text, &changed) != nil {
			return
		}
		if a, err := changed.amendment(); err == nil {
			extensions, err := a.Amend(nil)
			if err != nil {
				t.Errorf("%s: %v", text, err)
			}
			if len(a.Names) > 0 && len(pki.SANStrings(extensions)) != len(a.Names) {
				t.Errorf("%s: %v", text, pki.SANStrings(extensions))
			}
		}
	})
}

// meanwhile is a Decider during whose decision something happens.
type meanwhile struct {
	Decider
	happens func()
}

func (m meanwhile) Decide(ctx context.Context, c policy.Case) (policy.Verdict, error) {
	v, err := m.Decider.Decide(ctx, c)
	m.happens()
	return v, err
}

// TestReplacedInOneStep: rules that approve, beside a hook that refuses, are replaced by rules that refuse, beside no hook, in the moment between
// the two questions. The rules of before and the hooks of now would approve: what was decided does not count.
func TestReplacedInOneStep(t *testing.T) {
	compile := func(decision string) *policy.Set {
		s, err := policy.Compile([]policy.Config{{Name: "web", Names: "*.web.example", Decision: decision}})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	rules := policy.NewEngine(compile("approve"))
	holder := NewHolder(rules)
	log, _ := logged()
	holder.Replace(rules.Set(), &Set{Authorize: []*Program{NewProgram(Authorize, script(t, "exit 1"), 0, log)}})
	c := policy.Case{Names: []policy.Name{{Kind: policy.KindDNS, Value: "a.web.example"}}}
	p := &Policy{Rules: meanwhile{rules, func() { holder.Replace(compile("refuse"), &Set{}) }}, Hooks: holder}
	v, err := p.Decide(t.Context(), c)
	if err != nil || v.Current() {
		t.Errorf("%s counts, %v", v.Decision, err)
	}
	if v, err = p.Rules.Decide(t.Context(), c); err != nil || v.Decision != policy.Refuse {
		t.Errorf("decided anew: %s, %v", v.Decision, err)
	}
	// What was decided by rules that stay is out of date, too, once there is a hook.
	rules.Replace(compile("approve"))
	p.Rules = rules
	if v, err = p.Decide(t.Context(), c); err != nil || v.Decision != policy.Approve || !v.Current() {
		t.Fatalf("%s, %v", v.Decision, err)
	}
	if holder.Replace(rules.Set(), &Set{}); v.Current() {
		t.Error("what was decided before there was the hook counts")
	}
}
