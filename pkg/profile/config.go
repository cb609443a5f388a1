package profile

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"cauase/pkg/pki"
)

// A Config is a table [profile.NAME] of a configuration file. What is left out is as the field says.
type Config struct {
	// ExtendedKeyUsage says what the certificates are for: "serverAuth" and the like, or dotted object
	// identifiers. It must be there.
	ExtendedKeyUsage []string `toml:"extended_key_usage"`
	// KeyUsage lists the usages by their names in RFC 5280; a key gets those that its type allows. Default:
	// digitalSignature, with serverAuth and emailProtection also keyEncipherment.
	KeyUsage []string `toml:"key_usage"`
	// Names are the kinds of subject alternative names that a request may ask for: "dns", "ip", "email",
	// "uri". Default: none.
	Names []string `toml:"names"`
	// MinNames and MaxNames bound how many. Default: 0 and pki.MaxSANs.
	MinNames int `toml:"min_names"`
	MaxNames int `toml:"max_names"`
	// Subject says for each attribute whether it is what the request has ("request"), "forbidden", or a
	// fixed value. Attributes that are not listed are forbidden. Default, without the table: as requested.
	Subject map[string]string `toml:"subject"`
	// KeyTypes are those allowed: "ecdsa-p256", …, "rsa" for all sizes. Default: all.
	KeyTypes []string `toml:"key_types"`
	// Validity is for how long when nobody asks for it, Longest for how long at most: "36h", "30d", "1y".
	// Default: the authority's span.
	Validity string `toml:"validity"`
	Longest  string `toml:"longest"`
	// Critical lists which of "key_usage", "extended_key_usage" and "names" are marked critical. Default: key_usage.
	Critical []string `toml:"critical"`
	// Policies are object identifiers of certificate policies.
	Policies []string `toml:"policies"`
	// OCSP is the URL of the OCSP responder that certificates point to.
	OCSP string `toml:"ocsp_url"`
	// Extensions are added as they are.
	Extensions []ExtensionConfig `toml:"extension"`
}

// An ExtensionConfig is an extension that is in every certificate of a profile.
type ExtensionConfig struct {
	OID      string `toml:"oid"`
	Critical bool   `toml:"critical"`
	DER      string `toml:"der_hex"` // of the value
}

// wellFormed is the syntax of names, of profiles as of authorities.
var wellFormed = regexp.MustCompile(`^[a-z][a-z0-9-]{0,31}$`)

// Compile checks a configured profile whole. Errors name the field.
func Compile(name string, c Config) (*Profile, error) {
	p, err := compile(name, c)
	if err == nil {
		return p, nil
	}
	wrong := &ConfigError{Profile: name, Err: err}
	var field *configFieldError
	if errors.As(err, &field) {
		wrong.Field, wrong.Err = field.name, field.err
	}
	return nil, wrong
}

// A ConfigError says what is wrong with a configured profile, and where.
type ConfigError struct {
	Profile string
	Field   string // as in the configuration, with a dot before those of a table in it; empty: the profile itself
	Err     error
}

func (e *ConfigError) Error() string {
	where := "profile." + e.Profile
	if e.Field != "" {
		where += "." + e.Field
	}
	return where + ": " + e.Err.Error()
}

// Unwrap returns what is wrong.
func (e *ConfigError) Unwrap() error { return e.Err }

// A configFieldError is an error about a field, of a profile whose name is known to the caller.
type configFieldError struct {
	name string
	err  error
}

func (e *configFieldError) Error() string { return e.name + ": " + e.err.Error() }

func fieldError(field, format string, args ...any) error {
	return &configFieldError{field, fmt.Errorf(format, args...)}
}

