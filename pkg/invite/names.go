package invite

import (
	"encoding/asn1"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"unicode/utf8"

	"cauase/pkg/pki"
)

// Names are those that an invitation allows. Each is written KIND:PATTERN:
//
//	cn:NAME          a common name, exactly; cn:* is any without a *; cn:*.DOMAIN is like dns:*.DOMAIN
//	dns:NAME         a DNS name, in any case; in dns:*.DOMAIN the * is exactly one label
//	ip:ADDRESS       an IP address, or any in a network such as ip:10.0.0.0/8
//	email:ADDRESS    a mail address; in email:*@HOST the * is any mailbox there
//	uri:URI          a URI, exactly
//	o: ou: c:VALUE   an organisation, organisational unit or country of the subject, exactly
//
// A common name is also allowed if it is a DNS name that a dns: pattern allows. Kinds that are not
// mentioned are not allowed, and nor is a request for a wildcard: a name that stands for many is not one of
// them.
type Names struct{ list []pattern }

// A pattern is one of them.
type pattern struct {
	kind  string
	value string       // in the form that it is compared in
	net   netip.Prefix // of kind ip
}

// kinds are those of names, as they are written.
var kinds = []string{"cn", "dns", "ip", "email", "uri", "o", "ou", "c"}

const (
	maxCommonName = 64  // characters, RFC 5280 appendix A.1
	maxValue      = 512 // bytes
)

// ParseNames reads names. Errors are ErrInvalid and say which one is wrong, and why.
func ParseNames(texts []string) (Names, error) {
	var n Names
	if len(texts) > maxNames {
		return n, refuse("%d names: at most %d are possible", len(texts), maxNames)
	}
	for _, text := range texts {
		kind, value, _ := strings.Cut(text, ":")
		if !slices.Contains(kinds, kind) {
			return n, refuse("%.80q begins with none of %s:", text, strings.Join(kinds, ":, "))
		}
		p, err := parsePattern(kind, value)
		if err != nil {
			return n, refuse("%s %.80q: %v", kind, value, err)
		}
		if !slices.Contains(n.list, p) {
			n.list = append(n.list, p)
		}
	}
	return n, nil
}

func parsePattern(kind, value string) (p pattern, err error) {
	p = pattern{kind: kind, value: value}
	switch {
	case value == "":
		return p, fmt.Errorf("is empty")
	case len(value) > maxValue:
		return p, fmt.Errorf("is longer than %d bytes", maxValue)
	case !utf8.ValidString(value) || pki.EscapeText(value) != value:
		return p, fmt.Errorf("holds what does not print")
	}
	switch kind {
	case "dns":
		p.value = lower(value)
		err = checkDomain(p.value)
	case "cn":
		switch {
		case value == "*":
		case strings.HasPrefix(value, "*."):
			p.value = lower(value)
			err = checkDomain(p.value)
		default:
			err = checkPlain(value, maxCommonName)
		}
	case "ip":
		p.net, err = parseNetwork(value)
		p.value = p.net.String()
		if p.net.IsSingleIP() {
			p.value = p.net.Addr().String()
		}
	case "email":
		mailbox, host, found := cutLast(value)
		if !found || mailbox != "*" && !isMailbox(mailbox) {
			return p, fmt.Errorf("is neither a mail address nor *@HOST")
		}
		p.value = mailbox + "@" + lower(host)
		err = checkHostName(host)
	case "uri":
		if !strings.Contains(value, ":") || strings.ContainsAny(value, " *") {
			return p, fmt.Errorf("is not a URI; there are no patterns of URIs")
		}
	default: // of the subject
		err = checkPlain(value, 128)
	}
	return p, err
}

// checkPlain accepts what stands for itself.
func checkPlain(value string, most int) error {
	switch {
	case strings.Contains(value, "*"):
		return fmt.Errorf("a * is possible as a whole first label before a dot only")
	case strings.TrimSpace(value) != value:
		return fmt.Errorf("has white space at an end")
	case utf8.RuneCountInString(value) > most:
		return fmt.Errorf("is longer than %d characters", most)
	}
	return nil
}

// checkDomain accepts a DNS name, of which the first label may be a *.
func checkDomain(value string) error {
	domain := strings.TrimPrefix(value, "*.")
	if domain == "*" {
		return fmt.Errorf("matches every name; give the domain, as in *.example.org")
	}
	return checkHostName(domain)
}

func checkHostName(host string) error {
	if _, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		return fmt.Errorf("is an IP address")
	}
	return pki.CheckHost(host)
}

