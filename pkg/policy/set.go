package policy

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"

	"cauase/pkg/pki"
)

const (
	// MaxRules and maxPatterns bound what a stranger's request has the daemon compute.
	MaxRules    = 1000
	maxPatterns = 10_000
)

// A Set is all rules, in their order. It does not change. The nil Set has none.
type Set struct {
	rules  []*rule
	digest []byte
}

// Compile checks configured rules, all of them: its error, a [ConfigError] for each that is wrong, says what is wrong where.
func Compile(configs []Config) (*Set, error) {
	s := &Set{}
	var all error
	fail := func(i int, name string, err error) {
		e := &ConfigError{Index: i, Rule: name, Err: err}
		if field := (*fieldError)(nil); errors.As(err, &field) {
			e.Field, e.Err = field.name, field.err
		}
		all = errors.Join(all, e)
	}
	if len(configs) > MaxRules {
		fail(MaxRules, "policy", fmt.Errorf("%d rules: at most %d are possible", len(configs), MaxRules))
		return nil, all
	}
	named := map[string]int{}
	patterns := 0
	sum := sha256.New()
	for i, c := range configs {
		name := c.Name
		if name == "" {
			name = fmt.Sprintf("policy-%d", i+1)
		}
		r, err := compile(name, c)
		if before, taken := named[name]; taken && err == nil {
			err = wrong("name", "%q is that of rule %d already: names are on record, and have to tell rules apart", name, before+1)
		}
		if err != nil {
			fail(i, pki.EscapeText(name), err)
			continue
		}
		named[name] = i
		if patterns += len(r.names) + len(r.certificateNames); patterns > maxPatterns {
			fail(i, name, wrong("names", "all rules together have more than %d patterns", maxPatterns))
			break
		}
		sum.Write(r.digest)
		s.rules = append(s.rules, r)
	}
	if all != nil {
		return nil, all
	}
	s.digest = sum.Sum(nil)
	return s, nil
}

// Len is how many rules there are.
func (s *Set) Len() int {
	if s == nil {
		return 0
	}
	return len(s.rules)
}

// Digest is that of all rules in their order, nil if there are none.
func (s *Set) Digest() []byte {
	if s.Len() == 0 {
		return nil
	}
	return s.digest
}

// WantsReverse reports whether a rule for an authority asks for the names of the asker's address.
func (s *Set) WantsReverse(authority string) bool {
	if s == nil {
		return false
	}
	return slices.ContainsFunc(s.rules, func(r *rule) bool {
		return (r.authorities == nil || slices.Contains(r.authorities, authority)) &&
			slices.ContainsFunc(r.names, func(p pattern) bool { return p.holds == ofAddress })
	})
}

// why says why a rule does not match. It is called when somebody wants to know.
type why func() string

func because(condition, format string, args ...any) why {
	return func() string { return condition + ": " + fmt.Sprintf(format, args...) }
}

// mismatch returns why a rule says nothing about a case; nil: it decides.
func (r *rule) mismatch(c *prepared) why {
	a := &c.Asker
	switch {
	case r.authorities != nil && !slices.Contains(r.authorities, c.Authority):
		return because("authority", "the request is to %s", c.Authority)
	case r.decision == Approve && c.Users && r.authorities == nil:
		return because("authority", "%s certifies users, who are approved only by a rule that names it", c.Authority)
	case r.profiles != nil && !slices.Contains(r.profiles, c.Profile):
		return because("profile", "the request is for %s", c.Profile)
	case r.frontEnds != nil && !slices.Contains(r.frontEnds, a.FrontEnd):
		return because("front_end", "the request came by way of %s", known(a.FrontEnd))
	case r.clients != nil && !r.isClient(a.Client):
		return because("client", "the client is %s", known(a.Client))
	case r.from != nil && !c.address.IsValid():
		return because("from", "the address of whoever asks is not known")
	case r.from != nil && !r.isFrom(c):
		return because("from", "the request came from %s", c.address)
	case r.invitation && a.Invitation == "":
		return because("invitation", "none was shown")
	case r.ssh && a.SSH == nil:
		return because("ssh", "no SSH host key was shown")
	}
	if why := r.certified(c); why != nil {
		return why
	}
	if r.keys != nil && !r.isKey(c.Key) {
		return because("keys", "the key is %s", known(c.Key))
	}
	id := r.identityOf(a)
	if ok, why := r.covered(c, &id); !ok {
		return why
	}
	return nil
}