func compile(name string, c Config) (p *Profile, err error) {
	if !wellFormed.MatchString(name) {
		return nil, errors.New("a name is lower-case letters, digits and hyphens, a letter first, at most 32")
	}
	reserved := append(builtIn(), DaemonServer())
	if slices.ContainsFunc(reserved, func(p *Profile) bool { return p.name == name }) {
		return nil, errors.New("is built in; choose another name")
	}
	p = &Profile{name: name}
	for _, step := range []func(*Profile, Config) error{
		compilePurposes, compileUsage, compileNames, compileKeys, compileValidity, compileCritical, compilePolicies, compileOCSP, compileExtra,
	} {
		if err := step(p, c); err != nil {
			return nil, err
		}
	}
	if p.subject, err = compileSubject(c.Subject); err != nil {
		return nil, err
	}
	if p.subject.ruled && len(p.subject.rules) == 0 && p.names.max == 0 {
		return nil, fieldError("names", "certificates with neither a subject nor names would name nobody")
	}
	return p, nil
}

// purposeIDs are extended key usages by name. OCSPSigning is not one of them: that is the built-in profile's alone.
var purposeIDs = map[string]asn1.ObjectIdentifier{
	"serverAuth":      {1, 3, 6, 1, 5, 5, 7, 3, 1},
	"clientAuth":      {1, 3, 6, 1, 5, 5, 7, 3, 2},
	"codeSigning":     {1, 3, 6, 1, 5, 5, 7, 3, 3},
	"emailProtection": {1, 3, 6, 1, 5, 5, 7, 3, 4},
	"timeStamping":    {1, 3, 6, 1, 5, 5, 7, 3, 8},
	"documentSigning": {1, 3, 6, 1, 5, 5, 7, 3, 36},
	"ipsecIKE":        {1, 3, 6, 1, 5, 5, 7, 3, 17},
	"smartcardLogon":  {1, 3, 6, 1, 4, 1, 311, 20, 2, 2},
}

func purposes(names ...string) []asn1.ObjectIdentifier {
	var ids []asn1.ObjectIdentifier
	for _, name := range names {
		ids = append(ids, purposeIDs[name])
	}
	return ids
}

func compilePurposes(p *Profile, c Config) error {
	const field = "extended_key_usage"
	if len(c.ExtendedKeyUsage) == 0 {
		return fieldError(field, "missing: what are the certificates for? For instance [\"serverAuth\"]")
	}
	for _, name := range c.ExtendedKeyUsage {
		id, ok := purposeIDs[name]
		if !ok {
			var err error
			if id, err = parseOID(name); err != nil {
				return fieldError(field, "%q is none of %s, nor an object identifier such as 1.3.6.1.5.5.7.3.1", name, join(sortedKeys(purposeIDs), "and"))
			}
		}
		switch {
		case id.Equal(oidOCSPSigning):
			return fieldError(field, "%q may sign in the CA's name: only the built-in profile %s has it", name, NameOCSP)
		case id.Equal(oidAnyPurpose):
			return fieldError(field, "%q is every purpose: name those that are meant", name)
		case slices.ContainsFunc(p.purposes, id.Equal):
			return fieldError(field, "%q stands there twice", name)
		}
		p.purposes = append(p.purposes, id)
	}
	return nil
}

var oidAnyPurpose = asn1.ObjectIdentifier{2, 5, 29, 37, 0}

var usageBits = map[string]x509.KeyUsage{
	"digitalSignature":  x509.KeyUsageDigitalSignature,
	"contentCommitment": x509.KeyUsageContentCommitment,
	"nonRepudiation":    x509.KeyUsageContentCommitment, // its former name
	"keyEncipherment":   x509.KeyUsageKeyEncipherment,
	"dataEncipherment":  x509.KeyUsageDataEncipherment,
	"keyAgreement":      x509.KeyUsageKeyAgreement,
	"encipherOnly":      x509.KeyUsageEncipherOnly,
	"decipherOnly":      x509.KeyUsageDecipherOnly,
}

