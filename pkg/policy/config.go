package policy

import (
	"fmt"
	"slices"
	"strings"
)

// A Config is a table [[policy]] of a configuration file. What is left out is no condition. Where the type is any, a text or a list of texts
// may stand.
type Config struct {
	// Name names the rule in the record, the audit log and answers. Default: "policy-" and the rule's place in the file, from 1.
	Name string `toml:"name"`

	// Authority and Profile are names.
	Authority any `toml:"authority"`
	Profile   any `toml:"profile"`
	// Names are patterns, see docs/policy.md. Match says how many of the requested names have to match one of them: "all",
	// which is the default of what approves, or "any", the default of what holds or refuses.
	Names any    `toml:"names"`
	Match string `toml:"match"`

	// From are addresses and networks of whoever asks.
	From any `toml:"from"`
	// FrontEnd is how it asks, Client what it is known by there.
	FrontEnd any `toml:"front_end"`
	Client   any `toml:"client"`
	// Certificate names authorities of which the asker has shown a certificate, CertificateNames the patterns that one of the
	// names in it has to match.
	Certificate      any `toml:"certificate"`
	CertificateNames any `toml:"certificate_names"`
	// SSH is for askers that have proved to hold an SSH host key, Invitation for those with an invitation.
	SSH        *bool `toml:"ssh"`
	Invitation *bool `toml:"invitation"`

	// Keys are types of keys, as in key_types of a profile.
	Keys any `toml:"keys"`

	// MaxValidity bounds the validity of what is approved under the rule.
	MaxValidity string `toml:"max_validity"`
	// Rate bounds how often the rule approves: "10/h". AskerRate does so for each asker.
	Rate      string `toml:"rate"`
	AskerRate string `toml:"asker_rate"`

	Decision  string `toml:"decision"`
	Reason    string `toml:"reason"`
	Approvals *int   `toml:"approvals"`
}

// A ConfigError says what is wrong with a configured rule, and where.
type ConfigError struct {
	Index int    // of the rule, from 0
	Rule  string // its name
	Field string // as in the configuration; empty: the rule itself
	Err   error
}

func (e *ConfigError) Error() string {
	where := e.Rule
	if e.Field != "" {
		where += "." + e.Field
	}
	return where + ": " + e.Err.Error()
}

// Unwrap returns what is wrong.
func (e *ConfigError) Unwrap() error { return e.Err }

// A fieldError is a ConfigError of a rule whose place is known to the caller.
type fieldError struct {
	name string
	err  error
}

func (e *fieldError) Error() string { return e.name + ": " + e.err.Error() }

func wrong(field, format string, args ...any) error {
	return &fieldError{field, fmt.Errorf(format, args...)}
}

// texts reads what may be a text or a list of texts. Nil stays nil.
func texts(field string, value any) ([]string, error) {
	var list []string
	switch value := value.(type) {
	case nil:
		return nil, nil
	case string:
		list = []string{value}
	case []string:
		list = value
	case []any:
		for i, element := range value {
			text, ok := element.(string)
			if !ok {
				return nil, wrong(field, "element %d of the list is no text in quotes", i+1)
			}
			list = append(list, text)
		}
	default:
		return nil, wrong(field, "must be a text in quotes, or a list such as [\"a\", \"b\"]")
	}
	if len(list) == 0 {
		return nil, wrong(field, "is empty, and so no request could ever match: leave it out to have any match")
	}
	seen := make(map[string]bool, len(list))
	for _, text := range list {
		switch {
		case strings.TrimSpace(text) == "":
			return nil, wrong(field, "has an empty text in it")
		case strings.TrimSpace(text) != text:
			return nil, wrong(field, "%.80q has white space at an end", text)
		case seen[text]:
			return nil, wrong(field, "%.80q stands there twice", text)
		}
		seen[text] = true
	}
	return list, nil
}

// words is texts for values that are all known.
func words(field string, value any, known []string) ([]string, error) {
	list, err := texts(field, value)
	if err != nil {
		return nil, err
	}
	for _, word := range list {
		if !slices.Contains(known, word) {
			return nil, wrong(field, "%.80q is none of %s", word, strings.Join(known, ", "))
		}
	}
	slices.Sort(list)
	return list, nil
}
