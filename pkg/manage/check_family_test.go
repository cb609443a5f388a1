package manage

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"cauase/pkg/ca"
	"cauase/pkg/pki"
	"cauase/pkg/profile"
	"cauase/pkg/store"
)

func ofAuthority(name store.AuthorityName, fn func(*store.Authority)) func([]store.Row) []store.Row {
	return change(func(v *store.Authority) bool {
		if v.Name != name {
			return false
		}
		fn(v)
		return true
	})
}

// ofCA changes the newest CA of an authority.
func ofCA(name store.AuthorityName, fn func(*store.CA)) func([]store.Row) []store.Row {
	return func(rows []store.Row) []store.Row {
		for i, row := range slices.Backward(rows) {
			if v, ok := row.(store.CA); ok && v.Authority == name {
				fn(&v)
				rows[i] = v
				return rows
			}
		}
		panic("there is no such CA")
	}
}

// What is wrong with authorities, custody and what stands above a CA.
func TestCheckFindsInFamily(t *testing.T) {
	f := newFamily(t, newStore(t))
	f.live()
	good := rowsOf(t, f.store)
	var plain, root store.CA
	for _, row := range good {
		if v, ok := row.(store.CA); ok && v.Authority == "plain" {
			plain = v
		} else if ok && v.Authority == "home-root" {
			root = v
		}
	}
	issuedCA := func(v *store.Certificate) bool { return v.Method == store.CASigned }
	for _, test := range []struct {
		name   string
		change func([]store.Row) []store.Row
		want   string
	}{
		{"authority of no role", ofAuthority("plain", func(v *store.Authority) { v.Role = "king" }), `there is no role "king"`},
		{"authority with keys of no type", ofAuthority("plain", func(v *store.Authority) { v.KeyType = "dsa" }), `error: authority plain: its keys are to be of type "dsa"`},
		{"authority with unreadable names", ofAuthority("plain", func(v *store.Authority) { v.Permitted = []string{"x"} }), "error: authority plain: what its certificates may be for cannot be read"},
		{"parent that is not there", ofAuthority("lab", func(v *store.Authority) { v.Parent = "nobody" }), `error: authority lab: there is no authority "nobody", its parent`},
		{"parent that is no root", ofAuthority("lab", func(v *store.Authority) { v.Parent = "plain" }), "error: authority lab: its parent, plain, is no root"},
		{"parents in a circle", func(rows []store.Row) []store.Row {
			rows = ofAuthority("lab", func(v *store.Authority) { v.Parent = "plain" })(rows)
			return ofAuthority("plain", func(v *store.Authority) { v.Parent = "lab" })(rows)
		}, "error: authority lab: its parents lead in a circle"},
		{"parent that is retired", ofAuthority("home-root", func(v *store.Authority) { v.RetiredAt = f.clock.Now() }), "warning: authority lab: its parent, home-root, is retired"},
		{"rows of no authority", drop(func(v store.Authority) bool { return v.Name == "plain" }), `there is no authority "plain"`},

		{"usable without a key", ofCA("plain", func(v *store.CA) { v.Key = store.KeyRef{} }), "it is recorded as usable, and has no private key"},
		{"external with a key", ofCA("plain", func(v *store.CA) { v.State = store.CAExternal }), "it is recorded as external, and its private key is still there"},
		{"revoked with a key", ofCA("lab", func(v *store.CA) { v.State = store.CARevoked }), "it is recorded as revoked, and its private key is still there"},
		{"revoked and not listed", ofCA("lab", func(v *store.CA) { v.State, v.Key = store.CARevoked, store.KeyRef{} }), "it is recorded as revoked, and not listed by its parent, home-root"},
		{"erased before its time", ofCA("plain", func(v *store.CA) { v.State, v.Key = store.CAErased, store.KeyRef{} }), "its private key is gone, although"},
		{"of no state", ofCA("plain", func(v *store.CA) { v.State = "lost" }), `there is no state "lost"`},

		{"self-signed, of a parent", ofCA("plain", func(v *store.CA) { v.ParentAuthority = "home-root" }), "its certificate is self-signed, and recorded as one of home-root"},
		{"below, of no parent", ofCA("lab", func(v *store.CA) { v.ParentAuthority, v.ParentCA = "", 0 }), "its certificate is not self-signed"},
		{"below no CA", ofCA("lab", func(v *store.CA) { v.ParentCA = 999 }), "its parent, home-root, has no CA 999"},
		{"below another CA", ofCA("lab", func(v *store.CA) { v.ParentAuthority, v.ParentCA = "plain", plain.ID }), "its certificate is not signed by CA"},
		{"below no CA that is known", ofCA("lab", func(v *store.CA) { v.ParentAuthority, v.ParentCA = "plain", 0 }), "its certificate is not signed by any CA of its parent, plain"},
		{"forged below", ofCA("lab", func(v *store.CA) { v.Certificate = flip(v.Certificate, -1) }), "its certificate is not signed by CA"},
		{"below, off the record", drop(func(v store.Certificate) bool { return issuedCA(&v) }), "its parent, home-root, has no record of its certificate"},
		{"certificate of a CA that is none", change(func(v *store.Certificate) bool {
			if v.Authority != "lab" {
				return false
			}
			v.Method = store.CASigned
			return true
		}), "it is recorded as a certificate of a CA, and is none"},
		{"certificate of a CA by another method", change(func(v *store.Certificate) bool {
			found := issuedCA(v)
			v.Method = store.Signed
			return found
		}), "it is a certificate of a CA"},
		{"certificate of a CA by no root", ofAuthority("home-root", func(v *store.Authority) { v.Role = store.RoleServices }), "it is a certificate of a CA, and home-root is no root"},

		{"self-signed one that cannot be read", ofCA("lab", func(v *store.CA) { v.Anchor = []byte("x") }), "its self-signed certificate cannot be parsed"},
		{"self-signed one, of no parent", ofCA("plain", func(v *store.CA) { v.Anchor = v.Certificate }), "it has a self-signed certificate beside its own, and no parent"},
		{"self-signed one by the parent", ofCA("lab", func(v *store.CA) { v.Anchor = v.Certificate }), "its self-signed certificate is not signed by its own key"},
		{"forged self-signed one", ofCA("lab", func(v *store.CA) { v.Anchor = flip(v.Anchor, -1) }), "its self-signed certificate is not signed by its own key"},
		{"self-signed one of another", ofCA("lab", func(v *store.CA) { v.Anchor = plain.Certificate }), "another name, key or key identifier"},
		{"self-signed one that ends later", ofCA("lab", anchored(t, func(c *x509.Certificate) { c.NotAfter = c.NotAfter.Add(time.Hour) })), "the self-signed certificate is valid from"},
		{"self-signed one without limits", ofCA("lab", anchored(t, func(c *x509.Certificate) { c.ExtraExtensions, c.MaxPathLen, c.MaxPathLenZero = nil, -1, false })), "the self-signed certificate has other limits"},
		{"no statement about the parent", ofCA("lab", func(v *store.CA) { v.ParentLink = nil }), "its statement about the parent cannot be used"},
		{"statement about other certificates", ofCA("lab", anchored(t, func(*x509.Certificate) {})), "its statement about the parent is about other certificates"},

		{"list that cannot be read", insert(func(row store.Row) bool { _, ok := row.(store.AuditEntry); return ok },
			store.Setting{Authority: "plain", Name: "external_crl/00", Value: "x"}), "it is not a revocation list"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newStore(t)
			load(t, s, test.change(slices.Clone(good)))
			found, _ := check(t, s, f.clock.Now())
			if !slices.ContainsFunc(found, func(got string) bool { return strings.Contains(got, test.want) }) {
				t.Errorf("found %q\nwant %q", found, test.want)
			}
		})
	}
	if root.State != store.CAUsable {
		t.Errorf("the root is %s", root.State)
	}
}

