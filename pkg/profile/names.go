package profile

import (
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"slices"
	"strings"

	"cauase/pkg/pki"
)

// A nameKind is a kind of subject alternative name.
type nameKind struct {
	name   string // in a configuration
	prefix string // as pki.SANStrings shows it
	one    string // in messages
	many   string
}

var nameKinds = []nameKind{
	{"dns", "DNS", "DNS name", "DNS names"},
	{"ip", "IP", "IP address", "IP addresses"},
	{"email", "email", "e-mail address", "e-mail addresses"},
	{"uri", "URI", "URI", "URIs"},
}

// nameRules are the subject alternative names that a profile allows.
type nameRules struct {
	kinds    []nameKind
	min, max int
}

// check returns the value of the subject alternative name that extensions ask for, nil for none.
func (r nameRules) check(extensions []pkix.Extension) ([]byte, error) {
	var value []byte
	for _, e := range extensions {
		if !e.Id.Equal(oidSubjectAltName) {
			continue
		}
		if value != nil {
			return nil, errors.New("the request has two subject alternative name extensions")
		}
		value = e.Value
		if err := r.checkKinds(e); err != nil {
			return nil, err
		}
	}
	if value == nil && r.min > 0 {
		return nil, fmt.Errorf("the request has no subject alternative name: at least %s needed", count(r.min, r.allowed()))
	}
	return value, nil
}

func (r nameRules) checkKinds(e pkix.Extension) error {
	shown := pki.SANStrings([]pkix.Extension{e})
	if len(shown) == 0 {
		return errors.New("the request's subject alternative name cannot be read")
	}
	for _, name := range shown {
		if err := r.checkKind(name); err != nil {
			return err
		}
	}
	switch n := len(shown); {
	case n < r.min:
		return fmt.Errorf("the request asks for %d subject alternative names: at least %d needed", n, r.min)
	case n > r.max:
		return fmt.Errorf("the request asks for %d subject alternative names: at most %d allowed", n, r.max)
	}
	return nil
}

// checkKind decides about one name as pki.SANStrings shows it, which has made it safe to print.
func (r nameRules) checkKind(shown string) error {
	prefix, value, _ := strings.Cut(shown, ":")
	if slices.ContainsFunc(r.kinds, func(k nameKind) bool { return k.prefix == prefix }) {
		return nil
	}
	what := "a name of the kind " + prefix
	if i := slices.IndexFunc(nameKinds, func(k nameKind) bool { return k.prefix == prefix }); i >= 0 {
		what = "the " + nameKinds[i].one + " " + value
	}
	if len(r.kinds) == 0 {
		return fmt.Errorf("the request asks for %s; no subject alternative name is allowed", what)
	}
	return fmt.Errorf("the request asks for %s; only %s are allowed", what, r.allowed())
}

// allowed lists the kinds: "DNS names and IP addresses".
func (r nameRules) allowed() string {
	var words []string
	for _, k := range r.kinds {
		words = append(words, k.many)
	}
	return join(words, "and")
}

func count(n int, of string) string { return fmt.Sprintf("%d of %s", n, of) }

// join lists words as English does.
func join(words []string, last string) string {
	switch n := len(words); n {
	case 0:
		return ""
	case 1:
		return words[0]
	default:
		return strings.Join(words[:n-1], ", ") + " " + last + " " + words[n-1]
	}
}
