package policy

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/net/publicsuffix"

	"cauase/pkg/pki"
)

// A target is a requested name, taken apart once for all patterns.
type target struct {
	Name
	labels  []string   // of what is, or reads as, a host
	addr    netip.Addr // of what is, or reads as, an address
	mailbox string     // of what is, or reads as, a mail address, with the labels of its host
	folded  string     // of a common name or an attribute
	label   string     // of an attribute
	loose   bool       // it reads as any of these to some only: what approves does not take it for one

	special string // why only a pattern that spells it approves it; empty: any does
	suffix  bool   // that is for being a public suffix
}

// A prepared case is one whose parts have been taken apart.
type prepared struct {
	*Case
	targets []target
	address netip.Addr
	reverse [][]string // labels
}

func prepare(c *Case) *prepared {
	p := &prepared{Case: c}
	if addr, err := netip.ParseAddr(c.Asker.Address); err == nil {
		p.address = addr.Unmap().WithZone("")
	}
	for _, name := range c.Asker.Reverse {
		if labels := hostLabels(strings.TrimSuffix(name, ".")); labels != nil {
			p.reverse = append(p.reverse, labels)
		}
	}
	for _, name := range c.Names {
		p.targets = append(p.targets, newTarget(name, c.Daemon))
	}
	return p
}

// hostLabels are those of a host's name, nil for anything else: for addresses, and wildcards.
func hostLabels(name string) []string {
	if _, err := netip.ParseAddr(name); err == nil || strings.HasPrefix(name, "[") || pki.CheckHost(name) != nil {
		return nil
	}
	return strings.Split(lower(name), ".")
}

func newTarget(n Name, daemon []string) target {
	t := target{Name: n}
	switch n.Kind {
	case KindDNS:
		t.labels = strings.Split(lower(n.Value), ".")
	case KindIP:
		t.addr, _ = netip.ParseAddr(n.Value)
	case KindEmail:
		if t.asMailbox(n.Value); t.labels == nil {
			t.asLooseMailbox(n.Value)
		}
	case KindCN:
		t.folded = pki.FoldText(n.Value)
		if addr, err := netip.ParseAddr(n.Value); err == nil {
			t.addr = addr
		} else if t.labels = hostLabels(strings.TrimPrefix(n.Value, "*.")); t.labels != nil && strings.HasPrefix(n.Value, "*.") {
			t.labels = append([]string{"*"}, t.labels...)
		} else if t.labels == nil {
			t.asMailbox(n.Value)
		}
		if t.labels == nil && !t.addr.IsValid() {
			t.asLoose(n.Value)
		}
	case KindSubject:
		var text string
		t.label, text, _ = strings.Cut(n.Value, "=")
		t.folded = pki.FoldText(text)
	}
	t.special, t.suffix = special(t, daemon)
	return t
}

// asMailbox takes what reads as a mail address apart.
func (t *target) asMailbox(text string) {
	at := strings.LastIndexByte(text, '@')
	if at < 1 || !isMailbox(text[:at]) {
		return
	}
	if labels := hostLabels(text[at+1:]); labels != nil {
		t.mailbox, t.labels = text[:at], labels
	}
}

// special says why a name is not one that a pattern for many can approve.
func special(t target, daemon []string) (why string, suffix bool) {
	host := ""
	switch {
	case t.Kind == KindURI:
		host = hostOfURI(t.Value)
	case t.addr.IsValid():
		host = t.addr.String()
	case t.mailbox == "":
		host = strings.Join(t.labels, ".")
	}
	switch {
	case strings.Contains(host, "*") || t.Kind == KindCN && strings.Contains(t.Value, "*"):
		return "is a wildcard", false
	case host == "":
		return "", false
	}
	addr, err := netip.ParseAddr(host)
	for _, own := range daemon {
		own = lower(strings.Trim(own, "[]"))
		same := own == host
		if ownAddr, e := netip.ParseAddr(own); e == nil && err == nil {
			same = ownAddr.Unmap() == addr.Unmap()
		}
		if same {
			return "is a name of the daemon itself", false
		}
	}
	if err == nil {
		return "", false
	}
	if found, _ := publicsuffix.PublicSuffix(host); found == host {
		return "is a public suffix", true
	}
	return "", false
}

// blocked says why a pattern, or none if p is nil, does not approve a name that it stands for.
func (t *target) blocked(p *pattern) string {
	switch {
	case t.special == "" || p != nil && p.literal:
		return ""
	case t.suffix && t.Kind == KindCN && len(t.labels) == 1 && (p == nil || p.kind == KindCN):
		return "" // a word, such as the name of a user
	}
	return t.special
}

// matches reports whether a name is one that p stands for. Whoever approves is told of names that are meant for sure, whoever
// holds or refuses of all that a verifier could take for one.
func (p *pattern) matches(t *target, c *prepared, id *identity, approving bool) bool {
	switch p.kind {
	case KindDNS:
		return p.matchesHost(t, c, id, approving)
	case KindIP:
		switch {
		case !t.addr.IsValid(), t.loose && approving:
			return false
		case p.holds != "":
			return slices.Contains(id.addresses, t.addr)
		case approving:
			return p.network.Contains(t.addr)
		}
		return p.network.Contains(t.addr.Unmap().WithZone(""))
	case KindEmail:
		switch {
		case t.mailbox == "" || t.Kind != KindEmail && t.Kind != KindCN || t.loose && approving:
			return false
		case p.holds != "":
			return slices.ContainsFunc(id.mails, func(mail string) bool { return canonicalMail(mail) == canonicalMail(t.Value) })
		}
		// Whom letters of another case reach is for the host to say (RFC 5321 2.4): as a rule, the same.
		same := p.mailbox == t.mailbox || !approving && strings.EqualFold(p.mailbox, t.mailbox)
		return (same || p.mailbox == "*" && !p.literal) && matchLabels(p.labels, t.labels, !approving)
	case KindURI:
		if p.holds != "" {
			return t.Kind == KindURI && slices.Contains(id.uris, canonicalURI(t.Value))
		}
		return t.Kind == KindURI && (p.uri.matches(t.Value) || !approving && p.uri.overlaps(t.Value))
	case KindCN:
		if t.Kind != KindCN {
			return false
		}
		switch p.holds {
		case ofIdentity:
			return id.commonFolded != "" && id.commonFolded == t.folded
		case ofAddress:
			return slices.ContainsFunc(c.reverse, func(name []string) bool { return slices.Equal(name, t.labels) })
		}
		return p.matchesText(t.folded, ".@:/*")
	case KindSubject:
		return t.Kind == KindSubject && p.label == t.label && p.matchesText(t.folded, "")
	}
	return false
}

