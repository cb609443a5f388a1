package invite

import (
	"crypto"
	"encoding/base64"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"

	"cauase/pkg/envelope"
	"cauase/pkg/pki"
	"cauase/pkg/testkit/pkitest"
)

var made = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

func names(t testing.TB, texts ...string) Names {
	t.Helper()
	n, err := ParseNames(texts)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func sample(t testing.TB) Invitation {
	return Invitation{
		Authority: "cas", Names: names(t, "dns:*.web.example", "cn:*.web.example"), Profile: "server", Uses: 50,
		Made: made, Until: made.Add(time.Hour), By: big.NewInt(12345),
		CAs: map[string][]Fingerprint{"cas": {{1}, {2}}, "cau": {{3}}},
	}
}

func sign(t testing.TB, key crypto.Signer, i Invitation) *Signed {
	t.Helper()
	payload, err := i.Payload()
	if err != nil {
		t.Fatal(err)
	}
	s, err := Sign(key, payload)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestInvitationsAreReadAsTheyWereSigned(t *testing.T) {
	for _, keyType := range []pki.KeyType{pki.KeyECDSAP256, pki.KeyEd25519, "rsa-2048"} {
		t.Run(string(keyType), func(t *testing.T) {
			key := pkitest.KeyOf(t, keyType)
			want := sample(t)
			s := sign(t, key, want)
			if strings.ContainsAny(s.Text(), " \n+/=") {
				t.Errorf("not one word: %s", s.Text())
			}
			got, err := Parse("  " + s.Text()[:40] + "\r\n " + s.Text()[40:] + "\n")
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got.Invitation, cmp.Comparer(func(a, b *big.Int) bool { return a.Cmp(b) == 0 }),
				cmp.Comparer(func(a, b Names) bool { return cmp.Equal(a.Strings(), b.Strings()) })); diff != "" {
				t.Error(diff)
			}
			if got.ID != s.ID || got.Text() != s.Text() {
				t.Errorf("id %s, want %s; text %q", got.ID, s.ID, got.Text())
			}
			if err := got.Verify(key.Public()); err != nil {
				t.Error(err)
			}
			if err := got.Verify(pkitest.KeyOf(t, keyType).Public()); !IsAltered(err) {
				t.Errorf("with another key: %v", err)
			}
			if again := sign(t, key, want); again.ID == s.ID {
				t.Error("two invitations have one id")
			}
			if id, err := ParseID(s.ID.String()); err != nil || id != s.ID {
				t.Errorf("id: %v %v", id, err)
			}
		})
	}
}

// A line of mail has at most 998 bytes (RFC 5322 2.1.1).
func TestInvitationsFitIntoALineOfMail(t *testing.T) {
	i := sample(t)
	i.By, _ = new(big.Int).SetString("725041827894627619577609272480343529282435284993", 10)
	i.By.Rsh(i.By, 1)
	if n := len(sign(t, pkitest.KeyOf(t, pki.KeyECDSAP256), i).Text()); n > 998 {
		t.Errorf("%d bytes", n)
	}
}

func TestNothingOfTheTextIsInErrors(t *testing.T) {
	text := sign(t, pkitest.KeyOf(t, pki.KeyECDSAP256), sample(t)).Text()
	for _, cut := range []int{len(Prefix) + 1, len(Prefix) + 2, 60, len(text) / 2, len(text) - 1, len(text) - 2, len(text) - 4} {
		_, err := Parse(text[:cut])
		checkRefused(t, err)
		if tail := text[max(cut-12, len(Prefix)):cut]; len(tail) > 5 && strings.Contains(err.Error(), tail) {
			t.Errorf("%v quotes the text", err)
		}
	}
}

func checkRefused(t *testing.T, err error) {
	t.Helper()
	if err == nil {
		t.Fatal("accepted")
	}
	if !errors.Is(err, ErrInvalid) || !errors.Is(err, pki.ErrInvalid) {
		t.Fatalf("%T is not a refusal: %v", err, err)
	}
	if text := err.Error(); pki.EscapeText(text) != text || len(text) > 400 {
		t.Errorf("not fit to print: %q", text)
	}
}

func TestWhatIsNoInvitation(t *testing.T) {
	key := pkitest.KeyOf(t, pki.KeyECDSAP256)
	good := sign(t, key, sample(t)).Text()
	unsigned, err := envelope.Unsigned([]byte(`{}`))
	if err != nil {
		t.Fatal(err)
	}
	link, err := envelope.SignLink(key, []byte{0}, []byte{1})
	if err != nil {
		t.Fatal(err)
	}
	wrap := func(data []byte) string { return Prefix + base64.RawURLEncoding.EncodeToString(data) }
	for name, text := range map[string]string{
		"nothing":           "",
		"prefix":            Prefix,
		"no prefix":         strings.TrimPrefix(good, Prefix),
		"another version":   strings.Replace(good, "-1.", "-2.", 1),
		"padding":           good + "=",
		"something behind":  good + "AAAA",
		"twice":             good + good,
		"plus":              good[:50] + "+" + good[51:],
		"unsigned":          wrap(unsigned),
		"a link of a chain": wrap(link),
		"too long":          good + strings.Repeat(" ", MaxText),
		"NUL":               good + "\x00",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse(text)
			checkRefused(t, err)
		})
	}
}

