package pemfile

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cauase/pkg/testkit/pkitest"
)

const (
	dhParameters = "-----BEGIN DH PARAMETERS-----\nMAYCAQUCAQI=\n-----END DH PARAMETERS-----\n"
	// as openssl dhparam -dsaparam names them
	x942Parameters = "-----BEGIN X9.42 DH PARAMETERS-----\nMAYCAQUCAQI=\n-----END X9.42 DH PARAMETERS-----\n"
	ecParameters   = "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
)

// TestMerge: a new pair takes the place of the old one, and whatever else is in its files stays where it was.
func TestMerge(t *testing.T) {
	old, new, other := newPair(t, "mine", false), newPair(t, "mine", false), newPair(t, "other", true)
	oldKey, newKey := string(pkitest.KeyPEM(t, old.Key)), string(pkitest.KeyPEM(t, new.Key))
	oldCrt, newCrt, root := string(pkitest.PEM(old.Crt)), string(pkitest.PEM(new.Crt)), string(pkitest.PEM(other.Crt))
	otherKey := string(pkitest.KeyPEM(t, other.Key))
	sec1, err := x509.MarshalECPrivateKey(old.Key.(*ecdsa.PrivateKey))
	if err != nil {
		t.Fatal(err)
	}
	ecKey := string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: sec1}))
	for name, c := range map[string]struct {
		key, crt         string // crt is "" where both are in one file
		wantKey, wantCrt string
	}{
		"HAProxy": {key: "# of the shop\n" + oldKey + "# certificate\n" + oldCrt + "# DH\n" + dhParameters + "# end",
			wantKey: "# of the shop\n" + newKey + "# certificate\n" + newCrt + "# DH\n" + dhParameters + "# end"},
		"X9.42 parameters":     {key: oldKey + oldCrt + x942Parameters, wantKey: newKey + newCrt + x942Parameters},
		"certificate first":    {key: oldCrt + dhParameters + oldKey, wantKey: newCrt + dhParameters + newKey},
		"a root behind it":     {key: oldKey + oldCrt + root, wantKey: newKey + newCrt + root},
		"a root before it":     {key: oldKey + root + oldCrt, wantKey: newKey + root + newCrt},
		"parameters of curves": {key: ecParameters + ecKey + oldCrt + ecParameters, wantKey: newKey + newCrt + ecParameters},
		"CRLF": {key: strings.ReplaceAll("# a\n"+oldKey+oldCrt+dhParameters, "\n", "\r\n"),
			wantKey: "# a\r\n" + newKey + newCrt + strings.ReplaceAll(dhParameters, "\n", "\r\n")},
		"no final newline": {key: oldKey + strings.TrimSpace(oldCrt), wantKey: newKey + newCrt},
		"no certificate":   {key: "# a\n" + oldKey + dhParameters, wantKey: "# a\n" + newKey + newCrt + dhParameters},
		"no key":           {key: oldCrt + dhParameters, wantKey: newKey + newCrt + dhParameters},
		"nothing":          {key: "", wantKey: newKey + newCrt},
		"not PEM":          {key: "-----BEGIN X-----\n", wantKey: newKey + newCrt},
		"two of one key":   {key: oldKey + oldCrt + oldCrt + dhParameters, wantKey: newKey + newCrt + dhParameters},
		"two files": {key: "# key\n" + ecParameters + ecKey + "# that was it\n", crt: "# crt\n" + oldCrt + dhParameters + root,
			wantKey: "# key\n" + newKey + "# that was it\n", wantCrt: "# crt\n" + newCrt + dhParameters + root},
		"a copy of the key": {key: oldKey, crt: oldKey + oldCrt + dhParameters, wantKey: newKey, wantCrt: newKey + newCrt + dhParameters},
		"another's key":     {key: oldKey, crt: oldCrt + otherKey, wantKey: newKey, wantCrt: newCrt + otherKey},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			paths := PairPaths{Crt: filepath.Join(dir, "web.pem")}
			if c.wantCrt == "" {
				write(t, paths.Crt, c.key, 0o600)
			} else {
				paths.Key = filepath.Join(dir, "web.key")
				write(t, paths.Key, c.key, 0o600)
				write(t, paths.Crt, c.crt, 0o644)
			}
			if _, err := WritePair(paths, new); err != nil {
				t.Fatal(err)
			}
			if got := read(t, paths.KeyPath()); got != c.wantKey {
				t.Errorf("key\n%s\nwant\n%s", got, c.wantKey)
			}
			if c.wantCrt == "" {
				return
			}
			if got := read(t, paths.Crt); got != c.wantCrt {
				t.Errorf("certificate\n%s\nwant\n%s", got, c.wantCrt)
			}
			if info, err := os.Stat(paths.Crt); err != nil || strings.Contains(c.crt, "PRIVATE") != (info.Mode().Perm() == 0o600) {
				t.Errorf("%v, %v", info.Mode(), err)
			}
		})
	}
}

// TestMergeChain: intermediate certificates change with the certificate that they stand behind, and others stay.
func TestMergeChain(t *testing.T) {
	p, err := takeApart(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	leaf, before, after := newPair(t, "leaf", false), newPair(t, "before", true), newPair(t, "after", true)
	crt, first, second := string(pkitest.PEM(leaf.Crt)), string(pkitest.PEM(before.Crt)), string(pkitest.PEM(after.Crt))
	p.segments = []segment{{raw: []byte("# a\n")}, {raw: []byte("old leaf\n")}, {raw: []byte("# b\n")}, {raw: []byte("old CA\n")}, {raw: []byte("# c\n")}, {raw: []byte("old CA\n")}, {raw: []byte("# d\n")}}
	p.parts = []part{partOther, partLeaf, partOther, partChain, partOther, partChain, partOther}
	for want, chain := range map[string][]*x509.Certificate{
		"# a\n" + crt + "# b\n# c\n# d\n":                       nil,
		"# a\n" + crt + "# b\n" + first + "# c\n# d\n":          {before.Crt},
		"# a\n" + crt + "# b\n" + first + second + "# c\n# d\n": {before.Crt, after.Crt},
	} {
		if got := string(p.with(nil, leaf.Crt, chain)); got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
	}
	p.segments, p.parts = p.segments[:3], p.parts[:3]
	if got, want := string(p.with(nil, leaf.Crt, []*x509.Certificate{after.Crt})), "# a\n"+crt+second+"# b\n"; got != want {
		t.Errorf("the first chain: got\n%s\nwant\n%s", got, want)
	}
}

func FuzzMerge(f *testing.F) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	pair := Pair{Key: key, Crt: certify(f, key, "mine")}
	f.Add([]byte(dhParameters + "# a\n" + string(pair.PEM())))
	f.Add([]byte("-----BEGIN A-----\nAA==\n-----END A-----x"))
	f.Add([]byte("\r\n-----BEGIN CERTIFICATE-----\n"))
	f.Fuzz(func(t *testing.T, content []byte) {
		p, err := takeApart(content, nil)
		if err != nil {
			return
		}
		whole := ""
		for i, s := range p.segments {
			whole += string(s.raw)
			if s.block == nil && p.parts[i] != partOther {
				t.Error("text is of the pair")
			}
		}
		if whole != string(content) && strings.TrimSpace(string(content)) != "" {
			t.Errorf("%q becomes %q", content, whole)
		}
		if merged := p.with(nil, pair.Crt, nil); !strings.Contains(string(merged), string(pair.PEM())) {
			t.Errorf("%q", merged)
		}
	})
}
