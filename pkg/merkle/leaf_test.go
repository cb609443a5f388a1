package merkle

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

func secret() []byte {
	b := make([]byte, 32)
	for i := range b {
		b[i] = byte(i)
	}
	return b
}

func sample() Leaf {
	digest := sha256.Sum256([]byte("der"))
	return Leaf{
		Index: 300, Time: time.Date(2026, 3, 4, 5, 6, 7, 891_234_567, time.UTC), Authority: "cas", Action: "crt.sign", Result: "ok",
		ObjectDigest: digest[:], Entry: Commit(Salt(secret(), 300), []byte(`{"seq":1}`)),
	}
}

// The values were computed by another program, in another language.
func TestKnownLeaf(t *testing.T) {
	for leaf, want := range map[int64]string{
		0: "9f0cd9b94097fe4929918d2b8942b344", 1: "c432e059c378eef7fe2f1181a4050836", 300: "e419f94eb27b49f269c5aefd4accb287",
	} {
		if salt := Salt(secret(), leaf); hex.EncodeToString(salt[:]) != want {
			t.Errorf("salt of leaf %d: %x", leaf, salt)
		}
	}
	l := sample()
	if got := hex.EncodeToString(l.Entry[:]); got != "1cb066019159281764a729b2b0ba8828f0c573b50dcf228d7038004d1efd5dbd" {
		t.Errorf("commitment %s", got)
	}
	const want = `{"v":1,"leaf":300,"time":"2026-03-04T05:06:07.891234Z","authority":"cas","action":"crt.sign","result":"ok",` +
		`"object_digest":"5050d80d22ecd471ea55df7034042c1e041341ff4066e7f6ff38e20b720df8ea","entry":"HLBmAZFZKBdkpymysLqIKPDFc7UNzyKNcDgATR79Xb0="}`
	data := l.Append(nil)
	if string(data) != want {
		t.Errorf("data of a leaf\n%s\nnot\n%s", data, want)
	}
	h := HashLeaf(data)
	if got := hex.EncodeToString(h[:]); got != "7e189d7cc8d1f8d25669fd2ccfe67350f7975bfb323986afad872139887627cc" {
		t.Errorf("hash %s", got)
	}
	again, err := ParseLeaf(data)
	l.Time = l.Time.Truncate(time.Microsecond)
	if diff := cmp.Diff(l, again); err != nil || diff != "" {
		t.Errorf("read again: %v\n%s", err, diff)
	}
}

// Whatever differs from one leaf to another is in the data.
func TestLeavesDiffer(t *testing.T) {
	seen := map[string]string{string(sample().Append(nil)): "the sample"}
	for what, change := range map[string]func(*Leaf){
		"index":     func(l *Leaf) { l.Index++ },
		"time":      func(l *Leaf) { l.Time = l.Time.Add(time.Microsecond) },
		"authority": func(l *Leaf) { l.Authority = "cau" },
		"moved":     func(l *Leaf) { l.Authority, l.Action = `cas","action":"x`, "" },
		"action":    func(l *Leaf) { l.Action = "" },
		"result":    func(l *Leaf) { l.Result = "ok\x00" },
		"replaced":  func(l *Leaf) { l.Result = "ok\ufffd" },
		"invalid":   func(l *Leaf) { l.Result = "ok\xff" },
		"other":     func(l *Leaf) { l.Result = "ok\xfe" },
		"escape":    func(l *Leaf) { l.Result = `ok\udcff` },
		"digest":    func(l *Leaf) { l.ObjectDigest = nil },
		"entry":     func(l *Leaf) { l.Entry[0]++ },
	} {
		l := sample()
		change(&l)
		data := string(l.Append(nil))
		if other, there := seen[data]; there {
			t.Errorf("%s is the same as %s", what, other)
		}
		seen[data] = what
	}
}

func TestParseLeafRefuses(t *testing.T) {
	good := string(sample().Append(nil))
	for name, data := range map[string]string{
		"nothing":        "",
		"not JSON":       "leaf",
		"a space":        strings.Replace(good, ",", ", ", 1),
		"an end of line": good + "\n",
		"a member more":  strings.Replace(good, `"entry"`, `"x":1,"entry"`, 1),
		"a member twice": strings.Replace(good, `"v":1`, `"v":1,"v":1`, 1),
		"a member less":  strings.Replace(good, `"result":"ok",`, "", 1),
		"another order":  strings.Replace(good, `"authority":"cas","action":"crt.sign"`, `"action":"crt.sign","authority":"cas"`, 1),
		"another time":   strings.Replace(good, "891234Z", "891Z", 1),
		"a zone":         strings.Replace(good, "891234Z", "891234+00:00", 1),
		"capital digits": strings.Replace(good, "5050d80d", "5050D80D", 1),
		"half an octet":  strings.Replace(good, "5050d80d", "5050d80", 1),
		"short entry":    strings.Replace(good, "HLBmAZFZ", "", 1),
		"an escape":      strings.Replace(good, "cas", `\u0063as`, 1),
		"version 2":      strings.Replace(good, `"v":1`, `"v":2`, 1),
		"negative":       strings.Replace(good, `"leaf":300`, `"leaf":-1`, 1),
		"too large":      strings.Replace(good, `"leaf":300`, `"leaf":281474976710656`, 1),
		"a fraction":     strings.Replace(good, `"leaf":300`, `"leaf":300.0`, 1),
		"endless":        strings.Replace(good, "cas", strings.Repeat("cas", 2000), 1),
	} {
		if _, err := ParseLeaf([]byte(data)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Each text has one form, which is JSON for that text, and different texts have different ones.
func FuzzText(f *testing.F) {
	for _, seed := range []string{"", "a", "\x00\x1f\x7f", `"\/`, "\b\f\n\r\t", "ä\u2028\U0001F600", "\xff\xfe", "\xed\xa0\x80", "\ufffd", `\udc80`} {
		f.Add(seed, seed+"\x80")
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		textA, textB := AppendText(nil, a), AppendText(nil, b)
		if (a == b) != bytes.Equal(textA, textB) {
			t.Errorf("%q and %q are %s and %s", a, b, textA, textB)
		}
		var again string
		if err := json.Unmarshal(textA, &again); err != nil || !utf8.Valid(textA) {
			t.Errorf("%q: %s: %v", a, textA, err)
		}
		if utf8.ValidString(a) && again != a {
			t.Errorf("%q is read as %q", a, again)
		}
	})
}

// What is accepted has that one form.
func FuzzLeaf(f *testing.F) {
	f.Add(sample().Append(nil))
	f.Add([]byte(`{"v":1,"leaf":0,"time":"2026-03-04T05:06:07.000000Z","authority":"","action":"","result":"","object_digest":"","entry":""}`))
	f.Add([]byte(`{"v":1}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		l, err := ParseLeaf(data)
		if err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Error(err)
			}
			return
		}
		if !bytes.Equal(l.Append(nil), data) {
			t.Errorf("%q is written as %q", data, l.Append(nil))
		}
	})
}

func BenchmarkLeaf(b *testing.B) {
	l, entry, secret := sample(), bytes.Repeat([]byte("x"), 400), secret()
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		l.Entry = Commit(Salt(secret, l.Index), entry)
		buf = l.Append(buf[:0])
		HashLeaf(buf)
	}
}