// known is what somebody is told of a value that came from outside.
func known(value string) string {
	if value == "" {
		return "not known"
	}
	return pki.EscapeText(value)
}

func (r *rule) isFrom(c *prepared) bool {
	for _, network := range r.from {
		if network.Contains(c.address) {
			return true
		}
	}
	return false
}

// isClient compares with patterns in which a * is any text without a slash.
func (r *rule) isClient(client string) bool {
	return client != "" && len(client) <= maxPattern && slices.ContainsFunc(r.clients, func(glob string) bool { return matchGlob(glob, client, "/") })
}

// isKey reports whether a type of key, or its family, is one of the rule's.
func (r *rule) isKey(key string) bool {
	family, _, _ := strings.Cut(key, "-")
	return slices.ContainsFunc(r.keys, func(allowed string) bool { return allowed == key || allowed == family })
}

// certified returns why the certificate that was shown, if any, is not one of those the rule asks for.
func (r *rule) certified(c *prepared) why {
	if r.certificate == nil {
		return nil
	}
	shown := c.Asker.Certificate
	switch {
	case shown == nil:
		return because("certificate", "none was shown")
	case !slices.Contains(r.certificate, shown.Authority):
		return because("certificate", "that of %s was shown", known(shown.Authority))
	case r.certificateNames == nil:
		return nil
	}
	names := make([]Name, 0, len(shown.Names)+1)
	for _, name := range shown.Names {
		kind, value, _ := strings.Cut(name, ":")
		names = append(names, Name{kind, value})
	}
	if cn := commonName(shown.Subject); cn != "" {
		names = append(names, Name{KindCN, cn})
	}
	for _, name := range names {
		t := newTarget(name, nil)
		for i := range r.certificateNames {
			p := &r.certificateNames[i]
			if t.blocked(p) == "" && p.matches(&t, c, &identity{}, true) {
				return nil
			}
		}
	}
	return because("certificate_names", "the certificate that was shown has none of them")
}

// verdict is what a rule decides.
func (r *rule) verdict() Verdict {
	return Verdict{Decision: r.decision, Rule: r.name, Digest: r.digest, Reason: r.reason, Approvals: r.approvals, MaxValidity: r.maxValidity}
}

// judge finds the rule that decides; nil: none does.
func (s *Set) judge(c *Case, skipped func(*rule, why)) *rule {
	if s.Len() == 0 {
		return nil
	}
	p := prepare(c)
	for _, r := range s.rules {
		why := r.mismatch(p)
		if why == nil {
			return r
		}
		if skipped != nil {
			skipped(r, why)
		}
	}
	return nil
}

// A Step is a rule that was looked at.
type Step struct {
	Rule     string `json:"rule"`
	Decision string `json:"decision"` // that it is for
	Matched  bool   `json:"matched"`
	Why      string `json:"why,omitzero"` // it did not
}

// Judge returns what the rules decide about a case, rates aside.
func (s *Set) Judge(c Case) Verdict {
	if r := s.judge(&c, nil); r != nil {
		return r.verdict()
	}
	return Verdict{Decision: Hold}
}

// Explain returns what the rules decide about a case, rates aside, and what each of them said of it, up to the one that decides.
func (s *Set) Explain(c Case) (Verdict, []Step) {
	var steps []Step
	r := s.judge(&c, func(r *rule, why why) { steps = append(steps, Step{r.name, string(r.decision), false, why()}) })
	if r == nil {
		return Verdict{Decision: Hold}, steps
	}
	return r.verdict(), append(steps, Step{r.name, string(r.decision), true, ""})
}