func parseNetwork(value string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(value); err == nil && addr.Zone() == "" && !addr.Is4In6() {
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	network, err := netip.ParsePrefix(value)
	switch {
	case err != nil || network.Addr().Is4In6():
		return network, fmt.Errorf("is neither an address nor a network such as 10.0.0.0/8")
	case network != network.Masked():
		return network, fmt.Errorf("has bits behind its prefix: did you mean %s?", network.Masked())
	}
	return network, nil
}

// Empty reports whether no name is allowed.
func (n Names) Empty() bool { return len(n.list) == 0 }

// Strings returns the names as ParseNames reads them.
func (n Names) Strings() []string {
	texts := make([]string, len(n.list))
	for i, p := range n.list {
		texts[i] = p.kind + ":" + p.value
	}
	return texts
}

// Only returns the one name of a kind if there is exactly one and it stands for itself.
func (n Names) Only(kind string) (value string, ok bool) {
	for _, p := range n.list {
		if p.kind != kind {
			continue
		}
		if ok || strings.Contains(p.value, "*") || kind == "ip" && !p.net.IsSingleIP() {
			return "", false
		}
		value, ok = p.value, true
	}
	return value, ok
}

// Covers reports, by an error that says which, whether a request asks for a name that is not allowed.
func (n Names) Covers(req *pki.Request) error {
	for _, attr := range req.CSR.Subject.Names {
		value, _ := attr.Value.(string)
		kind, known := subjectKinds[attr.Type.String()]
		if !known || !n.Allows(kind, value) {
			return n.notAllowed("the subject " + req.Subject)
		}
	}
	for _, san := range req.SANs {
		kind, value, _ := strings.Cut(san, ":")
		if !n.Allows(strings.ToLower(kind), value) {
			return n.notAllowed("the name " + san)
		}
	}
	return nil
}

func (n Names) notAllowed(what string) error {
	return fmt.Errorf("%s is not allowed by the invitation, which is for %s", what, strings.Join(n.Strings(), ", "))
}

// subjectKinds are the attributes of subjects that an invitation can allow (RFC 5280 appendix A.1).
var subjectKinds = map[string]string{
	asn1.ObjectIdentifier{2, 5, 4, 3}.String():  "cn",
	asn1.ObjectIdentifier{2, 5, 4, 6}.String():  "c",
	asn1.ObjectIdentifier{2, 5, 4, 10}.String(): "o",
	asn1.ObjectIdentifier{2, 5, 4, 11}.String(): "ou",
}

// Allows reports whether a name of a kind, as in a pattern, is allowed.
func (n Names) Allows(kind, value string) bool {
	return slices.ContainsFunc(n.list, func(p pattern) bool {
		return p.kind == kind && p.matches(value) || p.kind == "dns" && kind == "cn" && p.matches(value)
	})
}

// matches reports whether a value of the pattern's kind, or a common name, is one that it stands for.
func (p pattern) matches(value string) bool {
	switch p.kind {
	case "dns":
		return matchDomain(p.value, value)
	case "cn":
		switch {
		case p.value == "*":
			return value != "" && !strings.Contains(value, "*")
		case strings.HasPrefix(p.value, "*."):
			return matchDomain(p.value, value)
		}
	case "ip":
		addr, err := netip.ParseAddr(value)
		return err == nil && p.net.Contains(addr)
	case "email":
		mailbox, host, found := cutLast(value)
		allowed, at, _ := cutLast(p.value)
		return found && isMailbox(mailbox) && lower(host) == at && (allowed == "*" || mailbox == allowed)
	}
	return value == p.value
}

// matchDomain compares label by label. A * in the pattern is one label; one in the name matches nothing.
func matchDomain(pattern, name string) bool {
	name = lower(name)
	if strings.Contains(name, "*") {
		return false
	}
	rest, wildcard := strings.CutPrefix(pattern, "*.")
	if !wildcard {
		return name == pattern
	}
	label, domain, found := strings.Cut(name, ".")
	return found && domain == rest && pki.CheckHost(label+".x") == nil
}

// lower maps the letters of DNS names, and no others: there are signs that Unicode has as another case of one of them.
func lower(name string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' {
			r += 'a' - 'A'
		}
		return r
	}, name)
}

// isMailbox reports whether text can stand before the @ of a mail address, without quotes: some software takes what is
// quoted there for an address of its own.
func isMailbox(text string) bool {
	return text != "" && !strings.ContainsAny(text, " *@<>\"\\,;:()[]")
}

// cutLast splits a mail address.
func cutLast(address string) (mailbox, host string, found bool) {
	i := strings.LastIndexByte(address, '@')
	if i < 0 {
		return "", "", false
	}
	return address[:i], address[i+1:], true
}
