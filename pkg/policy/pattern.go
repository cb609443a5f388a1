package policy

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"

	"cauase/pkg/pki"
)

// A placeholder stands for names that are known only when somebody asks.
type placeholder string

const (
	ofAddress  placeholder = "{request.address.ptr}"
	ofIdentity placeholder = "{identity.name}"
)

var placeholders = []placeholder{ofAddress, ofIdentity}

// A pattern says which names match.
type pattern struct {
	kind    string // one of the kinds of names
	literal bool   // it spells a name, and no other one matches
	holds   placeholder

	labels  []string     // of a host: "*" is one label, a placeholder any number
	mailbox string       // before the @; "*" is any
	network netip.Prefix // of kind IP
	uri     uriPattern
	label   string // of an attribute of the subject
	text    string // of a common name or another attribute, folded
	shown   string
}

func (p pattern) String() string { return p.shown }

// prefixes of patterns, and what they are for.
var prefixes = []struct{ prefix, kind, label string }{
	{"dns:", KindDNS, ""}, {"ip:", KindIP, ""}, {"email:", KindEmail, ""}, {"uri:", KindURI, ""}, {"cn:", KindCN, ""},
	{"o:", KindSubject, "O"}, {"ou:", KindSubject, "OU"}, {"c:", KindSubject, "C"}, {"subject:", KindSubject, ""},
}

const (
	literally  = "literal:" // what follows is a name, and no pattern
	maxPattern = 1024       // bytes
)

// parsePattern reads a pattern. Without a prefix its form tells of what kind it is.
func parsePattern(text string) (p pattern, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("%.80q %w", text, err)
		}
	}()
	if len(text) > maxPattern {
		return p, fmt.Errorf("is longer than %d bytes", maxPattern)
	}
	if !utf8.ValidString(text) || pki.EscapeText(text) != text {
		return p, errors.New("has characters that do not print")
	}
	rest, literal := strings.CutPrefix(text, literally)
	p.literal = literal
	found := false
	for _, known := range prefixes {
		if rest, found = strings.CutPrefix(rest, known.prefix); found {
			p.kind, p.label = known.kind, known.label
			break
		}
	}
	if !found {
		p.kind = kindByForm(rest)
	}
	if rest == "" {
		return p, errors.New("names nothing")
	}
	if p.holds, err = placeholderIn(rest); err != nil {
		return p, err
	}
	if p.literal && p.holds != "" {
		return p, fmt.Errorf("is no literal name: %s stands for one", p.holds)
	}
	p.literal = p.literal || !strings.Contains(rest, "*") && p.holds == ""
	switch p.kind {
	case KindDNS:
		err = p.parseHost(rest)
	case KindIP:
		err = p.parseNetwork(rest)
	case KindEmail:
		err = p.parseMailbox(rest)
	case KindURI:
		err = p.parseURI(rest)
	case KindCN:
		err = p.parseText(rest)
	case KindSubject:
		err = p.parseAttribute(rest)
	}
	return p, err
}

// kindByForm is the kind of a pattern without a prefix.
func kindByForm(text string) string {
	address, _, _ := strings.Cut(text, "/")
	if _, err := netip.ParseAddr(address); err == nil {
		return KindIP
	}
	switch {
	case strings.Contains(text, "://"), strings.HasPrefix(text, "urn:"):
		return KindURI
	case strings.Contains(text, "@"):
		return KindEmail
	}
	return KindDNS
}

// placeholderIn returns the placeholder in a pattern, of which there may be one.
func placeholderIn(text string) (in placeholder, err error) {
	rest := text
	for _, known := range placeholders {
		if n := strings.Count(text, string(known)); n > 1 || n == 1 && in != "" {
			return "", errors.New("has two placeholders: one is possible")
		} else if n == 1 {
			in = known
			rest = strings.Replace(rest, string(known), "", 1)
		}
	}
	if strings.ContainsAny(rest, "{}") {
		return "", fmt.Errorf("has a placeholder that is neither %s nor %s", ofAddress, ofIdentity)
	}
	return in, nil
}

// toASCII turns U-labels into A-labels.
var toASCII = idna.New(idna.MapForLookup(), idna.Transitional(false), idna.StrictDomainName(false), idna.CheckHyphens(false))

func (p *pattern) parseHost(text string) error {
	if strings.Contains(text, ":") {
		known := make([]string, len(prefixes))
		for i, of := range prefixes {
			known[i] = of.prefix
		}
		return fmt.Errorf("is no host name, and begins with none of %s", strings.Join(known, ", "))
	}
	labels, err := parseLabels(text, p.literal)
	if err != nil {
		return err
	}
	p.labels, p.shown = labels, "dns:"+strings.Join(labels, ".")
	if p.literal && labels[0] == "*" {
		p.shown = literally + p.shown
	}
	return nil
}

