package policy

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/net/publicsuffix"
)

// A Warning is about a rule that can be read, and is not what somebody would want.
type Warning struct {
	Index int    // of the rule, from 0
	Rule  string // its name
	Field string // that it is about; empty: the whole rule
	Text  string
}

func (w Warning) String() string {
	where := w.Rule
	if w.Field != "" {
		where += "." + w.Field
	}
	return where + ": " + w.Text
}

// Surroundings are what rules refer to. What is nil is not known, and nothing is said about it.
type Surroundings struct {
	Authorities []string // that there are, and that can be named as issuers of certificates shown, too
	Issuers     []string // of certificates shown, beside those
	Users       []string // those of them that certify users
	Profiles    []string
	Daemon      []string // names of the daemon itself
}

// Warnings looks for rules that never match, and for those that give away more than they seem to.
func (s *Set) Warnings(in Surroundings) (all []Warning) {
	if s == nil {
		return nil
	}
	for i, r := range s.rules {
		warn := func(field, format string, args ...any) {
			all = append(all, Warning{i, r.name, field, fmt.Sprintf(format, args...)})
		}
		if by := s.shadowOf(i, in, false); by != nil {
			warn("", "can never match: every request that it is about is decided by rule %s before", by.name)
		} else if by := s.shadowOf(i, in, true); by != nil {
			warn("", "comes too late: a request for its names and no others is decided by rule %s before", by.name)
		}
		r.unknown(in, warn)
		for _, p := range r.names {
			if r.decision == Approve && p.neverApproves() {
				warn("names", "%s can never match: each name that it stands for is a public suffix, which only a pattern that spells it approves", p.shown)
			}
		}
		if r.approvals > 1 && len(in.Users) > 0 && !s.severalFor(in.Users) {
			warn("approvals", "users can certify users, and nobody has to agree: a user who makes another one approves twice. Have a rule for authority %q ask for several, too", in.Users[0])
		}
		if r.decision != Approve {
			continue
		}
		for _, users := range in.Users {
			if slices.Contains(r.authorities, users) {
				warn("authority", "approves users, who administer the daemon, without anybody's looking at them")
			}
		}
		if r.names == nil {
			warn("names", "are not limited: the rule approves any name, for whoever it is about")
		}
		if slices.Contains(r.frontEnds, "signing") && r.clients != nil {
			warn("client", "is what whoever asks by way of signing says, and no proof")
		}
	}
	return all
}

// severalFor reports whether a rule has several users approve new users.
func (s *Set) severalFor(users []string) bool {
	return slices.ContainsFunc(s.rules, func(r *rule) bool {
		return r.approvals > 1 && (r.authorities == nil && r.names == nil || within(users, r.authorities) && r.authorities != nil)
	})
}

// unknown warns of what a rule refers to and is not there.
func (r *rule) unknown(in Surroundings, warn func(field, format string, args ...any)) {
	for _, of := range []struct {
		field       string
		names, have []string
		what        string
	}{
		{"authority", r.authorities, in.Authorities, "there is no authority %q"},
		{"profile", r.profiles, in.Profiles, "there is no profile %q"},
		{"certificate", r.certificate, both(in.Authorities, in.Issuers), "there is no authority %q whose certificates could be shown"},
	} {
		if of.have == nil || of.names == nil {
			continue
		}
		missing := slices.DeleteFunc(slices.Clone(of.names), func(name string) bool { return slices.Contains(of.have, name) })
		for _, name := range missing {
			if len(missing) == len(of.names) {
				warn(of.field, of.what+": the rule can never match", name)
				continue
			}
			warn(of.field, of.what, name)
		}
	}
}

func both(a, b []string) []string {
	if a == nil {
		return nil
	}
	return slices.Concat(a, b)
}

// neverApproves reports whether a pattern stands for public suffixes only.
func (p *pattern) neverApproves() bool {
	if p.kind != KindDNS || p.literal || p.holds != "" {
		return false
	}
	if len(p.labels) == 1 {
		return true
	}
	if slices.Contains(p.labels[1:], "*") || p.labels[0] != "*" {
		return false
	}
	// As with *.ck: a name that nobody has is a public suffix all the same.
	name := "a-name-that-nobody-has." + strings.Join(p.labels[1:], ".")
	found, _ := publicsuffix.PublicSuffix(name)
	return found == name
}