func (p *pattern) matchesHost(t *target, c *prepared, id *identity, approving bool) bool {
	alone := p.holds == ofIdentity && len(p.labels) == 1
	switch {
	case t.Kind != KindDNS && t.Kind != KindCN && t.Kind != KindIP, t.mailbox != "":
		return false
	case alone && t.addr.IsValid() && !(t.loose && approving):
		return slices.Contains(id.addresses, t.addr)
	case alone && t.Kind == KindCN && id.commonFolded != "" && id.commonFolded == t.folded:
		return true
	case t.labels == nil, t.loose && approving:
		return false
	case p.holds == "":
		return p.literal && slices.Equal(p.labels, t.labels) || !(p.literal && p.labels[0] == "*") && matchLabels(p.labels, t.labels, !approving)
	}
	values := id.hosts
	if p.holds == ofAddress {
		values = c.reverse
	}
	i := slices.Index(p.labels, string(p.holds))
	return slices.ContainsFunc(values, func(value []string) bool {
		return len(p.labels)-1+len(value) == len(t.labels) && matchLabels(slices.Concat(p.labels[:i], value, p.labels[i+1:]), t.labels, !approving)
	})
}

// matchLabels compares label by label. A * in the pattern is one label. One in the name is itself, or, where all that could be
// taken for the same name counts, any label; there it can be a part of one, too.
func matchLabels(pattern, name []string, overlap bool) bool {
	if len(pattern) != len(name) {
		return false
	}
	for i, label := range name {
		switch {
		case label == pattern[i]:
		case overlap && strings.Contains(label, "*") && (pattern[i] == "*" || couldBe(label, pattern[i])):
		case pattern[i] == "*" && isLabel(label):
		default:
			return false
		}
	}
	return true
}

func isLabel(label string) bool {
	return label != "" && strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") == ""
}

// matchesText compares a folded text. A * is any text that is not empty and has none of some characters.
func (p *pattern) matchesText(folded, not string) bool {
	if p.literal {
		return folded == p.text
	}
	return matchGlob(p.text, folded, not)
}

// matchGlob takes no longer than the product of the lengths.
func matchGlob(glob, text, not string) bool {
	parts := strings.Split(glob, "*")
	// reach[i] is whether the parts so far can end at text[:i].
	reach := make([]bool, len(text)+1)
	if !strings.HasPrefix(text, parts[0]) {
		return false
	}
	reach[len(parts[0])] = true
	for _, part := range parts[1:] {
		next := make([]bool, len(text)+1)
		open := false // a * has begun before i and can go on
		for i := 0; i <= len(text); i++ {
			if i > 0 && (open || reach[i-1]) {
				open = !strings.ContainsRune(not, rune(text[i-1]))
			} else {
				open = false
			}
			if open && strings.HasPrefix(text[i:], part) {
				next[i+len(part)] = true
			}
		}
		reach = next
	}
	return reach[len(text)]
}

// canonicalMail folds the domain only (RFC 5280 7.5).
func canonicalMail(address string) string {
	at := strings.LastIndexByte(address, '@')
	if at < 0 {
		return address
	}
	return address[:at+1] + lower(address[at+1:])
}

// covered reports whether the names of a case match, and says which does not.
func (r *rule) covered(c *prepared, id *identity) (ok bool, why why) {
	if r.decision == Approve {
		for i := range c.targets {
			if why := r.approvable(&c.targets[i], c, id); why != nil {
				return false, why
			}
		}
	}
	if r.names == nil {
		return true, nil
	}
	if len(c.targets) == 0 {
		return false, because("names", "the request names nobody")
	}
	for i := range c.targets {
		t := &c.targets[i]
		matched := slices.ContainsFunc(r.names, func(p pattern) bool { return p.matches(t, c, id, r.decision == Approve) })
		switch {
		case matched && !r.all:
			return true, nil
		case !matched && r.all:
			return false, func() string { return fmt.Sprintf("names: %s matches none of them", t.Name) }
		}
	}
	if r.all {
		return true, nil
	}
	return false, because("names", "none of those requested matches")
}

// approvable reports why a rule that approves does not approve a name.
func (r *rule) approvable(t *target, c *prepared, id *identity) why {
	blocked := ""
	if r.names == nil {
		blocked = t.blocked(nil)
	}
	for i := range r.names {
		p := &r.names[i]
		if !p.matches(t, c, id, true) {
			continue
		}
		if blocked = t.blocked(p); blocked == "" {
			return nil
		}
	}
	if blocked == "" {
		return nil // it matches no pattern, which is said elsewhere
	}
	return func() string {
		return fmt.Sprintf("names: %s %s, which only a pattern that spells it approves", t.Name, blocked)
	}
}
