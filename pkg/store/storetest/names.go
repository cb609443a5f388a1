package storetest

import (
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"

	"cauase/pkg/store"
)

// A general name is one of a SubjectAltName extension: tag and content.
type general struct {
	tag     int
	content string
}

func dnsName(name string) general { return general{2, name} }

// certificateOf makes a certificate with names of which crypto/x509 would not make all.
func certificateOf(t *testing.T, cn string, names ...general) []byte {
	t.Helper()
	var raw []asn1.RawValue
	for _, n := range names {
		raw = append(raw, asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: n.tag, Bytes: []byte(n.content)})
	}
	san, err := asn1.Marshal(raw)
	if err != nil {
		t.Fatal(err)
	}
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: cn},
		ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Value: san}}}
	der, err := x509.CreateCertificate(nil, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// newNames makes names of a lineage, of which the first is its own, and the others are those of all.
func newNames(n int) []store.Name {
	own := fmt.Sprintf("h%d.web.example", n)
	return []store.Name{
		{Kind: "CN", Text: own, Under: "web.example"}, {Kind: "DNS", Text: own, Under: "web.example"},
		{Kind: "DNS", Text: "shared.example", Under: "example"}, {Kind: "IP", Text: "192.0.2.7"},
	}
}

// namedBy returns the ids and kinds of what is found.
func namedBy(found []store.Named) (all []string) {
	for _, n := range found {
		all = append(all, fmt.Sprint(n.Lineage-1<<61, " ", n.Kind, " ", n.Text))
	}
	slices.Sort(all)
	return all
}

func testNames(t *testing.T, d *db) {
	d.update(func(ctx context.Context, tx store.Tx) error {
		wildcard, nameless := newLineage(store.Services, 4), newLineage(store.Services, 5)
		return errors.Join(
			tx.AddLineage(ctx, newLineage(store.Services, 1), newNames(1)),
			tx.AddLineage(ctx, newLineage(store.Services, 3), newNames(3)),
			tx.AddLineage(ctx, newLineage(store.Users, 2), newNames(2)),
			tx.AddLineage(ctx, wildcard, []store.Name{{Kind: "DNS", Text: "*.web.example", Under: "web.example"}}),
			tx.AddLineage(ctx, nameless, []store.Name{}))
	})
	d.update(func(ctx context.Context, tx store.Tx) error { // which does not lose them
		l := newLineage(store.Services, 1)
		l.Renewals++
		is(t, "a lineage twice", tx.AddLineage(ctx, l, newNames(9)), store.ErrExists)
		return tx.PutLineage(ctx, l)
	})
	d.view(func(ctx context.Context, r store.Reader) error {
		for _, test := range []struct {
			what  string
			by    func(context.Context, store.AuthorityName, string, int) ([]store.Named, error)
			text  string
			limit int
			want  []string
		}{
			{"a name", r.LineagesNamed, "h1.web.example", 10, []string{"1 CN h1.web.example", "1 DNS h1.web.example"}},
			{"a name of several", r.LineagesNamed, "shared.example", 10, []string{"1 DNS shared.example", "3 DNS shared.example"}},
			{"the youngest", r.LineagesNamed, "shared.example", 1, []string{"3 DNS shared.example"}},
			{"none", r.LineagesNamed, "shared.example", 0, nil},
			{"of another authority", r.LineagesNamed, "h2.web.example", 10, nil},
			{"in another form", r.LineagesNamed, "H1.web.example", 10, nil},
			{"an empty one", r.LineagesNamed, "", 10, nil},
			{"a domain", r.LineagesUnder, "web.example", 10, []string{
				"1 CN h1.web.example", "1 DNS h1.web.example", "3 CN h3.web.example", "3 DNS h3.web.example", "4 DNS *.web.example"}},
			{"the youngest of a domain", r.LineagesUnder, "web.example", 1, []string{"4 DNS *.web.example"}},
			{"of no domain", r.LineagesUnder, "", 10, nil},
		} {
			found, err := test.by(ctx, store.Services, test.text, test.limit)
			if err != nil {
				return err
			}
			same(t, test.what, namedBy(found), test.want)
		}
		found, err := r.LineagesNamed(ctx, store.Users, "192.0.2.7", 10)
		l := newLineage(store.Users, 2)
		same(t, "what is said of it", found, []store.Named{{Name: newNames(2)[3], Lineage: l.ID, Subject: l.Subject, State: l.State, NotAfter: l.NotAfter}})
		if err != nil {
			return err
		}
		names, err := r.LineageNames(ctx, store.Services, 1<<61+1)
		same(t, "names of a lineage", names, newNames(1))
		if err != nil {
			return err
		}
		unnamed, err := r.Unnamed(ctx)
		same(t, "unnamed", unnamed, false)
		return err
	})
}

// A lineage that has very many names gets all of them.
func testManyNames(t *testing.T, d *db) {
	var names []store.Name
	for n := range 700 {
		names = append(names, store.Name{Kind: "DNS", Text: fmt.Sprintf("h%03d.%s.example", n, strings.Repeat("x", 60)), Under: "example"})
	}
	d.update(func(ctx context.Context, tx store.Tx) error {
		return tx.AddLineage(ctx, newLineage(store.Services, 1), names)
	})
	d.view(func(ctx context.Context, r store.Reader) error {
		got, err := r.LineageNames(ctx, store.Services, 1<<61+1)
		same(t, "names", got, names)
		return err
	})
}

// Names that are not known are found out by certificates, also such that crypto/x509 refuses, a few lineages at a time.
func testNameLineages(t *testing.T, d *db) {
	ca := d.ca(store.Services)
	add := func(n int, ders ...[]byte) {
		d.update(func(ctx context.Context, tx store.Tx) error {
			if err := tx.AddLineage(ctx, newLineage(store.Services, n), nil); err != nil {
				return err
			}
			for i, der := range ders {
				crt := newCertificate(store.Services, ca, 100*n+i)
				crt.Lineage, crt.DER, crt.Subject = 1<<61+int64(n), der, fmt.Sprint("CN=", i)
				if err := tx.AddCertificate(ctx, crt); err != nil {
					return err
				}
			}
			return nil
		})
	}
	add(1, certificateOf(t, "web", dnsName("Web.example")))
	add(2, certificateOf(t, "other", dnsName("web.example.")), certificateOf(t, "other", dnsName("more.example")))
	add(3, certificateOf(t, "network", general{7, "\xc0\x00\x02\x00\xff\xff\xff\x00"}))
	add(4, []byte{0x30, 0})
	add(5)
	d.update(func(ctx context.Context, tx store.Tx) error {
		return tx.AddLineage(ctx, newLineage(store.Services, 6), newNames(6))
	})
	var counts []int
	for len(counts) < 10 {
		var unnamed bool
		d.view(func(ctx context.Context, r store.Reader) (err error) { unnamed, err = r.Unnamed(ctx); return err })
		if !unnamed {
			break
		}
		d.update(func(ctx context.Context, tx store.Tx) error {
			n, err := tx.NameLineages(ctx, 2)
			counts = append(counts, n)
			return err
		})
	}
	same(t, "batches", counts, []int{2, 2, 1})
	d.update(func(ctx context.Context, tx store.Tx) error {
		n, err := tx.NameLineages(ctx, 2)
		same(t, "once more", n, 0)
		return err
	})
	d.view(func(ctx context.Context, r store.Reader) error {
		for text, want := range map[string][]string{
			"web.example":  {"1 DNS web.example", "2 DNS web.example"},
			"more.example": {"2 DNS more.example"},
			"other":        {"2 CN other"},
			"192.0.2.0/24": {"3 IP 192.0.2.0/24"},
			"network":      {"3 CN network"},
		} {
			found, err := r.LineagesNamed(ctx, store.Services, text, 10)
			if err != nil {
				return err
			}
			same(t, text, namedBy(found), want)
		}
		names, err := r.LineageNames(ctx, store.Services, 1<<61+6)
		same(t, "names that were known", names, newNames(6))
		return err
	})
}

// Names go with their lineage.
func testPruneNames(t *testing.T, d *db) {
	ca := d.ca(store.Services)
	d.update(func(ctx context.Context, tx store.Tx) error {
		for _, n := range []int{1, 200} {
			crt := newCertificate(store.Services, ca, n)
			if err := errors.Join(tx.AddLineage(ctx, newLineage(store.Services, n), newNames(n)), tx.AddCertificate(ctx, crt)); err != nil {
				return err
			}
		}
		n, err := tx.PruneCertificates(ctx, store.Services, day(150), 10)
		same(t, "pruned", n, 1)
		return err
	})
	d.view(func(ctx context.Context, r store.Reader) error {
		found, err := r.LineagesNamed(ctx, store.Services, "shared.example", 10)
		same(t, "lineages that are left", namedBy(found), []string{"200 DNS shared.example"})
		if err != nil {
			return err
		}
		names, err := r.LineageNames(ctx, store.Services, 1<<61+1)
		same(t, "names of the one that is gone", len(names), 0)
		return err
	})
}

// Rows say nothing of names: a store that is loaded finds them out.
func testLoadNames(t *testing.T, d *db) {
	ca := d.ca(store.Services)
	d.update(func(ctx context.Context, tx store.Tx) error {
		for n := 1; n <= 3; n++ {
			crt := newCertificate(store.Services, ca, n)
			crt.DER = certificateOf(t, fmt.Sprint("host ", n), dnsName("shared.example"))
			names := []store.Name{{Kind: "CN", Text: fmt.Sprint("host ", n)}, {Kind: "DNS", Text: "shared.example", Under: "example"}}
			if err := errors.Join(tx.AddLineage(ctx, newLineage(store.Services, n), names), tx.AddCertificate(ctx, crt)); err != nil {
				return err
			}
		}
		return nil
	})
	to := d.another()
	if err := to.load(all(d.rows(), nil)); err != nil {
		t.Fatal(err)
	}
	for _, s := range []*db{d, to} {
		s.view(func(ctx context.Context, r store.Reader) error {
			found, err := r.LineagesNamed(ctx, store.Services, "shared.example", 10)
			same(t, "lineages", namedBy(found), []string{"1 DNS shared.example", "2 DNS shared.example", "3 DNS shared.example"})
			if err != nil {
				return err
			}
			names, err := r.LineageNames(ctx, store.Services, 1<<61+2)
			same(t, "names", names, []store.Name{{Kind: "CN", Text: "host 2"}, {Kind: "DNS", Text: "shared.example", Under: "example"}})
			if err != nil {
				return err
			}
			unnamed, err := r.Unnamed(ctx)
			same(t, "unnamed", unnamed, false)
			return err
		})
	}
}
