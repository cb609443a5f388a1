package token

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	u, err := Parse("pkcs11:token=The%20Software%3BToken;serial=ab12;object=cas;id=%01%fF?module-path=/usr/lib/p11.so&pin-source=file:/etc/pin")
	if err != nil {
		t.Fatal(err)
	}
	if u.Token != "The Software;Token" || u.Serial != "ab12" || u.Object != "cas" || !bytes.Equal(u.ID, []byte{1, 0xff}) || u.Module != "/usr/lib/p11.so" || u.PIN.String() != "/etc/pin" {
		t.Errorf("%+v", u)
	}
	if got, want := u.String(), "pkcs11:token=The%20Software%3BToken;serial=ab12;object=cas;id=%01%FF"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if again, err := Parse(u.String()); err != nil || again.String() != u.String() {
		t.Errorf("read again: %+v, %v", again, err)
	}
	for _, source := range []string{"/etc/pin", "file:/etc/pin", "file:///etc/pin", "file://localhost/etc/pin"} {
		if u, err := Parse("pkcs11:token=a?pin-source=" + source); err != nil || u.PIN.String() != "/etc/pin" {
			t.Errorf("%s: %v, %v", source, u.PIN, err)
		}
	}
}

// An error says what is wrong, and repeats no secret.
func TestParseRefuses(t *testing.T) {
	for _, c := range []struct{ uri, want string }{
		{"", "begins with pkcs11:"},
		{"file:/etc/pin", "begins with pkcs11:"},
		{"pkcs11:token", "has no value"},
		{"pkcs11:token=", "is empty"},
		{"pkcs11:=x", "has no value"},
		{"pkcs11:token=a;", "has no value"},
		{"pkcs11:token=a;token=b", "twice"},
		{"pkcs11:token=%4", "two hexadecimal digits"},
		{"pkcs11:token=%4g", "two hexadecimal digits"},
		{"pkcs11:token=%ff", "no text"},
		{"pkcs11:token=a%0ab", "no text"},
		{"pkcs11:token=" + strings.Repeat("a", 33), "33 octets"},
		{"pkcs11:id=" + strings.Repeat("a", 65), "65 octets"},
		{"pkcs11:" + strings.Repeat("a", 5000), "too long"},
		{"pkcs11:tokn=a", "no attribute tokn"},
		{"pkcs11:slot-id=1", "slots change"},
		{"pkcs11:library-version=1", "module-path"},
		{"pkcs11:type=public", "private"},
		{"pkcs11:module-path=/a", "behind a ?"},
		{"pkcs11:token=a;pin-value=hunter2", "does not belong"},
		{"pkcs11:token=a?pin-value=hunter2", "does not belong"},
		{"pkcs11:token=a?pin-source=hunter2", "neither"},
		{"pkcs11:token=a?pin-source=|hunter2", "no program"},
		{"pkcs11:token=a?pin-source=file:hunter2", "absolute"},
		{"pkcs11:token=a?pin-source=credential:../hunter2", "without a folder"},
		{"pkcs11:token=a?pin-source=fd:hunter2", "file descriptor"},
		{"pkcs11:token=a?hunter2", "has no value"},
		{"pkcs11:token=a?pin=hunter2", "no attribute pin"},
		{"pkcs11:token=a?module-path=lib.so", "absolute"},
		{"pkcs11:token=a?module-name=lib", "module-path"},
	} {
		_, err := Parse(c.uri)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%.60s: %v, want %q", c.uri, err, c.want)
		}
	}
	for uri, want := range map[string]string{"pkcs11:object=a": "which token", "pkcs11:token=a;id=%01": "id of its own"} {
		if u, err := Parse(uri); err != nil || !strings.Contains(CheckPlace(u).Error(), want) {
			t.Errorf("%s: %v, %v", uri, CheckPlace(u), err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("pkcs11:token=The%20Software;object=cas;id=%01?module-path=/usr/lib/p11.so&pin-source=file:/etc/pin")
	f.Add("pkcs11:serial=a%3b;manufacturer=b")
	f.Fuzz(func(t *testing.T, text string) {
		u, err := Parse(text)
		if err != nil {
			return
		}
		again, err := Parse(u.String())
		if err != nil || again.String() != u.String() || !u.Matches(again) || !bytes.Equal(u.ID, again.ID) {
			t.Errorf("%q becomes %q, and that %q: %v", text, u, again, err)
		}
	})
}

func TestSource(t *testing.T) {
	dir := t.TempDir()
	t.Setenv(credentialsVariable, dir)
	write := func(name, content string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := write("good", "1234\r\nsecond line\n", 0o640)
	f, err := os.Open(good)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // it is closed already
	for _, c := range []struct{ source, pin, want string }{
		{source: good, pin: "1234"},
		{source: "credential:good", pin: "1234"},
		{source: "fd:" + strconv.Itoa(int(f.Fd())), pin: "1234"},
		{source: "fd:" + strconv.Itoa(int(f.Fd())), pin: "1234"}, // again
		{source: "fd:999", want: "not open"},
		{source: "credential:none", want: "no such file"},
		{source: write("exposed", "1234", 0o644), want: "by everybody"},
		{source: write("empty", "\n1234", 0o600), want: "no PIN"},
		{source: write("long", strings.Repeat("1", 300), 0o600), want: "longer"},
		{source: dir, want: "not a regular file"},
	} {
		s, err := ParseSource(c.source)
		if err != nil {
			t.Fatal(err)
		}
		pin, err := s.Read()
		if string(pin) != c.pin || (err != nil) != (c.want != "") || err != nil && (!strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "1234")) {
			t.Errorf("%s: %q, %v, want %q", c.source, pin, err, c.want)
		}
	}
	t.Setenv(credentialsVariable, "")
	if s, err := ParseSource("credential:good"); err != nil {
		t.Error(err)
	} else if _, err := s.Read(); err == nil || !strings.Contains(err.Error(), "LoadCredential") {
		t.Error(err)
	}
	if _, err := (Source{}).Read(); err == nil {
		t.Error("no source has a PIN")
	}
}