// parseLabels reads a host name in which labels may be "*" or a placeholder. Where it is literal only the first one may be "*", which
// then is that of a wildcard.
func parseLabels(text string, literal bool) ([]string, error) {
	const stand = "placeholder-label" // in place of one, whose dots are not those of labels
	inner := text
	holds, _ := placeholderIn(text)
	if holds != "" {
		inner = strings.Replace(text, string(holds), stand, 1)
	}
	labels := strings.Split(inner, ".")
	checked := make([]string, len(labels))
	for i, label := range labels {
		switch {
		case label == stand && holds != "":
			labels[i], checked[i] = string(holds), "x"
		case strings.Contains(label, stand) && holds != "":
			return nil, fmt.Errorf("has %s as a part of a label: it stands for whole ones", holds)
		case label == "*" && literal && i > 0:
			return nil, errors.New("is no name: only the first label of a wildcard is *")
		case label == "*":
			checked[i] = "x"
		case label == "**":
			return nil, errors.New("has **: a * is exactly one label, and nothing is for any number of them")
		case strings.Contains(label, "*"):
			return nil, errors.New("has a * as a part of a label: it stands for a whole one")
		case label == "" && i == len(labels)-1 && i > 0:
			return nil, errors.New("ends with a dot, and names in certificates do not: leave it out")
		default:
			ascii := strings.ToLower(label)
			if !isASCII(label) {
				var err error
				if ascii, err = toASCII.ToASCII(label); err != nil {
					return nil, fmt.Errorf("is no host name: %w", err)
				}
			}
			labels[i], checked[i] = ascii, ascii
		}
	}
	if literal && labels[0] == "*" && len(labels) == 1 {
		return nil, errors.New("matches every name")
	}
	name := strings.Join(checked, ".")
	if strings.Trim(checked[len(checked)-1], "0123456789") == "" {
		return nil, errors.New("reads as an address: give one, or a network such as 10.0.0.0/8")
	}
	if err := pki.CheckHost(name); err != nil {
		return nil, fmt.Errorf("is no host name: %w", err)
	}
	return labels, nil
}

func (p *pattern) parseNetwork(text string) error {
	if p.holds == ofIdentity && text == string(ofIdentity) {
		p.shown = "ip:" + text
		return nil
	}
	network, err := parseNetwork(text)
	if err != nil {
		return err
	}
	p.network, p.literal = network, network.IsSingleIP()
	p.shown = "ip:" + network.String()
	return nil
}

// parseNetwork reads an address, or a network of them.
func parseNetwork(text string) (netip.Prefix, error) {
	network, err := netip.ParsePrefix(text)
	if err != nil {
		addr, e := netip.ParseAddr(text)
		if e != nil || addr.Zone() != "" {
			return network, errors.New("is neither an address nor a network such as 10.0.0.0/8")
		}
		network = netip.PrefixFrom(addr, addr.BitLen())
	}
	switch {
	case network.Addr().Is4In6():
		return network, fmt.Errorf("is an IPv4 address written as IPv6: did you mean %s?", network.Addr().Unmap())
	case network != network.Masked():
		return network, fmt.Errorf("has bits behind its prefix: did you mean %s?", network.Masked())
	}
	return network, nil
}

func (p *pattern) parseMailbox(text string) error {
	if text == string(ofIdentity) {
		p.shown = "email:" + text
		return nil
	}
	if p.holds == ofAddress {
		return fmt.Errorf("is for mail addresses, and %s for hosts", ofAddress)
	}
	at := strings.LastIndexByte(text, '@')
	if at < 1 {
		return errors.New("is no mail address such as *@example.org")
	}
	p.mailbox = text[:at]
	if p.mailbox != "*" || p.literal {
		switch {
		case strings.Contains(p.mailbox, "*") && !p.literal:
			return errors.New("has a * as a part of what is before the @: it stands for all of it")
		case !isMailbox(p.mailbox):
			return errors.New("is no mail address such as *@example.org")
		}
	}
	if strings.ContainsAny(text[at+1:], "{}") {
		return fmt.Errorf("has %s as a part: in patterns of mail addresses it stands alone", p.holds)
	}
	var err error
	if p.labels, err = parseLabels(text[at+1:], p.literal); err == nil && p.literal && p.labels[0] == "*" {
		err = errors.New("is no mail address")
	}
	p.shown = "email:" + p.mailbox + "@" + strings.Join(p.labels, ".")
	if p.literal && strings.Contains(p.mailbox, "*") {
		p.shown = literally + p.shown
	}
	return err
}

// parseText reads a pattern of a common name, in which a * is a word.
func (p *pattern) parseText(text string) error {
	if p.holds != "" && text != string(p.holds) {
		return fmt.Errorf("has %s as a part: in a common name it stands alone", p.holds)
	}
	p.text, p.shown = foldPattern(text, p.holds), "cn:"+text
	if p.literal && strings.Contains(text, "*") {
		p.shown = literally + p.shown
	}
	return nil
}

func (p *pattern) parseAttribute(text string) error {
	if p.label == "" {
		label, value, found := strings.Cut(text, "=")
		known, ok := pki.AttributeLabel(label)
		switch {
		case !found || value == "":
			return errors.New("is not ATTRIBUTE=VALUE, such as O=Example")
		case !ok:
			return fmt.Errorf("begins with none of the attributes of subjects, such as O, OU or UID, and no object identifier")
		case known == "CN":
			return errors.New("is a common name, for which cn: stands")
		case known == "emailAddress":
			return errors.New("is a mail address, for which email: stands")
		}
		p.label, text = known, value
	}
	if p.holds != "" {
		return fmt.Errorf("has %s, which stands for names of hosts", p.holds)
	}
	p.text, p.shown = foldPattern(text, ""), "subject:"+p.label+"="+text
	if p.literal && strings.Contains(text, "*") {
		p.shown = literally + p.shown
	}
	return nil
}

// foldPattern folds a pattern like the text that it is compared with, part by part: a * stays one.
func foldPattern(text string, holds placeholder) string {
	if holds != "" {
		return text
	}
	return pki.FoldText(text)
}

// parsePatterns reads the patterns of a field.
func parsePatterns(field string, value any) ([]pattern, error) {
	list, err := texts(field, value)
	if err != nil {
		return nil, err
	}
	var patterns []pattern
	for _, text := range list {
		p, err := parsePattern(text)
		if err != nil {
			return nil, &fieldError{field, err}
		}
		if i := slices.IndexFunc(patterns, func(q pattern) bool { return q.shown == p.shown }); i >= 0 {
			return nil, wrong(field, "%.80q is the same as %.80q", text, list[i])
		}
		patterns = append(patterns, p)
	}
	return patterns, nil
}
