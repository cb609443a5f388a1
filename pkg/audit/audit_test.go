package audit

import (
	stdcmp "cmp"
	"math/big"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestActorsAreReadAsTheyWereWritten(t *testing.T) {
	serial, _ := new(big.Int).SetString("725041827894627619577609272480343529282435284993", 10)
	for _, test := range []struct {
		text, address string
		want          Actor
		shown         string // empty: as it was
	}{
		{"", "", Actor{}, ""},
		{"daemon", "", Actor{Kind: Daemon}, ""},
		{"anonymous 192.0.2.1", "192.0.2.1", Actor{Kind: Anonymous}, ""},
		{"anonymous 2001:db8::1", "2001:db8::1", Actor{Kind: Anonymous}, ""},
		{"user serial=0x1f key=02", "192.0.2.1", Actor{Kind: User, Serial: big.NewInt(31), KeyID: []byte{2}}, ""},
		{"user serial=31 key=02", "192.0.2.1", Actor{Kind: User, Serial: big.NewInt(31), KeyID: []byte{2}}, "user serial=0x1f key=02"},
		{"holder serial=7 key=", "", Actor{Kind: Holder, Serial: big.NewInt(7)}, "holder serial=0x7 key="},
		{"holder serial=" + serial.String() + " key=00ff", "", Actor{Kind: Holder, Serial: serial, KeyID: []byte{0, 0xff}}, "holder serial=0x" + serial.Text(16) + " key=00ff"},
		{"user serial=0x01 key=02", "", Actor{Kind: "user serial=0x01 key=02"}, ""},
		{"user serial=0xA key=02", "", Actor{Kind: "user serial=0xA key=02"}, ""},
		{"user serial=01 key=02", "", Actor{Kind: "user serial=01 key=02"}, ""},
		{"user serial=1 key=0A", "", Actor{Kind: "user serial=1 key=0A"}, ""},
		{"user serial=x key=02", "", Actor{Kind: "user serial=x key=02"}, ""},
		{"somebody else", "", Actor{Kind: "somebody else"}, ""},
		{"anonymous 192.0.2.1", "192.0.2.2", Actor{Kind: "anonymous 192.0.2.1"}, "anonymous 192.0.2.1 192.0.2.2"},
		{"user serial=x key=02", "192.0.2.1", Actor{Kind: "user serial=x key=02"}, "user serial=x key=02 192.0.2.1"},
	} {
		test.want.Address = test.address
		got := ParseActor(test.text, test.address)
		if diff := cmp.Diff(test.want, got, cmp.Comparer(func(a, b *big.Int) bool { return a.Cmp(b) == 0 }), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%q at %q: %s", test.text, test.address, diff)
		}
		if want := stdcmp.Or(test.shown, test.text); got.String() != want {
			t.Errorf("%q came back as %q", test.text, got)
		}
	}
}

func TestObjectsAreReadAsTheyWereWritten(t *testing.T) {
	for text, want := range map[string]Object{
		"":                     {},
		"csr 123":              RequestObject(123),
		"crt 123 serial=0x1c8": CertificateObject(123, big.NewInt(456)),
		"crt serial=0x1c8":     SerialObject(big.NewInt(456)),
		"crt serial=0456":      {Kind: "crt serial=0456"},
		"ca 00ff":              CAObject([]byte{0, 0xff}),
		"crl 7":                CRLObject(7),
		"crl 7 of ca 00ff":     {Kind: KindCRL, ID: "7 of ca 00ff"},
		"next ca":              {Kind: "next", ID: "ca"},
	} {
		got := ParseObject(text)
		if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b *big.Int) bool { return a.Cmp(b) == 0 })); diff != "" {
			t.Errorf("%q: %s", text, diff)
		}
		if got.String() != text {
			t.Errorf("%q came back as %q", text, got)
		}
	}
}

// FuzzTexts: whatever an old log or a backup holds is shown as it was.
// Earlier versions have written decimal digits.
func TestObjectsOfEarlierVersions(t *testing.T) {
	for text, want := range map[string]string{"crt 123 serial=456": "crt 123 serial=0x1c8", "crt serial=456": "crt serial=0x1c8"} {
		if got := ParseObject(text); got.Kind != KindCertificate || got.Serial == nil || got.String() != want {
			t.Errorf("%q came back as %q", text, got)
		}
	}
}

func FuzzTexts(f *testing.F) {
	for _, seed := range []string{"", " ", "user serial=1 key=02", "crt 1 serial=2", "crt serial=", "a b c", "user serial=-1 key="} {
		f.Add(seed, "")
		f.Add(seed, "192.0.2.1")
	}
	f.Fuzz(func(t *testing.T, text, address string) {
		actor := ParseActor(text, address)
		if got := actor.String(); got != text && got != text+" "+address && (actor.Serial == nil || got != actor.with(serialText(actor.Serial)) || actor.with(actor.Serial.String()) != text) {
			t.Errorf("actor %q at %q came back as %q", text, address, got)
		}
		object := ParseObject(text)
		if got := object.String(); got != text && (object.Serial == nil || object.with(object.Serial.String()) != text) {
			t.Errorf("object %q came back as %q", text, got)
		}
	})
}