func TestWhatNoInvitationMaySay(t *testing.T) {
	key := pkitest.KeyOf(t, pki.KeyECDSAP256)
	for name, change := range map[string]func(w map[string]any){
		"no authority":          func(w map[string]any) { w["invited_to"] = "" },
		"authority with slash":  func(w map[string]any) { w["invited_to"] = "cas/x" },
		"authority not text":    func(w map[string]any) { w["invited_to"] = 1 },
		"no names":              func(w map[string]any) { w["names"] = []string{} },
		"names null":            func(w map[string]any) { w["names"] = nil },
		"too many names":        func(w map[string]any) { w["names"] = slicesOf("cn:", maxNames+1) },
		"unknown kind of name":  func(w map[string]any) { w["names"] = []string{"san:x"} },
		"uses 0":                func(w map[string]any) { w["uses"] = 0 },
		"uses negative":         func(w map[string]any) { w["uses"] = -1 },
		"uses too many":         func(w map[string]any) { w["uses"] = MaxUses + 1 },
		"uses a fraction":       func(w map[string]any) { w["uses"] = 1.5 },
		"uses text":             func(w map[string]any) { w["uses"] = "1" },
		"over before it began":  func(w map[string]any) { w["until"] = made.Unix() },
		"too long":              func(w map[string]any) { w["until"] = made.Add(MaxTTL + time.Second).Unix() },
		"until never":           func(w map[string]any) { w["until"] = int64(1) << 62 },
		"times negative":        func(w map[string]any) { w["made"], w["until"] = -5, -1 },
		"nonce short":           func(w map[string]any) { w["nonce"] = "AAAA" },
		"no nonce":              func(w map[string]any) { delete(w, "nonce") },
		"inviter 0":             func(w map[string]any) { w["by"] = "0" },
		"inviter negative":      func(w map[string]any) { w["by"] = "-1" },
		"inviter hexadecimal":   func(w map[string]any) { w["by"] = "0x10" },
		"inviter too long":      func(w map[string]any) { w["by"] = strings.Repeat("9", 200) },
		"no fingerprints":       func(w map[string]any) { delete(w, "cas") },
		"none of the authority": func(w map[string]any) { w["cas"] = map[string]any{"cau": w["cas"].(map[string]any)["cau"]} },
		"an empty list of them": func(w map[string]any) { w["cas"].(map[string]any)["cau"] = []string{} },
		"a short one":           func(w map[string]any) { w["cas"].(map[string]any)["cas"] = []string{"AAAA"} },
		"too many of them": func(w map[string]any) {
			all := w["cas"].(map[string]any)
			all["cas"] = slicesRepeat(all["cau"].([]any)[0], MaxFingerprints+1)
		},
		"unknown member": func(w map[string]any) { w["ca"] = true },
	} {
		t.Run(name, func(t *testing.T) {
			payload, err := sample(t).Payload()
			if err != nil {
				t.Fatal(err)
			}
			var w map[string]any
			if err := json.Unmarshal(payload, &w); err != nil {
				t.Fatal(err)
			}
			change(w)
			if payload, err = json.Marshal(w); err != nil {
				t.Fatal(err)
			}
			_, err = Sign(key, payload)
			checkRefused(t, err)
		})
	}
}

func slicesOf(text string, n int) (list []string) {
	for i := range n {
		list = append(list, text+strings.Repeat("x", i+1))
	}
	return list
}

func slicesRepeat(v any, n int) (list []any) {
	for range n {
		list = append(list, v)
	}
	return list
}

func TestFilesMayHaveComments(t *testing.T) {
	s := sign(t, pkitest.KeyOf(t, pki.KeyECDSAP256), sample(t))
	got, err := Read([]byte("# for the first user\n#\n" + s.Text() + "\n"))
	if err != nil || got.ID != s.ID {
		t.Errorf("%v %v", got, err)
	}
	for _, content := range []string{"", "\n", "# nothing\n", "# " + s.Text()} {
		_, err := Read([]byte(content))
		checkRefused(t, err)
	}
}

func FuzzParse(f *testing.F) {
	key := pkitest.KeyOf(f, pki.KeyECDSAP256)
	other := pkitest.KeyOf(f, pki.KeyECDSAP256).Public()
	f.Add(sign(f, key, sample(f)).Text())
	f.Add(Prefix)
	f.Add(Prefix + "e30")
	// What is signed is what a hostile user chooses.
	payload, err := sample(f).Payload()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(payload))
	f.Add(strings.Replace(string(payload), "dns:*.web.example", "ip:10.0.0.0/8", 1))
	f.Fuzz(func(t *testing.T, text string) {
		for _, read := range []func() (*Signed, error){
			func() (*Signed, error) { return Parse(text) },
			func() (*Signed, error) { return Read([]byte(text)) },
			func() (*Signed, error) {
				signed, err := envelope.Sign(key, []byte(text))
				if err != nil {
					return nil, refuse("not UTF-8")
				}
				return Wrap(signed)
			},
		} {
			s, err := read()
			if err != nil {
				checkRefused(t, err)
				continue
			}
			if s.Verify(other) == nil {
				t.Error("verifies with a key that never signed")
			}
			again, err := Parse(s.Text())
			if err != nil || again.ID != s.ID {
				t.Errorf("does not come back: %v", err)
			}
			if _, err := s.Invitation.Payload(); err != nil {
				t.Errorf("what was read cannot be written: %v", err)
			}
		}
	})
}
