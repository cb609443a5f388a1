package policy

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"cauase/pkg/pki"
	"cauase/pkg/profile"
)

// A rule is a configured one, checked.
type rule struct {
	name   string
	digest []byte

	authorities, profiles []string // sorted, like all lists of words; nil: any
	names                 []pattern
	all                   bool // of the requested names have to match; or one of them

	from             []netip.Prefix
	frontEnds        []string
	clients          []string // globs of words
	certificate      []string // authorities
	certificateNames []pattern
	ssh, invitation  bool

	keys []string

	maxValidity time.Duration
	rate        Rate
	askerRate   Rate

	decision  Decision
	reason    string
	approvals int
}

// FrontEnds are the ways to ask that a rule can name.
func FrontEnds() []string { return []string{"acme", "caucase", "management", "signing"} }

const (
	// MaxReason bounds the reason of a rule, in bytes.
	MaxReason = 500
	// MaxApprovals is how many users a rule can ask for.
	MaxApprovals = 10
)

var wellFormed = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

func compile(name string, c Config) (*rule, error) {
	if !wellFormed.MatchString(name) {
		return nil, wrong("name", "%.80q is not up to 64 letters, digits, dots, hyphens and underscores", name)
	}
	r := &rule{name: name}
	for _, step := range []func(Config) error{r.compileDecision, r.compileWhat, r.compileNames, r.compileWho, r.compileLimits} {
		if err := step(c); err != nil {
			return nil, err
		}
	}
	var err error
	if r.digest, err = r.sum(); err != nil {
		return nil, err
	}
	return r, nil
}

func (r *rule) compileDecision(c Config) error {
	r.decision = Decision(c.Decision)
	switch {
	case c.Decision == "":
		return wrong("decision", "is missing: what becomes of a request that matches? approve, hold or refuse")
	case !slices.Contains([]Decision{Approve, Hold, Refuse}, r.decision):
		return wrong("decision", "%.80q is none of approve, hold and refuse", c.Decision)
	case c.Reason != "" && r.decision == Approve:
		return wrong("reason", "nobody is told why a request is approved: reasons are for hold and refuse")
	case len(c.Reason) > MaxReason:
		return wrong("reason", "is longer than %d bytes", MaxReason)
	case pki.EscapeText(c.Reason) != c.Reason:
		return wrong("reason", "has characters that do not print")
	}
	r.reason = c.Reason
	if c.Approvals != nil {
		switch n := *c.Approvals; {
		case r.decision != Hold:
			return wrong("approvals", "how many users approve is for rules that hold, and this one is to %s", r.decision)
		case n < 1 || n > MaxApprovals:
			return wrong("approvals", "%d is not between 1 and %d", n, MaxApprovals)
		default:
			r.approvals = n
		}
	}
	return nil
}

func (r *rule) compileWhat(c Config) (err error) {
	if r.authorities, err = texts("authority", c.Authority); err != nil {
		return err
	}
	if r.profiles, err = texts("profile", c.Profile); err != nil {
		return err
	}
	for field, list := range map[string][]string{"authority": r.authorities, "profile": r.profiles} {
		for _, name := range list {
			if !isName.MatchString(name) {
				return wrong(field, "%.80q is no name: it is lower-case letters, digits and hyphens, without patterns", name)
			}
		}
		slices.Sort(list)
	}
	r.keys, err = words("keys", c.Keys, profile.KeyNames())
	return err
}