func compileUsage(p *Profile, c Config) error {
	const field = "key_usage"
	if c.KeyUsage == nil {
		p.usage = x509.KeyUsageDigitalSignature
		for _, id := range purposes("serverAuth", "emailProtection") {
			if slices.ContainsFunc(p.purposes, id.Equal) {
				p.usage |= x509.KeyUsageKeyEncipherment
			}
		}
		return nil
	}
	for _, name := range c.KeyUsage {
		bit, ok := usageBits[name]
		switch {
		case name == "keyCertSign" || name == "cRLSign":
			return fieldError(field, "%q is for CAs only", name)
		case !ok:
			return fieldError(field, "%q is none of %s", name, join(sortedKeys(usageBits), "and"))
		}
		p.usage |= bit
	}
	const only = x509.KeyUsageEncipherOnly | x509.KeyUsageDecipherOnly
	switch {
	case p.usage == 0:
		return fieldError(field, "is empty: leave it out for the default")
	case p.usage&only != 0 && p.usage&x509.KeyUsageKeyAgreement == 0:
		return fieldError(field, "encipherOnly and decipherOnly mean nothing without keyAgreement")
	case p.usage&only == only:
		return fieldError(field, "encipherOnly and decipherOnly exclude each other")
	}
	return nil
}

func kinds(names ...string) []nameKind {
	return slices.DeleteFunc(slices.Clone(nameKinds), func(k nameKind) bool { return !slices.Contains(names, k.name) })
}

func compileNames(p *Profile, c Config) error {
	for _, name := range c.Names {
		if len(kinds(name)) == 0 {
			return fieldError("names", "%q is none of dns, ip, email and uri", name)
		}
	}
	p.names = nameRules{kinds: kinds(c.Names...), min: c.MinNames, max: c.MaxNames}
	if p.names.max == 0 && len(c.Names) > 0 {
		p.names.max = pki.MaxSANs
	}
	switch r := p.names; {
	case r.max < 0 || r.max > pki.MaxSANs:
		return fieldError("max_names", "%d is not between 1 and %d", r.max, pki.MaxSANs)
	case r.max > 0 && len(c.Names) == 0:
		return fieldError("max_names", "no names are allowed: see names")
	case r.min < 0 || r.min > r.max:
		return fieldError("min_names", "%d is not between 0 and %d", r.min, r.max)
	}
	return nil
}

func compileKeys(p *Profile, c Config) error {
	known := KeyNames()
	for _, name := range c.KeyTypes {
		if !slices.Contains(known, name) {
			return fieldError("key_types", "%q is none of %s", name, join(known, "and"))
		}
	}
	if c.KeyTypes != nil && len(c.KeyTypes) == 0 {
		return fieldError("key_types", "is empty: leave it out to allow all")
	}
	p.keys = slices.Clone(c.KeyTypes)
	return nil
}

func compileValidity(p *Profile, c Config) (err error) {
	read := func(field, text string) (time.Duration, error) {
		if text == "" {
			return 0, nil
		}
		d, err := pki.ParseDuration(text)
		if err != nil || d < time.Second || d%time.Second != 0 {
			return 0, fieldError(field, "%q is not a duration such as 36h, 30d or 1y", text)
		}
		return d, nil
	}
	if p.validity, err = read("validity", c.Validity); err != nil {
		return err
	}
	if p.longest, err = read("longest", c.Longest); err != nil {
		return err
	}
	if p.longest > 0 && p.validity > p.longest {
		return fieldError("validity", "%s is longer than longest, %s", c.Validity, c.Longest)
	}
	return nil
}

func compileCritical(p *Profile, c Config) error {
	if c.Critical == nil {
		p.critical = criticals{usage: true} // RFC 5280 4.2.1.3
		return nil
	}
	for _, name := range c.Critical {
		switch name {
		case "key_usage":
			p.critical.usage = true
		case "extended_key_usage":
			p.critical.purposes = true
		case "names":
			p.critical.names = true
		default:
			return fieldError("critical", "%q is none of key_usage, extended_key_usage and names", name)
		}
	}
	return nil
}

func compilePolicies(p *Profile, c Config) error {
	for _, text := range c.Policies {
		id, err := parseOID(text)
		if err != nil {
			return fieldError("policies", "%q is not an object identifier such as 1.3.6.1.4.1.32473.1", text)
		}
		if len(id) >= len(policyArc) && id[:len(policyArc)].Equal(policyArc) {
			return fieldError("policies", "%q says how a certificate came to be: it is not for profiles", text)
		}
		if slices.ContainsFunc(p.policies, id.Equal) {
			return fieldError("policies", "%q stands there twice", text)
		}
		p.policies = append(p.policies, id)
	}
	return nil
}

