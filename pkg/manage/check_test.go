package manage

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/pki"
	"cauase/pkg/store"
	"cauase/pkg/testkit/envelopetest"
)

// check returns what Check finds, a line each.
func check(t testing.TB, s store.Store, now time.Time) ([]string, CheckResult) {
	t.Helper()
	var found []string
	checked, err := Check(t.Context(), s, now, func(f Finding) {
		found = append(found, string(f.Severity)+": "+f.Row+": "+f.Problem)
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return found, checked
}

func TestCheckClean(t *testing.T) {
	s := newStore(t)
	if found, _ := check(t, s, time.Now()); len(found) > 0 {
		t.Errorf("an empty database: %q", found)
	}
	now := live(t, s)
	err := s.Update(t.Context(), func(tx store.Tx) error {
		return tx.PutRejection(t.Context(), store.Rejection{Authority: store.Services, ID: 7, Digest: make([]byte, 32), KeyID: []byte{1}, RejectedAt: now, Reason: "no"})
	})
	if err != nil {
		t.Fatal(err)
	}
	var steps []string
	var rows int64
	checked, err := Check(t.Context(), s, now, func(f Finding) { t.Error(f) }, func(step, kind string, n int64) {
		steps, rows = append(steps, step+" "+kind), n
	})
	if err != nil {
		t.Fatal(err)
	}
	all := rowsOf(t, s)
	if checked.Rows.Rows() != int64(len(all)) || checked.Errors+checked.Warnings != 0 {
		t.Errorf("%+v", checked)
	}
	for _, want := range []string{"checking ca", "checking certificate", "checking audit", "comparing revocations revocation"} {
		if !slices.Contains(steps, want) {
			t.Errorf("no step %q", want)
		}
	}
	var crls, erased, links int
	for _, row := range all {
		switch v := row.(type) {
		case store.CRL:
			crls++
		case store.CA:
			if v.Key.Ref == nil {
				erased++
			}
			if v.Link != nil {
				links++
			}
		}
	}
	if crls == 0 || erased == 0 || links == 0 || rows == 0 {
		t.Errorf("the life was too quiet: %d lists, %d erased keys, %d links, %d revocations", crls, erased, links, rows)
	}
}

// change applies fn to the first row of type T that it takes.
func change[T store.Row](fn func(*T) bool) func([]store.Row) []store.Row {
	return func(rows []store.Row) []store.Row {
		for i, row := range rows {
			if v, ok := row.(T); ok && fn(&v) {
				rows[i] = v
				return rows
			}
		}
		panic("there is no such row")
	}
}

func drop[T store.Row](match func(T) bool) func([]store.Row) []store.Row {
	return func(rows []store.Row) []store.Row {
		return slices.DeleteFunc(rows, func(row store.Row) bool { v, ok := row.(T); return ok && match(v) })
	}
}

func insert(before func(store.Row) bool, new store.Row) func([]store.Row) []store.Row {
	return func(rows []store.Row) []store.Row {
		return slices.Insert(rows, slices.IndexFunc(rows, before), new)
	}
}

// flip returns a copy of b with one bit changed.
func flip(b []byte, i int) []byte {
	b = bytes.Clone(b)
	b[(i+len(b))%len(b)] ^= 1
	return b
}

func TestCheckFinds(t *testing.T) {
	source := newStore(t)
	now := live(t, source)
	good := rowsOf(t, source)
	var cas []store.CA
	var other store.Certificate
	var pending store.Request
	var otherKey []byte
	var firstCSR, firstCRT int64
	for _, row := range good {
		switch v := row.(type) {
		case store.CA:
			if v.Authority == store.Services {
				cas = append(cas, v)
			} else {
				otherKey = v.Key.Ref
			}
		case store.Certificate:
			if other = v; firstCRT == 0 && v.Authority == store.Services && v.Method == store.Signed {
				firstCRT = v.ID
			}
		case store.Request:
			if pending = v; firstCSR == 0 {
				firstCSR = v.ID
			}
		}
	}
	last := func(v *store.CA) bool { return v.ID == cas[len(cas)-1].ID }
	signed := func(v *store.Certificate) bool { return v.Authority == store.Services && v.Method == store.Signed }
	current := func(v *store.CRL) bool { return v.Authority == store.Services && v.CAID == cas[len(cas)-1].ID }
	relink := func(old, successor store.CA) []byte {
		key, err := x509.ParsePKCS8PrivateKey(cas[len(cas)-1].Key.Ref)
		if err != nil {
			t.Fatal(err)
		}
		return envelopetest.Link(t, key.(crypto.Signer), pki.EncodeCertificatePEM(old.Certificate), pki.EncodeCertificatePEM(successor.Certificate))
	}
	newest, before := cas[len(cas)-1], cas[len(cas)-2]
	var usersCA store.CA
	for _, row := range good {
		if v, ok := row.(store.CA); ok && v.Authority == store.Users {
			usersCA = v
		}
	}
	for _, test := range []struct {
		name   string
		change func([]store.Row) []store.Row
		want   string
	}{
		{"CA that is no certificate", change(func(v *store.CA) bool { v.Certificate = []byte{1}; return last(v) }), "error: ca cas <ca>: its certificate cannot be parsed"},
		{"CA of which a bit is changed", change(func(v *store.CA) bool { v.Certificate = flip(v.Certificate, -1); return last(v) }), "error: ca cas <ca>: its certificate is not signed by its own key"},
		{"leaf for a CA", change(func(v *store.CA) bool { v.Certificate = other.DER; return last(v) }), "warning: ca cas <ca>: its certificate is not one of a CA"},
		{"CA's times", change(func(v *store.CA) bool { v.NotAfter = v.NotAfter.Add(time.Second); return last(v) }), "error: ca cas <ca>: it is recorded as valid from"},
		{"CA's key identifier", change(func(v *store.CA) bool { v.KeyID = flip(v.KeyID, 0); return last(v) }), "error: ca cas <ca>: its key identifier is"},
		{"CA's key is none", change(func(v *store.CA) bool { v.Key.Ref = []byte("SECRET"); return last(v) }), "error: ca cas <ca>: its private key cannot be parsed"},
		{"CA's key is another's", change(func(v *store.CA) bool { v.Key.Ref = otherKey; return last(v) }), "error: ca cas <ca>: its private key is not that of its certificate"},
		{"CA's key is gone too early", change(func(v *store.CA) bool { v.Key, v.State = store.KeyRef{}, store.CADisowned; return last(v) }), "warning: ca cas <ca>: its private key is gone, although"},
		{"CA twice", change(func(v *store.CA) bool {
			v.Certificate, v.Key, v.KeyID, v.NotBefore, v.NotAfter = before.Certificate, before.Key, before.KeyID, before.NotBefore, before.NotAfter
			return last(v)
		}), "error: ca cas <ca>: it has the key identifier of CA "},
		{"CA of users, too", change(func(v *store.CA) bool { v.KeyID = usersCA.KeyID; return last(v) }), "error: ca cas <ca>: it has the key identifier of a CA of cau"},
		{"CA from before its time", change(func(v *store.CA) bool { v.CreatedAt = v.NotBefore.Add(-2 * day); return last(v) }), "warning: ca cas <ca>: it is said to have been made at"},
		{"certificate from before its time", change(func(v *store.Certificate) bool { v.IssuedAt = time.Unix(0, 0); return signed(v) }), "warning: certificate cas <crt>: it is said to have been issued at 1970"},
		{"certificate of nobody", change(func(v *store.Certificate) bool { v.IssuedBy = ""; return signed(v) }), "error: certificate cas <crt>: it does not say who"},
		{"certificate whose request is gone", change(func(v *store.Certificate) bool { v.CSR = nil; return signed(v) }), "error: certificate cas <crt>: its request is gone"},
		{"certificate without an id", change(func(v *store.Certificate) bool { found := signed(v); v.ID = 0; return found }), "error: certificate cas 0: its id is not"},
		{"CA from the future", change(func(v *store.CA) bool { v.CreatedAt = now.Add(100 * day); return last(v) }), "warning: ca cas <ca>: the time when it was made lies in the future"},
		{"CAs not in the order of age", change(func(v *store.CA) bool { v.CreatedAt = before.CreatedAt.Add(-1000 * day); return last(v) }), "warning: ca cas <ca>: it is older than CA"},
		{"no link", change(func(v *store.CA) bool { v.Link = nil; return last(v) }), "does not vouch for it"},
		{"link is none", change(func(v *store.CA) bool { v.Link = []byte("{}"); return last(v) }), "error: ca cas <ca>: its link cannot be parsed"},
		{"link of another", change(func(v *store.CA) bool { v.Link = before.Link; return last(v) }), "error: ca cas <ca>: its link leads to another certificate"},
		{"link of which a bit is changed", change(func(v *store.CA) bool {
			v.Link = bytes.Replace(v.Link, []byte(`"signature":"`), []byte(`"signature":"AAAA`), 1)
			return last(v)
		}), "error: ca cas <ca>: its link is not signed by CA"},
		{"link that is signed by itself", change(func(v *store.CA) bool { v.Link = relink(before, newest); return last(v) }), "error: ca cas <ca>: its link is not signed by CA"},
		{"link from itself", change(func(v *store.CA) bool { v.Link = relink(newest, newest); return last(v) }), "error: ca cas <ca>: its link starts at a certificate that is not one of an older CA here"},

		{"request that is none", change(func(v *store.Request) bool { v.PEM = []byte("x"); return true }), "error: request cas <csr>: it cannot be parsed"},
		{"request's digest", change(func(v *store.Request) bool { v.Digest = flip(v.Digest, 0); return true }), "error: request cas <csr>: its digest is that of another request"},
		{"request's key identifier", change(func(v *store.Request) bool { v.KeyID = flip(v.KeyID, 0); return true }), "error: request cas <csr>: its key identifier is"},
		{"request's names", change(func(v *store.Request) bool { v.SANs = []string{"DNS:bank.example"}; return true }), "error: request cas <csr>: it asks for other names than are shown"},
		{"request's subject", change(func(v *store.Request) bool { v.Subject = "CN=bank"; return true }), "error: request cas <csr>: it asks for other names than are shown"},
		{"request from the future", change(func(v *store.Request) bool { v.ReceivedAt = now.Add(2 * day); return v.ID == pending.ID }), "lies in the future"},

		{"certificate that is none", change(func(v *store.Certificate) bool { v.DER = []byte{0x30, 0}; return signed(v) }), "error: certificate cas <crt>: it cannot be parsed"},
		{"certificate of which a bit is changed", change(func(v *store.Certificate) bool { v.DER = flip(v.DER, -1); return signed(v) }), "error: certificate cas <crt>: its signature does not verify with CA"},
		{"certificate of another CA", change(func(v *store.Certificate) bool { v.CAID = newest.ID; return signed(v) }), "error: certificate cas <crt>: its authority key identifier is not that of CA"},
		{"certificate of another authority", change(func(v *store.Certificate) bool {
			if signed(v) {
				v.DER = other.DER
				return true
			}
			return false
		}), "error: certificate cas <crt>: its issuer is not CA"},
		{"CA for a certificate", change(func(v *store.Certificate) bool { v.DER = newest.Certificate; return signed(v) }), "error: certificate cas <crt>: it is a certificate of a CA"},
		{"certificate's serial", change(func(v *store.Certificate) bool { v.Serial = big.NewInt(5); return signed(v) }), "error: certificate cas <crt>: it is recorded with serial 0x5, and has"},
		{"certificate's times", change(func(v *store.Certificate) bool { v.NotAfter = v.NotAfter.Add(day); return signed(v) }), "error: certificate cas <crt>: it is recorded as valid from"},
		{"certificate's key identifier", change(func(v *store.Certificate) bool { v.KeyID = flip(v.KeyID, 0); return signed(v) }), "error: certificate cas <crt>: its key identifier is"},
		{"certificate's names", change(func(v *store.Certificate) bool { v.SANs = nil; return signed(v) }), "error: certificate cas <crt>: it has other names than are shown"},
		{"certificate's request is none", change(func(v *store.Certificate) bool { v.CSR = []byte("x"); return signed(v) }), "error: certificate cas <crt>: its request cannot be parsed"},
		{"certificate's request is another's", change(func(v *store.Certificate) bool { v.CSR = pending.PEM; return signed(v) }), "error: certificate cas <crt>: its request has another digest"},
		{"certificate's request is for another key", change(func(v *store.Certificate) bool { v.CSR, v.CSRDigest = pending.PEM, pending.Digest; return signed(v) }), "error: certificate cas <crt>: its request is for another key"},
		{"certificate's method", change(func(v *store.Certificate) bool {
			v.Method = "magic"
			return v.Method != "" && v.Authority == store.Services
		}), `warning: certificate cas <crt>: this version does not know the way "magic"`},
		{"certificate from the future", change(func(v *store.Certificate) bool { v.IssuedAt = now.Add(2 * day); return signed(v) }), "warning: certificate cas <crt>: when it was issued lies in the future"},

		{"list of which a bit is changed", change(func(v *store.CRL) bool { v.Signature = flip(v.Signature, -1); return current(v) }), "error: crl cas of ca <ca>: its signature is not one of CA"},
		{"list with another time", change(func(v *store.CRL) bool { v.NextUpdate = v.NextUpdate.Add(time.Second); return current(v) }), "error: crl cas of ca <ca>: its signature is not one of CA"},
		{"list with a number to come", change(func(v *store.CRL) bool { v.Number++; return current(v) }), "error: crl cas of ca <ca>: its number is"},
		{"list that was pruned more often", change(func(v *store.CRL) bool { v.Pruned++; return current(v) }), "error: crl cas of ca <ca>: 1 batches"},
		{"list that ends early", change(func(v *store.CRL) bool { v.NextUpdate = v.ThisUpdate; return current(v) }), "error: crl cas of ca <ca>: it ends at"},
		{"list that lacks a revocation", drop(func(v store.Revocation) bool { return v.Authority == store.Services && v.Seq == 3 }), "error: crl cas of ca <ca>: its signature is not one of CA"},
		{"list that lists too much", insert(func(row store.Row) bool { _, ok := row.(store.Counter); return ok },
			store.Revocation{Authority: store.Services, Seq: 99, Serial: big.NewInt(3), RevokedAt: now, KeepUntil: now}), "error: crl cas of ca <ca>: its signature is not one of CA"},

		{"revocation of another key", change(func(v *store.Revocation) bool { v.KeyID = flip(v.KeyID, 0); return v.Authority == store.Services }), "error: revocation cas 1: it names another key than certificate"},
		{"revocation of a compromised key without it", change(func(v *store.Revocation) bool { v.KeyID, v.Reason = nil, 1; return v.Authority == store.Services }), "warning: revocation cas 1: it does not name the compromised key"},
		{"revocation that ends early", change(func(v *store.Revocation) bool {
			v.KeepUntil = v.RevokedAt.Add(day)
			return v.Authority == store.Services
		}), "error: revocation cas 1: it is kept until"},
		{"revocation that ends before", change(func(v *store.Revocation) bool {
			v.KeepUntil = v.RevokedAt.Add(-day)
			return v.Authority == store.Services
		}), "warning: revocation cas 1: it is kept until"},
		{"revocation from the future", change(func(v *store.Revocation) bool { v.RevokedAt = now.Add(2 * day); return v.Authority == store.Services }), "warning: revocation cas 1: its time lies in the future"},
		{"revocation for no reason", change(func(v *store.Revocation) bool { v.Reason = 7; return v.Authority == store.Services }), "error: revocation cas 1: there is no reason 7"},

		{"negative counter", change(func(v *store.Counter) bool {
			v.Value = -1
			return v.Name == store.CounterPruned || v.Name == store.CounterCA
		}), "it is negative: -1"},
		{"unknown counter", change(func(v *store.Counter) bool { v.Name = "aaa"; return v.Authority == store.Services }), "warning: counter cas aaa: this version does not know it"},
		{"list number that went back", change(func(v *store.Counter) bool {
			v.Value--
			return v.Authority == store.Services && v.Name == store.CounterCRLNumber
		}), "error: crl cas of ca <ca>: its number is"},
		{"CAs that were not counted", change(func(v *store.Counter) bool {
			v.Value = 1
			return v.Authority == store.Services && v.Name == store.CounterCA
		}), "error: authority cas: counter ca is 1, and there are"},
		{"requests that were not counted", change(func(v *store.Counter) bool {
			v.Value = 1
			return v.Authority == store.Services && v.Name == store.CounterReceivedCSR
		}), "error: authority cas: counter received_csr is 1, and 8 requests are pending"},
		{"signed requests that were not counted", change(func(v *store.Counter) bool {
			v.Value--
			return v.Authority == store.Services && v.Name == store.CounterReceivedCSR
		}), "warning: authority cas: counter received_csr is 31, and there are 32 requests"},

		{"setting that is no number", setting(store.SettingAutoApprove, "many"), `error: setting cau auto_approve_count: "many" is not`},
		{"setting of a restore", setting(store.SettingRestored, "{}"), "says nothing of a restore"},
		{"setting that is negative", setting(store.SettingAutoApprove, "-1"), "is not a number of requests"},
		{"setting that is no place for keys", setting(store.SettingKeyPlace, "pkcs11:object=x"), "no new CA key can be made"},
		{"setting that is no type of key", setting(store.SettingNextKeyType, "dsa"), "is not a type of key"},
		{"setting that is no revocation list", setting(store.SettingExternalCRL+"aa", "MAA="), "error: setting cau external_crl/aa: it is not a revocation list: "},
		{"setting that is no time", change(func(v *store.Setting) bool {
			v.Value = "now"
			return v.Name == store.SettingStrictFollower && v.Authority == store.Users
		}), `error: setting cau strict_follower: "now" is not a time: no new CA certificate can be made`},
		{"unknown setting", setting("x", "y"), "warning: setting cau x: this version does not know it"},

		{"entry from the future", change(func(v *store.AuditEntry) bool { v.Time = now.Add(2 * day); return v.Seq == 5 }), "warning: audit 5: its time lies in the future"},
		{"entry of no authority", change(func(v *store.AuditEntry) bool { v.Authority = "nsa"; return v.Seq == 5 }), `error: audit 5: there is no authority "nsa"`},
		{"entry of nobody", change(func(v *store.AuditEntry) bool { v.Actor = audit.Actor{}; return v.Seq == 5 }), "error: audit 5: it does not say who did what"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newStore(t)
			rows := test.change(slices.Clone(good))
			load(t, s, rows)
			found, checked := check(t, s, now)
			want := strings.NewReplacer("<ca>", fmt.Sprint(newest.ID), "<csr>", fmt.Sprint(firstCSR), "<crt>", fmt.Sprint(firstCRT)).Replace(test.want)
			match := func(f string) bool { return strings.Contains(f, want) }
			if !slices.ContainsFunc(found, match) {
				t.Errorf("found %q\nwant %q", found, want)
			}
			if checked.Errors+checked.Warnings != int64(len(found)) || len(found) > 30 {
				t.Errorf("%d errors, %d warnings, %d findings: %q", checked.Errors, checked.Warnings, len(found), found)
			}
			if strings.Contains(strings.Join(found, "\n"), "SECRET") {
				t.Error("a key is shown")
			}
		})
	}
}

// An old list cannot be verified, and has not to be: the next one is due.
func TestCheckOldList(t *testing.T) {
	source := newStore(t)
	now := live(t, source)
	rows := change(func(v *store.Counter) bool {
		v.Value += 1000
		return v.Authority == store.Services && v.Name == store.CounterCRLNumber
	})(rowsOf(t, source))
	s := newStore(t)
	load(t, s, rows)
	if found, _ := check(t, s, now); len(found) > 0 {
		t.Errorf("%q", found)
	}
}

func TestCheckEnds(t *testing.T) {
	s := newStore(t)
	now := live(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	n := 0
	_, err := Check(ctx, s, now, func(Finding) {}, func(string, string, int64) {
		if n++; n == 20 {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// setting gives the key type that is set of users another name and value.
func setting(name, value string) func([]store.Row) []store.Row {
	return change(func(v *store.Setting) bool {
		if v.Authority != store.Users || v.Name != store.SettingNextKeyType {
			return false
		}
		v.Name, v.Value = name, value
		return true
	})
}
