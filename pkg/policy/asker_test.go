package policy

import (
	"reflect"
	"testing"
)

func TestAskerText(t *testing.T) {
	for name, want := range map[string]Asker{
		"of whom nothing is known": {},
		"stranger":                 {Address: "192.0.2.7", FrontEnd: "caucase"},
		"everything": {Address: "2001:db8::7", FrontEnd: "signing", Client: "abc", Invitation: "0f", Reverse: []string{"a.example"},
			Certificate: &Certificate{Authority: "factory", Serial: "0x1234", Subject: "CN=unit 7", Names: []string{"DNS:a.example"}, Lineage: "17"},
			SSH:         &SSHHost{Fingerprint: "SHA256:abc", Names: []string{"a.example"}, CA: "SHA256:def"}},
	} {
		t.Run(name, func(t *testing.T) {
			text, err := want.Text()
			if err != nil {
				t.Fatal(err)
			}
			if got, err := ParseAsker(text); err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("%s: %+v, %v", text, got, err)
			}
		})
	}
	if a, err := ParseAsker(""); err != nil || !reflect.DeepEqual(a, Asker{}) {
		t.Errorf("empty: %+v, %v", a, err)
	}
	if _, err := ParseAsker("{"); err == nil {
		t.Error("half an object was read")
	}
}
