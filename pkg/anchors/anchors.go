// Package anchors puts CA certificates into the trust stores of a machine, and takes them out again: those of Debian, of Red Hat and
// its relatives, of Java, and of NSS. It does so by the tools that maintain these stores, which also keep what is derived from them.
//
// What is ours says so in its name, with the authority, the CA and the certificate that it is about. Nothing else is touched.
package anchors

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"regexp"
	"slices"
	"strings"
)

// An Owner is an authority of a CA, whose certificates are in stores.
type Owner struct{ CA, Authority string }

const prefix = "cauase-"

// NameOf is what a certificate of the owner is called in stores: a file, an alias, a nickname.
func (o Owner) NameOf(crt *x509.Certificate) string {
	return o.prefix() + idOf(crt)
}

func (o Owner) prefix() string { return prefix + o.Authority + "@" + plain(o.CA) + "-" }

// plain leaves of an address what every store takes in a name.
func plain(address string) string {
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune("abcdefghijklmnopqrstuvwxyz0123456789.-", r) {
			return r
		}
		return '_'
	}, strings.ToLower(address))
}

func idOf(crt *x509.Certificate) string {
	sum := sha256.Sum256(crt.Raw)
	return hex.EncodeToString(sum[:8])
}

var ours = regexp.MustCompile(`^cauase-[a-z0-9-]+@[a-z0-9._-]+-[0-9a-f]{16}$`)

// IsOurs reports whether a name in a store is one that NameOf has made.
func IsOurs(name string) bool { return ours.MatchString(name) }

// Owns reports whether it is one of the owner's.
func (o Owner) Owns(name string) bool {
	id, found := strings.CutPrefix(name, o.prefix())
	return found && IsOurs(name) && len(id) == 16
}

// An Entry is a certificate in a store.
type Entry struct {
	Name string
	Crt  *x509.Certificate // nil if what is there is not the certificate that the name says
}

// A Store is a place where programs find which CAs to trust.
type Store interface {
	Kind() string  // debian, redhat, java or nss
	Place() string // file or folder

	// Check reports why the store could not be changed by who asks, such as ErrRoot.
	Check() error

	// List returns what of the store is ours.
	List(context.Context) ([]Entry, error)

	// Apply makes a change. If it fails, as much as possible is as it was.
	Apply(context.Context, Change) error
}

// A Change is what has to be done to a store.
type Change struct {
	Add    []Entry
	Remove []Entry
	Keep   []Entry
}

// Empty reports whether there is nothing to be done.
func (c Change) Empty() bool { return len(c.Add)+len(c.Remove) == 0 }

// replaces reports whether something new is going to have the name of an entry that goes.
func (c Change) replaces(old Entry) bool {
	return slices.ContainsFunc(c.Add, func(e Entry) bool { return e.Name == old.Name })
}

// gone are the names that there will be no more.
func (c Change) gone() (all []string) {
	for _, entry := range c.Remove {
		if !c.replaces(entry) {
			all = append(all, entry.Name)
		}
	}
	return all
}

// Plan decides what has to be done so that of the owner exactly these certificates are in a store. What of the owner is not among them, as
// it has expired or is no longer trusted, goes.
func (o Owner) Plan(there []Entry, wanted []*x509.Certificate) (c Change) {
	for _, crt := range wanted {
		entry := Entry{Name: o.NameOf(crt), Crt: crt}
		same := func(e Entry) bool { return e.Crt != nil && e.Crt.Equal(crt) }
		if slices.ContainsFunc(c.Add, same) || slices.ContainsFunc(c.Keep, same) {
			continue
		}
		// Also as that of another owner, such as of the same CA by another address.
		if i := slices.IndexFunc(there, same); i >= 0 {
			c.Keep = append(c.Keep, there[i])
		} else {
			c.Add = append(c.Add, entry)
		}
	}
	for _, entry := range there {
		if o.Owns(entry.Name) && !slices.ContainsFunc(c.Keep, func(e Entry) bool { return e.Name == entry.Name }) {
			c.Remove = append(c.Remove, entry)
		}
	}
	return c
}

// PlanRemoval decides what has to be done so that nothing that is mine is in a store.
func PlanRemoval(there []Entry, mine func(Entry) bool) (c Change) {
	for _, entry := range there {
		if mine(entry) {
			c.Remove = append(c.Remove, entry)
		}
	}
	return c
}