// shadowOf returns an earlier rule that matches whenever rule i does, nil if there is none; roughly: but for requests that have other names
// beside, and for names that have to be spelled.
func (s *Set) shadowOf(i int, in Surroundings, roughly bool) *rule {
	for _, earlier := range s.rules[:i] {
		if earlier.covers(s.rules[i], in, roughly) {
			return earlier
		}
	}
	return nil
}

// covers reports whether r matches whatever other matches. It may miss that it does, and is never wrong if it says so.
func (r *rule) covers(other *rule, in Surroundings, roughly bool) bool {
	aboutUsers := func(name string) bool { return in.Users == nil || slices.Contains(in.Users, name) }
	switch {
	case !within(other.authorities, r.authorities), !within(other.profiles, r.profiles), !within(other.frontEnds, r.frontEnds),
		!within(other.clients, r.clients), !within(other.certificate, r.certificate), r.ssh && !other.ssh, r.invitation && !other.invitation:
		return false
	case r.decision == Approve && r.authorities == nil && slices.ContainsFunc(other.authorities, aboutUsers),
		r.decision == Approve && r.authorities == nil && other.authorities == nil && other.decision != Approve && !roughly:
		return false // what approves says nothing about users unless it names their authority
	case r.keys != nil && !r.coversKeys(other), r.from != nil && !coversNetworks(r.from, other.from):
		return false
	case r.certificateNames != nil && !coversAll(r.certificateNames, other.certificateNames, nil, true):
		return false
	}
	return r.coversNames(other, in.Daemon, roughly)
}

// within reports whether every value that is in the first list, or any if that is nil, is in the second.
func within(list, in []string) bool {
	if in == nil {
		return true
	}
	return list != nil && !slices.ContainsFunc(list, func(s string) bool { return !slices.Contains(in, s) })
}

func (r *rule) coversKeys(other *rule) bool {
	return other.keys != nil && !slices.ContainsFunc(other.keys, func(key string) bool { return !r.isKey(key) })
}

func coversNetworks(wide, narrow []netip.Prefix) bool {
	return narrow != nil && !slices.ContainsFunc(narrow, func(n netip.Prefix) bool {
		return !slices.ContainsFunc(wide, func(w netip.Prefix) bool { return w.Bits() <= n.Bits() && w.Contains(n.Addr()) })
	})
}

func (r *rule) coversNames(other *rule, daemon []string, roughly bool) bool {
	spelled := r.decision == Approve // some names have to be, and whatever stands for many does not match them
	switch {
	case r.names == nil && (!spelled || roughly):
		return true
	case r.names == nil:
		return other.decision == Approve && !slices.ContainsFunc(other.names, func(p pattern) bool { return p.literal })
	case other.names == nil, r.all && !other.all && !roughly, spelled && other.decision != Approve && !roughly:
		return false
	}
	return coversAll(r.names, other.names, daemon, spelled)
}

// coversAll reports whether each of the narrow patterns stands for nothing but what one of the wide ones does.
func coversAll(wide, narrow []pattern, daemon []string, approving bool) bool {
	if narrow == nil {
		return false
	}
	for i := range narrow {
		if !slices.ContainsFunc(wide, func(w pattern) bool { return w.covers(&narrow[i], daemon, approving) }) {
			return false
		}
	}
	return true
}

// covers reports whether p matches whatever q does.
func (p *pattern) covers(q *pattern, daemon []string, approving bool) bool {
	switch {
	case p.shown == q.shown:
		return true
	case p.kind != q.kind, p.holds != "", q.holds != "", p.literal:
		return false
	}
	switch p.kind {
	case KindDNS, KindEmail:
		if p.kind == KindEmail && p.mailbox != q.mailbox && p.mailbox != "*" || len(p.labels) != len(q.labels) {
			return false
		}
		if approving && q.literal && p.kind == KindDNS {
			t := newTarget(Name{KindDNS, strings.Join(q.labels, ".")}, daemon)
			if t.special != "" {
				return false
			}
		}
		for i, label := range q.labels {
			if p.labels[i] != label && p.labels[i] != "*" {
				return false
			}
		}
		return true
	case KindIP:
		return p.network.Bits() <= q.network.Bits() && p.network.Contains(q.network.Addr()) && !(approving && q.literal)
	}
	return false
}