// What is wrong with sign-offs and with imported lists.
func TestCheckFindsOfExternalRoot(t *testing.T) {
	f, offline := externalFamily(t, newStore(t))
	wantClean(t, f.store, f.clock.Now())
	good := rowsOf(t, f.store)
	foreign := base64.StdEncoding.EncodeToString(must[[]ca.List](t)(offline.authority("plain").CRLs(t.Context()))[0].DER())
	signoff := func(fn func(*store.Signoff)) func([]store.Row) []store.Row {
		return change(func(v *store.Signoff) bool { fn(v); return true })
	}
	brought := func(fn func(*store.Setting)) func([]store.Row) []store.Row {
		return change(func(v *store.Setting) bool {
			if !strings.HasPrefix(v.Name, "external_crl/") {
				return false
			}
			fn(v)
			return true
		})
	}
	for _, test := range []struct {
		name   string
		change func([]store.Row) []store.Row
		want   string
	}{
		{"request that is none", signoff(func(v *store.Signoff) { v.Request = []byte{1} }), "its request cannot be used"},
		{"forged request", signoff(func(v *store.Signoff) { v.Request = flip(v.Request, -1) }), "its request cannot be used"},
		{"key identifier", signoff(func(v *store.Signoff) { v.KeyID = flip(v.KeyID, 0) }), "its key identifier is"},
		{"no key", signoff(func(v *store.Signoff) { v.Key = store.KeyRef{} }), "it has no private key"},
		{"another key", signoff(func(v *store.Signoff) {
			for _, row := range good {
				if c, ok := row.(store.CA); ok && len(c.Key.Ref) > 0 && !bytes.Equal(c.Key.Ref, v.Key.Ref) {
					v.Key = c.Key
				}
			}
		}), "its private key is not that of its request"},
		{"certificate that is none", signoff(func(v *store.Signoff) { v.Certificate = []byte{1} }), "its certificate cannot be parsed"},
		{"forged certificate", signoff(func(v *store.Signoff) { v.Certificate = flip(v.Certificate, -1) }), "its certificate is not signed by any CA of its parent, home-root"},
		{"no parent", ofAuthority("lab", func(v *store.Authority) { v.Parent = "" }), "its authority has no parent"},
		{"list of another", brought(func(v *store.Setting) { v.Value = foreign }), "it is not signed by CA"},
		{"list of nobody", brought(func(v *store.Setting) { v.Name = "external_crl/0102" }), "its authority has no CA with key identifier 0102"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newStore(t)
			load(t, s, test.change(slices.Clone(good)))
			found, _ := check(t, s, f.clock.Now())
			if !slices.ContainsFunc(found, func(got string) bool { return strings.Contains(got, test.want) }) {
				t.Errorf("found %q\nwant %q", found, test.want)
			}
		})
	}
}

// anchored puts another self-signed certificate beside that of a CA, by the same key.
func anchored(t *testing.T, change func(*x509.Certificate)) func(*store.CA) {
	return func(v *store.CA) {
		t.Helper()
		template := profile.Anchor(must[*x509.Certificate](t)(x509.ParseCertificate(v.Certificate)), must[*big.Int](t)(pki.NewSerial()))
		change(template)
		key := must[any](t)(x509.ParsePKCS8PrivateKey(v.Key.InRow())).(crypto.Signer)
		v.Anchor = must[[]byte](t)(x509.CreateCertificate(rand.Reader, template, template, key.Public(), key))
	}
}
