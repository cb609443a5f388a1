package ca

import (
	"context"
	"slices"
	"strings"
	"time"

	"cauase/pkg/store"
)

const (
	// maxNamesakes bounds how many certificates with the names of a request are told of.
	maxNamesakes = 5
	// maxNamesLooked bounds how many names of a request are looked up.
	maxNamesLooked = 20
)

// A Namesake is a lineage that goes on, with a valid certificate, for a name that a request asks for.
type Namesake struct {
	Lineage  int64
	Subject  string
	NotAfter time.Time // of the certificate that is valid longest
}

// Namesakes returns who has the names of requests already, for whoever is about to sign these: lineages with the same subject, or
// with a common name alone that is one of the alternative names. Subjects are what is indexed.
func (a *Authority) Namesakes(ctx context.Context, names [][]string) ([][]Namesake, error) {
	now := a.clock.Now()
	found := make([][]Namesake, len(names))
	err := a.store.View(ctx, func(r store.Reader) error {
		for i, subjects := range names {
			found[i] = nil
			for _, subject := range subjects[:min(len(subjects), maxNamesLooked)] {
				if len(found[i]) == maxNamesakes {
					break
				}
				lineages, err := r.LineagesNamed(ctx, a.name, subject, now, maxNamesakes-len(found[i]))
				if err != nil {
					return err
				}
				for _, l := range lineages {
					found[i] = append(found[i], Namesake{Lineage: l.ID, Subject: l.Subject, NotAfter: l.NotAfter})
				}
			}
		}
		return nil
	})
	return found, err
}

// subjectsFor are the subjects under which the names of a request may be known.
func subjectsFor(subject string, sans []string) (subjects []string) {
	if subject != "" {
		subjects = append(subjects, subject)
	}
	for _, san := range sans {
		kind, name, _ := strings.Cut(san, ":")
		if cn := "CN=" + name; (kind == "DNS" || kind == "IP" || kind == "email") && !slices.Contains(subjects, cn) {
			subjects = append(subjects, cn)
		}
	}
	return subjects
}
