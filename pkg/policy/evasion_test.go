package policy

import "testing"

// TestRefusalsAreNotEvaded by another way to write what a verifier would take for the same. What approves does not take those for it.
func TestRefusalsAreNotEvaded(t *testing.T) {
	names := []any{"*.bank.example", "root@bank.example", "*@pay.example", "https://bank.example/*", "https://*.bank.example", "https://x.example/only", "urn:dev:*", "10.0.0.0/8"}
	compiled := func(decision string) *Set {
		s, err := Compile([]Config{{Names: names, Decision: decision}})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	refusing, approving := compiled("refuse"), compiled("approve")
	for _, asked := range []Name{
		{KindCN, "w*.bank.example"}, {KindCN, "*w.bank.example"}, {KindCN, "w*w.bank.example"}, {KindCN, "W*.Bank.example."}, {KindCN, "-w.bank.example"},
		{KindCN, " 10.1.2.3"}, {KindCN, "[::ffff:10.1.2.3]"},
		{KindEmail, "ROOT@bank.example"}, {KindEmail, "root@bank.example."}, {KindEmail, " root@bank.example"}, {KindEmail, "a@pay.example "},
		{KindEmail, "Root <root@bank.example>"}, {KindCN, "<a@PAY.example>"}, {KindCN, "Root@bank.example"}, {KindEmail, "a@pay\u3002example"},
		{KindURI, "https://bank.example:443/x"}, {KindURI, "https://bank.example/x?y"}, {KindURI, "https://bank.example/x#y"}, {KindURI, "https://bank.example/%78"},
		{KindURI, "https://bank.example//x"}, {KindURI, "https://bank.example/./x"}, {KindURI, "https://bank.example/y/../x/"}, {KindURI, `https:\\bank.example\x`},
		{KindURI, "https://w.bank.example/"}, {KindURI, "https://w.bank.example?x"}, {KindURI, "HTTPS://X.example:443/%6fnly?x"}, {KindURI, "urn:dev:%37"}, {KindURI, "urn:dev:7?x"},
	} {
		if v := refusing.Judge(Case{Names: []Name{asked, {KindDNS, "harmless.example"}}}); v.Decision != Refuse {
			t.Errorf("%s is not refused", asked)
		}
		if v := approving.Judge(Case{Names: []Name{asked}}); v.Decision != Hold {
			t.Errorf("%s: %s", asked, v.Decision)
		}
	}
	for _, two := range []string{"ceo@bank.example a@pay.example", "CEO <ceo@bank.example>, a@pay.example", "\"ceo@bank.example\"@pay.example"} {
		for _, kind := range []string{KindEmail, KindCN} {
			if v := approving.Judge(Case{Names: []Name{{kind, two}}}); v.Decision != Hold {
				t.Errorf("%s %q: %s", kind, two, v.Decision)
			}
		}
	}
	for _, other := range []Name{
		{KindCN, "w*.other.example"}, {KindCN, "w*.a.bank.example"}, {KindCN, "11.0.0.1 "}, {KindEmail, "rooted@bank.example"}, {KindEmail, "root@bank.example <a@other.example>"},
		{KindURI, "https://bank.example:8443/x"}, {KindURI, "http://bank.example/x"}, {KindURI, "https://bank.example/x/y"}, {KindURI, "https://x.example/other"}, {KindURI, "urn:dev:7:8"},
	} {
		if v := refusing.Judge(Case{Names: []Name{other}}); v.Decision != Hold {
			t.Errorf("%s: %s", other, v.Decision)
		}
	}
}

// TestAWildcardOverlapsWhatItCouldBe: of a spelled host, too.
func TestAWildcardOverlapsWhatItCouldBe(t *testing.T) {
	s, err := Compile([]Config{{Names: "pay.bank.example", Decision: "refuse"}})
	if err != nil {
		t.Fatal(err)
	}
	for cn, want := range map[string]Decision{
		"p*.bank.example": Refuse, "*y.bank.example": Refuse, "p*y.bank.example": Refuse, "pay*.bank.example": Refuse, "*.bank.example": Refuse,
		"x*.bank.example": Hold, "pa*ay.bank.example": Hold, "payx*.bank.example": Hold,
	} {
		if v := s.Judge(Case{Names: []Name{{KindCN, cn}}}); v.Decision != want {
			t.Errorf("%s: %s", cn, v.Decision)
		}
	}
}
