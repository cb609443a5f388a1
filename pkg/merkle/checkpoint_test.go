package merkle

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
)

const origin = OriginPrefix + "0123456789abcdef"

func logKey(seed byte) (ed25519.PrivateKey, Key) {
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize))
	public, _ := key.Public().(ed25519.PublicKey)
	return key, Key{origin, public}
}

func checkpoint() Checkpoint {
	return Checkpoint{Origin: origin, Size: 300, Root: HashLeaf([]byte("x")), Time: time.Unix(1772600767, 0).UTC(), Epoch: 2}
}

func TestCheckpoint(t *testing.T) {
	c := checkpoint()
	const text = origin + "\n300\nROOT\ntime 1772600767\nepoch 2\n"
	if string(c.Marshal()) != strings.Replace(text, "ROOT", c.Root.String(), 1) {
		t.Errorf("text %q", c.Marshal())
	}
	private, key := logKey(1)
	signed, err := SignCheckpoint(c, private)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := OpenCheckpoint(signed, key); err != nil || got != c {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := ReadCheckpoint(signed); err != nil || got != c {
		t.Errorf("%+v, %v", got, err)
	}
	// It is a note as others read them.
	v, err := note.NewVerifier(key.String())
	if err != nil {
		t.Fatal(err)
	}
	if n, err := note.Open(signed, note.VerifierList(v)); err != nil || n.Text != string(c.Marshal()) {
		t.Errorf("%+v, %v", n, err)
	}
	if again, err := ParseKey(key.String()); err != nil || again.String() != key.String() || !again.Public.Equal(key.Public) {
		t.Errorf("%v, %v", again, err)
	}
	// A witness adds its signature.
	witness, _, err := note.GenerateKey(rand.Reader, "witness.example")
	if err != nil {
		t.Fatal(err)
	}
	w, err := note.NewSigner(witness)
	if err != nil {
		t.Fatal(err)
	}
	n, err := note.Open(signed, note.VerifierList(v))
	if err != nil {
		t.Fatal(err)
	}
	both, err := note.Sign(n, w)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := OpenCheckpoint(both, key); err != nil || got != c {
		t.Errorf("with another signature: %+v, %v", got, err)
	}
}

func TestCheckpointForged(t *testing.T) {
	private, key := logKey(1)
	stranger, _ := logKey(2)
	signed, err := SignCheckpoint(checkpoint(), private)
	if err != nil {
		t.Fatal(err)
	}
	forged, err := SignCheckpoint(checkpoint(), stranger)
	if err != nil {
		t.Fatal(err)
	}
	elsewhere := checkpoint()
	elsewhere.Origin = OriginPrefix + "ffffffffffffffff"
	other, err := SignCheckpoint(elsewhere, private)
	if err != nil {
		t.Fatal(err)
	}
	// One that is about another log, and signed in the name of this one.
	v, err := key.verifier()
	if err != nil {
		t.Fatal(err)
	}
	mixed, err := note.Sign(&note.Note{Text: string(elsewhere.Marshal())}, noteSigner{v, private})
	if err != nil {
		t.Fatal(err)
	}
	for name, signed := range map[string][]byte{
		"by a stranger":  forged,
		"of another log": other,
		"about another":  mixed,
		"another size":   bytes.Replace(signed, []byte("\n300\n"), []byte("\n301\n"), 1),
		"another epoch":  bytes.Replace(signed, []byte("epoch 2"), []byte("epoch 3"), 1),
	} {
		if _, err := OpenCheckpoint(signed, key); !errors.Is(err, ErrSignature) {
			t.Errorf("%s: %v", name, err)
		}
	}
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := SignCheckpoint(checkpoint(), p256); err == nil {
		t.Error("signed by a key that nobody can verify with")
	}
	bad := checkpoint()
	bad.Origin = "a b"
	if _, err := SignCheckpoint(bad, private); err == nil {
		t.Error("signed what nobody can read")
	}
}

func TestParseCheckpointRefuses(t *testing.T) {
	good := string(checkpoint().Marshal())
	if _, err := ParseCheckpoint([]byte(good + "from a later version\n")); err != nil {
		t.Errorf("with an extension line: %v", err)
	}
	lines := strings.SplitAfter(good, "\n")
	replace := func(i int, line string) string {
		changed := append([]string{}, lines...)
		changed[i] = line
		return strings.Join(changed, "")
	}
	for name, text := range map[string]string{
		"nothing":            "",
		"no end":             strings.TrimSuffix(good, "\n"),
		"cut off":            strings.Join(lines[:4], ""),
		"no origin":          replace(0, "\n"),
		"a space":            replace(0, "cause log\n"),
		"a plus":             replace(0, "cause+log\n"),
		"an endless name":    replace(0, strings.Repeat("x", 300)+"\n"),
		"negative":           replace(1, "-1\n"),
		"a zero before":      replace(1, "0300\n"),
		"a plus sign":        replace(1, "+300\n"),
		"overflow":           replace(1, "9223372036854775808\n"),
		"too large":          replace(1, "9223372036854775807\n"),
		"empty with root":    replace(1, "0\n"),
		"short root":         replace(2, "AAAA\n"),
		"root of other bits": replace(2, strings.Replace(lines[2], "=\n", "=x\n", 1)),
		"no time":            replace(3, "epoch 2\n"),
		"late":               replace(3, "time 253402300800\n"),
		"no number":          replace(3, "time now\n"),
		"no epoch":           replace(4, "age 2\n"),
		"an empty line":      good + "\n",
		"too much":           good + strings.Repeat("x", MaxCheckpoint) + "\n",
	} {
		if _, err := ParseCheckpoint([]byte(text)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, text := range []string{"", "a", "a+b+c", origin + "+00000000+AAAA", strings.Repeat("a", 2000)} {
		if _, err := ParseKey(text); !errors.Is(err, ErrMalformed) {
			t.Errorf("key %.20q: %v", text, err)
		}
	}
	if (Key{}).String() != "no key" {
		t.Error("a key that is none")
	}
}

// What is accepted says the same when it is written again.
func FuzzCheckpoint(f *testing.F) {
	private, key := logKey(1)
	signed, err := SignCheckpoint(checkpoint(), private)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(signed)
	f.Add(checkpoint().Marshal())
	f.Add([]byte("a\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\ntime 0\nepoch 0\nmore\n\n— a AAAAAAA=\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if c, err := ParseCheckpoint(data); err == nil {
			if !bytes.HasPrefix(data, c.Marshal()) {
				t.Errorf("%q is written as %q", data, c.Marshal())
			}
		} else if !errors.Is(err, ErrMalformed) {
			t.Error(err)
		}
		if c, err := ReadCheckpoint(data); err == nil && !bytes.HasPrefix(data, c.Marshal()) {
			t.Errorf("%q is read as %q", data, c.Marshal())
		}
		if c, err := OpenCheckpoint(data, key); err == nil && c != checkpoint() {
			t.Errorf("opened what was never signed: %q", data)
		}
		if k, err := ParseKey(string(data)); err == nil && k.String() != string(data) {
			t.Errorf("key %q is written as %q", data, k)
		}
	})
}