func compileOCSP(p *Profile, c Config) error {
	if c.OCSP == "" {
		return nil
	}
	u, err := url.Parse(c.OCSP)
	// Who asks over HTTPS would need to ask about that certificate first.
	if err != nil || u.Scheme != "http" || u.Host == "" || u.User != nil || u.Fragment != "" || pki.CheckHost(hostOf(u)) != nil || !printable(c.OCSP) {
		return fieldError("ocsp_url", "%q is not a URL such as http://ocsp.example.org/", c.OCSP)
	}
	p.ocspURL = c.OCSP
	return nil
}

func hostOf(u *url.URL) string {
	if port := u.Port(); port != "" {
		return strings.TrimSuffix(u.Host, ":"+port)
	}
	return u.Host
}

func printable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f })
}

func compileExtra(p *Profile, c Config) error {
	for _, e := range c.Extensions {
		id, err := parseOID(e.OID)
		if err != nil {
			return fieldError("extension", "oid %q is not an object identifier such as 1.2.3.4", e.OID)
		}
		if why := reserved(id); why != "" {
			return fieldError("extension", "oid %q is %s, which cannot be set this way", e.OID, why)
		}
		if has(p.extra, id) {
			return fieldError("extension", "oid %q stands there twice", e.OID)
		}
		value, err := hex.DecodeString(e.DER)
		var whole asn1.RawValue
		if err != nil {
			return fieldError("extension", "%s: der_hex is not hexadecimal", e.OID)
		}
		if rest, err := asn1.Unmarshal(value, &whole); err != nil || len(rest) > 0 {
			return fieldError("extension", "%s: der_hex is not one value in DER", e.OID)
		}
		p.extra = append(p.extra, pkix.Extension{Id: id, Critical: e.Critical, Value: value})
	}
	return nil
}

// reserved names an extension that changes what a certificate may do, whom it names or how it is
// verified: profiles have other means for those, or none. It returns "" for any other.
func reserved(id asn1.ObjectIdentifier) string {
	if len(id) >= 3 && id[:3].Equal(asn1.ObjectIdentifier{2, 5, 29}) {
		return "a standard extension of X.509"
	}
	for name, known := range map[string]asn1.ObjectIdentifier{
		"authority information access":                     {1, 3, 6, 1, 5, 5, 7, 1, 1},
		"a delegation of IP addresses":                     {1, 3, 6, 1, 5, 5, 7, 1, 7},
		"a delegation of autonomous systems":               {1, 3, 6, 1, 5, 5, 7, 1, 8},
		"subject information access":                       {1, 3, 6, 1, 5, 5, 7, 1, 11},
		"proxy certificate information":                    {1, 3, 6, 1, 5, 5, 7, 1, 14},
		"the mark of an OCSP responder":                    oidOCSPNoCheck,
		"the certificate type of Netscape":                 {2, 16, 840, 1, 113730, 1, 1},
		"the application policies of Microsoft":            {1, 3, 6, 1, 4, 1, 311, 21, 10},
		"the application policy mappings of Microsoft":     {1, 3, 6, 1, 4, 1, 311, 21, 11},
		"the application policy constraints of Microsoft":  {1, 3, 6, 1, 4, 1, 311, 21, 12},
		"the mark of a precertificate (RFC 6962)":          {1, 3, 6, 1, 4, 1, 11129, 2, 4, 3},
		"a list of timestamps of certificate transparency": {1, 3, 6, 1, 4, 1, 11129, 2, 4, 2},
	} {
		if id.Equal(known) {
			return name
		}
	}
	return ""
}

// parseOID reads an object identifier in dotted form that can be encoded.
func parseOID(text string) (asn1.ObjectIdentifier, error) {
	var id asn1.ObjectIdentifier
	for part := range strings.SplitSeq(text, ".") {
		n, err := strconv.ParseInt(part, 10, 32)
		if err != nil || n < 0 || strconv.FormatInt(n, 10) != part || len(id) == 32 {
			return nil, errors.New("not an object identifier")
		}
		id = append(id, int(n))
	}
	if _, err := asn1.Marshal(id); err != nil {
		return nil, err
	}
	return id, nil
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