// isName is the syntax of names of authorities and profiles.
var isName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,31}$`)

func (r *rule) compileNames(c Config) (err error) {
	if r.names, err = parsePatterns("names", c.Names); err != nil {
		return err
	}
	r.all = r.decision == Approve
	switch c.Match {
	case "":
		return nil
	case "all":
		r.all = true
	case "any":
		if r.decision == Approve {
			return wrong("match", "any would approve a request for one of its names: what approves is about all of them")
		}
		r.all = false
	default:
		return wrong("match", "%.80q is neither all nor any", c.Match)
	}
	if r.names == nil {
		return wrong("match", "is about names, and the rule has none")
	}
	return nil
}

func (r *rule) compileWho(c Config) (err error) {
	from, err := texts("from", c.From)
	if err != nil {
		return err
	}
	for _, text := range from {
		network, err := parseNetwork(text)
		if err != nil {
			return wrong("from", "%.80q %w", text, err)
		}
		r.from = append(r.from, network)
	}
	if r.frontEnds, err = words("front_end", c.FrontEnd, FrontEnds()); err != nil {
		return err
	}
	if r.clients, err = texts("client", c.Client); err != nil {
		return err
	}
	slices.Sort(r.clients)
	if r.certificate, err = texts("certificate", c.Certificate); err != nil {
		return err
	}
	slices.Sort(r.certificate)
	if r.certificateNames, err = parsePatterns("certificate_names", c.CertificateNames); err != nil {
		return err
	}
	if r.ssh, err = onlyTrue("ssh", c.SSH); err != nil {
		return err
	}
	if r.invitation, err = onlyTrue("invitation", c.Invitation); err != nil {
		return err
	}
	return r.checkWho()
}

func onlyTrue(field string, value *bool) (bool, error) {
	if value != nil && !*value {
		return false, wrong(field, "false is no condition: leave it out")
	}
	return value != nil, nil
}

// checkWho looks for what makes no sense together.
func (r *rule) checkWho() error {
	switch {
	case r.clients != nil && r.frontEnds == nil:
		return wrong("client", "what a client is known by means something else to each way to ask: say which with front_end")
	case r.certificateNames != nil && r.certificate == nil:
		return wrong("certificate_names", "are of a certificate: say with certificate which authority has issued it")
	case r.invitation && r.frontEnds != nil && !slices.Contains(r.frontEnds, "caucase"):
		return wrong("invitation", "invitations are presented by way of the front-end caucase only")
	}
	for _, p := range r.certificateNames {
		if p.holds != "" {
			return wrong("certificate_names", "%s stands for the names of that certificate: it is for names", p.holds)
		}
	}
	for _, p := range r.names {
		if p.holds == ofIdentity && r.certificate == nil && !r.ssh {
			return wrong("names", "%s: whose? Say certificate = \"AUTHORITY\" or ssh = true", p.holds)
		}
	}
	return nil
}

func (r *rule) compileLimits(c Config) (err error) {
	if c.MaxValidity != "" {
		r.maxValidity, err = pki.ParseDuration(c.MaxValidity)
		switch {
		case err != nil || r.maxValidity < time.Second || r.maxValidity%time.Second != 0:
			return wrong("max_validity", "%.80q is not a duration such as 36h, 30d or 1y", c.MaxValidity)
		case r.decision == Refuse:
			return wrong("max_validity", "what is refused is valid for no time at all")
		}
	}
	for _, rate := range []struct {
		field, text string
		to          *Rate
	}{{"rate", c.Rate, &r.rate}, {"asker_rate", c.AskerRate, &r.askerRate}} {
		if rate.text == "" {
			continue
		}
		if *rate.to, err = ParseRate(rate.text); err != nil {
			return wrong(rate.field, "%w", err)
		}
		if r.decision != Approve {
			return wrong(rate.field, "is how often a rule approves, and this one is to %s", r.decision)
		}
	}
	return nil
}

// sum is the digest of the rule in its canonical form: the same rule has the same one, however it is written.
func (r *rule) sum() ([]byte, error) {
	shown := func(patterns []pattern) (list []string) {
		for _, p := range patterns {
			list = append(list, p.shown)
		}
		slices.Sort(list)
		return list
	}
	from := make([]string, len(r.from))
	for i, network := range r.from {
		from[i] = network.String()
	}
	slices.Sort(from)
	match := "any"
	if r.all {
		match = "all"
	}
	if r.names == nil {
		match = ""
	}
	canonical, err := json.Marshal(struct {
		Name             string   `json:"name"`
		Authority        []string `json:"authority,omitzero"`
		Profile          []string `json:"profile,omitzero"`
		Names            []string `json:"names,omitzero"`
		Match            string   `json:"match,omitzero"`
		From             []string `json:"from,omitempty"`
		FrontEnd         []string `json:"front_end,omitzero"`
		Client           []string `json:"client,omitzero"`
		Certificate      []string `json:"certificate,omitzero"`
		CertificateNames []string `json:"certificate_names,omitzero"`
		SSH              bool     `json:"ssh,omitzero"`
		Invitation       bool     `json:"invitation,omitzero"`
		Keys             []string `json:"keys,omitzero"`
		MaxValidity      int64    `json:"max_validity,omitzero"` // seconds
		Rate             string   `json:"rate,omitzero"`
		AskerRate        string   `json:"asker_rate,omitzero"`
		Decision         Decision `json:"decision"`
		Reason           string   `json:"reason,omitzero"`
		Approvals        int      `json:"approvals,omitzero"`
	}{
		r.name, r.authorities, r.profiles, shown(r.names), match, from, r.frontEnds, r.clients, r.certificate, shown(r.certificateNames),
		r.ssh, r.invitation, r.keys, int64(r.maxValidity / time.Second), r.rate.String(), r.askerRate.String(), r.decision, r.reason, r.approvals,
	}, json.Deterministic(true))
	if err != nil {
		return nil, fmt.Errorf("canonical form: %w", err)
	}
	sum := sha256.Sum256(canonical)
	return sum[:], nil
}

// A Rate is how often something may happen. The zero Rate is no bound.
type Rate struct {
	Count int
	In    time.Duration
}

// maxRate bounds how many approvals have to be remembered.
const maxRate = 10_000

// ParseRate reads "10/h" or "100/7d".
func ParseRate(text string) (Rate, error) {
	bad := errors.New("is not a rate such as 10/h or 100/7d")
	count, per, found := strings.Cut(text, "/")
	n, err := strconv.Atoi(count)
	if !found || err != nil || strconv.Itoa(n) != count {
		return Rate{}, fmt.Errorf("%.80q %w", text, bad)
	}
	if per != "" && strings.Trim(per[:1], "0123456789.") != "" {
		per = "1" + per
	}
	in, err := pki.ParseDuration(per)
	switch {
	case err != nil || in < time.Second:
		return Rate{}, fmt.Errorf("%.80q %w", text, bad)
	case n < 1:
		return Rate{}, fmt.Errorf("%.80q lets the rule approve nothing, ever", text)
	case n > maxRate:
		return Rate{}, fmt.Errorf("%.80q: more than %d cannot be counted", text, maxRate)
	}
	return Rate{n, in}, nil
}

func (r Rate) String() string {
	if r.Count == 0 {
		return ""
	}
	return strconv.Itoa(r.Count) + "/" + pki.FormatDuration(r.In)
}
