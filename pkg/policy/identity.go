package policy

import (
	"net/netip"
	"slices"
	"strings"

	"cauase/pkg/pki"
)

// An identity is what names an asker has by what it has shown.
type identity struct {
	hosts        [][]string
	addresses    []netip.Addr
	mails, uris  []string
	commonFolded string
}

// identityOf returns the names of what a rule asks for.
func (r *rule) identityOf(a *Asker) (id identity) {
	if r.ssh && a.SSH != nil {
		for _, name := range a.SSH.Names {
			id.add(name)
		}
	}
	if r.certificate == nil || a.Certificate == nil {
		return id
	}
	shown := a.Certificate
	for _, name := range shown.Names {
		kind, value, _ := strings.Cut(name, ":")
		switch kind {
		case KindDNS, KindIP:
			id.add(value)
		case KindEmail:
			id.mails = append(id.mails, value)
		case KindURI:
			id.uris = append(id.uris, canonicalURI(value))
		}
	}
	// A common name says for which host or mailbox it is where no names of the certificate do (RFC 6125 6.4.4). Any other text, such as the name
	// of a person, is one that verifiers compare with nothing.
	switch cn := commonName(shown.Subject); {
	case cn == "":
	case len(shown.Names) == 0:
		id.commonFolded = pki.FoldText(cn)
		id.add(cn)
	case isPlain(cn) || names(shown.Names, cn):
		id.commonFolded = pki.FoldText(cn)
	}
	return id
}

// isPlain reports whether a common name is no host, address or mailbox to anybody.
func isPlain(cn string) bool {
	t := newTarget(Name{Kind: KindCN, Value: cn}, nil)
	return t.labels == nil && !t.addr.IsValid() && t.mailbox == ""
}

// names reports whether one of the names of a certificate, whatever it is of, is a certain text.
func names(all []string, text string) bool {
	return slices.ContainsFunc(all, func(name string) bool {
		_, value, _ := strings.Cut(name, ":")
		return pki.FoldText(value) == pki.FoldText(text)
	})
}

// add adds the name or the address of a host. What stands for many is none.
func (id *identity) add(name string) {
	if addr, err := netip.ParseAddr(strings.Trim(name, "[]")); err == nil {
		id.addresses = append(id.addresses, addr)
	} else if labels := hostLabels(strings.TrimSuffix(name, ".")); labels != nil {
		id.hosts = append(id.hosts, labels)
	}
}

// commonName is the common name in a subject as pki.SubjectString writes it, "" if there is not exactly one, or one that does not print.
func commonName(subject string) (found string) {
	for rest := subject; rest != ""; {
		var attribute string
		attribute, rest = cutAttribute(rest)
		value, isCN := strings.CutPrefix(attribute, "CN=")
		if !isCN {
			continue
		}
		text, ok := unescape(value)
		if !ok || found != "" || text == "" {
			return ""
		}
		found = text
	}
	return found
}

// cutAttribute cuts at the first comma or plus sign that is not escaped (RFC 4514 2.4).
func cutAttribute(text string) (attribute, rest string) {
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case ',', '+':
			return text[:i], text[i+1:]
		}
	}
	return text, ""
}

// unescape undoes the escapes of RFC 4514 2.4 with a character behind a backslash. Of what has others, or is no text, nothing is known for sure.
func unescape(value string) (string, bool) {
	if strings.HasPrefix(value, "#") {
		return "", false
	}
	var b strings.Builder
	for i := 0; i < len(value); i++ {
		if value[i] == '\\' {
			if i++; i == len(value) || !strings.ContainsRune("\"+,;<=>\\# ", rune(value[i])) {
				return "", false
			}
		}
		b.WriteByte(value[i])
	}
	return b.String(), true
}
