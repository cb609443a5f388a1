package audit

import (
	"math/big"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestActorsAreReadAsTheyWereWritten(t *testing.T) {
	serial, _ := new(big.Int).SetString("725041827894627619577609272480343529282435284993", 10)
	for text, want := range map[string]Actor{
		"":                      {},
		"daemon":                {Kind: Daemon},
		"anonymous 192.0.2.1":   {Kind: Anonymous, Address: "192.0.2.1"},
		"anonymous 2001:db8::1": {Kind: Anonymous, Address: "2001:db8::1"},
		"user serial=1 key=02":  {Kind: User, Serial: big.NewInt(1), KeyID: []byte{2}},
		"holder serial=7 key=":  {Kind: Holder, Serial: big.NewInt(7)},
		"user serial=01 key=02": {Kind: "user serial=01 key=02"},
		"user serial=1 key=0A":  {Kind: "user serial=1 key=0A"},
		"user serial=x key=02":  {Kind: "user serial=x key=02"},
		"holder serial=" + serial.String() + " key=00ff": {Kind: Holder, Serial: serial, KeyID: []byte{0, 0xff}},
	} {
		got := ParseActor(text)
		if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b *big.Int) bool { return a.Cmp(b) == 0 }), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%q: %s", text, diff)
		}
		if got.String() != text {
			t.Errorf("%q came back as %q", text, got)
		}
	}
}

func TestObjectsAreReadAsTheyWereWritten(t *testing.T) {
	for text, want := range map[string]Object{
		"":                   {},
		"csr 123":            RequestObject(123),
		"crt 123 serial=456": CertificateObject(123, big.NewInt(456)),
		"crt serial=456":     SerialObject(big.NewInt(456)),
		"crt serial=0456":    {Kind: "crt serial=0456"},
		"ca 00ff":            CAObject([]byte{0, 0xff}),
		"crl 7":              CRLObject(7),
		"crl 7 of ca 00ff":   {Kind: KindCRL, ID: "7 of ca 00ff"},
		"next ca":            {Kind: "next", ID: "ca"},
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
func FuzzTexts(f *testing.F) {
	for _, seed := range []string{"", " ", "user serial=1 key=02", "crt 1 serial=2", "crt serial=", "a b c", "user serial=-1 key="} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if got := ParseActor(text).String(); got != text {
			t.Errorf("actor %q came back as %q", text, got)
		}
		if got := ParseObject(text).String(); got != text {
			t.Errorf("object %q came back as %q", text, got)
		}
	})
}
