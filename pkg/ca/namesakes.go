package ca

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"cauase/pkg/pki"
	"cauase/pkg/store"
)

const (
	// maxNamesakes bounds how many certificates with the names of a request are told of.
	maxNamesakes = 5
	// maxNamesLooked bounds how many names of a request are looked up.
	maxNamesLooked = 20
	// maxLineagesLooked bounds how many lineages are looked at for each of them. Those that were made last are most likely to go on.
	maxLineagesLooked = 100
)

// A Namesake is a lineage that goes on, with a valid certificate, for a name that a request asks for.
type Namesake struct {
	Lineage  int64
	Subject  string
	Name     string    // that the certificate has: the one that is asked for, or one of which either is a wildcard that covers the other
	NotAfter time.Time // of the certificate that is valid longest
}

// Namesakes are those of one request.
type Namesakes struct {
	List []Namesake // that are valid longest, at most maxNamesakes
	More bool       // there are more, or not all names and lineages that could be were looked at
}

// NamesOf returns the names in a certificate, for the lineage that it begins.
func NamesOf(der []byte) []store.Name { return storeNames(pki.NamesOfIssued(der)) }

// storeNames is never nil, which would mean that they are not known.
func storeNames(names []pki.CanonicalName) []store.Name {
	out := make([]store.Name, len(names))
	for i, n := range names {
		out[i] = store.Name(n)
	}
	return out
}

// Namesakes returns who has the names of requests already, for whoever is about to sign these.
func (a *Authority) Namesakes(ctx context.Context, requests []Submitted) ([]Namesakes, error) {
	now := a.clock.Now()
	names := make([][]store.Name, len(requests))
	for i, r := range requests {
		if req, err := pki.ParseRequest(r.Text); err == nil { // one that cannot be parsed is not signed either
			names[i] = storeNames(pki.CanonicalNames(req.CSR.RawSubject, req.CSR.Extensions))
		}
	}
	found := make([]Namesakes, len(requests))
	err := a.store.View(ctx, func(r store.Reader) error {
		for i, asked := range names {
			looked := asked[:min(len(asked), maxNamesLooked)]
			if err := store.Prefetch(ctx, r, func(r store.Reader) { _, _, _ = a.named(ctx, r, looked) }); err != nil {
				return err
			}
			all, more, err := a.named(ctx, r, looked)
			if err != nil {
				return err
			}
			found[i] = namesakesAmong(all, now)
			found[i].More = found[i].More || more || len(looked) < len(asked)
		}
		return nil
	})
	return found, err
}

// named returns the lineages that have one of the names, or one that covers it or is covered by it, and whether there may be more.
func (a *Authority) named(ctx context.Context, r store.Reader, names []store.Name) (all []store.Named, more bool, err error) {
	seen := map[string]bool{}
	look := func(text string, by func(context.Context, store.AuthorityName, string, int) ([]store.Named, error)) {
		if err != nil || seen[text] {
			return
		}
		seen[text] = true
		var some []store.Named
		some, err = by(ctx, a.name, text, maxLineagesLooked)
		all = append(all, some...)
		more = more || len(some) == maxLineagesLooked
	}
	for _, n := range names {
		look(n.Text, r.LineagesNamed)
		switch {
		case n.Under == "":
		case strings.HasPrefix(n.Text, "*."):
			look("under "+n.Under, func(ctx context.Context, a store.AuthorityName, _ string, limit int) ([]store.Named, error) {
				return r.LineagesUnder(ctx, a, n.Under, limit)
			})
		default:
			look("*."+n.Under, r.LineagesNamed)
		}
	}
	return all, more, err
}

// namesakesAmong are the lineages that go on, each once.
func namesakesAmong(all []store.Named, now time.Time) (found Namesakes) {
	seen := map[int64]bool{}
	for _, n := range all {
		if n.State != store.LineageActive || n.NotAfter.Before(now) || seen[n.Lineage] {
			continue
		}
		seen[n.Lineage] = true
		found.List = append(found.List, Namesake{Lineage: n.Lineage, Subject: n.Subject, Name: n.Text, NotAfter: n.NotAfter})
	}
	slices.SortFunc(found.List, func(x, y Namesake) int {
		return cmp.Or(y.NotAfter.Compare(x.NotAfter), cmp.Compare(x.Lineage, y.Lineage))
	})
	if len(found.List) > maxNamesakes {
		found.List, found.More = found.List[:maxNamesakes], true
	}
	return found
}

// nameBatch bounds of how many lineages the names are found out in one transaction, and so how long others wait for it.
const nameBatch = 500

// nameLineages finds out the names of lineages that daemons of versions before have made: those know of none.
func (d *Directory) nameLineages(ctx context.Context) error {
	for {
		var there bool
		err := d.store.View(ctx, func(r store.Reader) (err error) {
			there, err = r.Unnamed(ctx)
			return err
		})
		if err != nil || !there {
			return err
		}
		err = d.store.Update(ctx, func(tx store.Tx) error {
			_, err := tx.NameLineages(ctx, nameBatch)
			return err
		})
		if err != nil {
			return err
		}
	}
}
