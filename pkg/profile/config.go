package profile

import (
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"fmt"
	"maps"
	"math"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"cauase/pkg/pki"
)

// A Config is a profile as it stands in the daemon's configuration file.
type Config struct {
	KeyUsages         []string          `toml:"key_usages"`          // such as "digitalSignature" (RFC 5280 4.2.1.3)
	ExtendedKeyUsages []string          `toml:"extended_key_usages"` // such as "serverAuth", or a dotted OID
	Critical          bool              `toml:"critical_extended_key_usages"`
	Names             map[string]int    `toml:"names"`         // kinds of subject alternative names ("dns", "ip", "email", "uri"), and how many at most
	MinNames          int               `toml:"min_names"`     // subject alternative names there have to be
	Subject           []string          `toml:"subject"`       // fields that come from the request, such as "CN"; all others are refused
	FixedSubject      map[string]string `toml:"fixed_subject"` // fields that every certificate has
	KeyTypes          []string          `toml:"key_types"`     // none: any
	Validity          string            `toml:"validity"`      // such as "90d"; none: the authority's
	LongestValidity   string            `toml:"longest_validity"`
	OCSPURL           string            `toml:"ocsp_url"`
	NoCRLPointer      bool              `toml:"no_crl_pointer"`
	Extensions        []Extension       `toml:"extensions"`
}

// An Extension is one that every certificate gets as it is.
type Extension struct {
	OID      string `toml:"oid"`
	Critical bool   `toml:"critical"`
	DER      string `toml:"der"` // of its value, in hex
}

// A ConfigError says which field of which profile is wrong.
type ConfigError struct {
	Profile, Field string
	Err            error
}

func (e *ConfigError) Error() string {
	return fmt.Sprintf("profile %s: %s: %v", e.Profile, e.Field, e.Err)
}

// Unwrap returns the reason.
func (e *ConfigError) Unwrap() error { return e.Err }

var nameSyntax = regexp.MustCompile(`^[a-z][a-z0-9-]{0,31}$`)

// Compile makes the profile of this name. Its errors are *ConfigError.
func Compile(name string, c Config) (*Profile, error) {
	return compile(name, c, false)
}

// compile makes a profile, with what only those may have that are built in if asked to.
func compile(name string, c Config, builtIn bool) (*Profile, error) {
	wrong := func(field, format string, args ...any) error {
		return &ConfigError{name, field, fmt.Errorf(format, args...)}
	}
	if !nameSyntax.MatchString(name) {
		return nil, wrong("name", "has to be a letter and up to 31 letters, digits and hyphens, all in lower case")
	}
	p := &Profile{
		name: name, criticalUsages: c.Critical, names: maps.Clone(c.Names), minNames: c.MinNames,
		subject: slices.Clone(c.Subject), ocspURL: c.OCSPURL, noCRL: c.NoCRLPointer,
	}
	var err error
	if p.keyUsage, err = keyUsageOf(c.KeyUsages); err != nil {
		return nil, wrong("key_usages", "%w", err)
	}
	for _, usage := range c.ExtendedKeyUsages {
		id, err := extKeyUsageOf(usage)
		switch {
		case err != nil:
			return nil, wrong("extended_key_usages", "%w", err)
		case id.Equal(oidOCSPSigning) && !builtIn:
			return nil, wrong("extended_key_usages", "OCSPSigning is for the profile ocsp only: whoever has it speaks for the CA")
		case slices.ContainsFunc(p.extKeyUsage, id.Equal):
			return nil, wrong("extended_key_usages", "%s stands there twice", usage)
		}
		p.extKeyUsage = append(p.extKeyUsage, id)
	}
	all := 0
	for _, kind := range slices.Sorted(maps.Keys(c.Names)) {
		if !slices.ContainsFunc(kinds[:], func(k struct{ kind, one, many string }) bool { return k.kind == kind }) {
			return nil, wrong("names", "%q is not one of dns, ip, email, uri", kind)
		}
		if n := c.Names[kind]; n < 1 || n > pki.MaxSANs {
			return nil, wrong("names", "%s = %d: has to be 1 to %d", kind, n, pki.MaxSANs)
		}
		all += c.Names[kind]
	}
	if c.MinNames < 0 || c.MinNames > all {
		return nil, wrong("min_names", "%d: no more than %d are allowed", c.MinNames, all)
	}
	for i, label := range c.Subject {
		if _, ok := fieldID(label); !ok || slices.Contains(c.Subject[:i], label) {
			return nil, wrong("subject", "%q is not a field, or stands there twice: %s", label, fieldNames())
		}
	}
	for _, label := range slices.Sorted(maps.Keys(c.FixedSubject)) {
		id, ok := fieldID(label)
		value := c.FixedSubject[label]
		switch {
		case !ok:
			return nil, wrong("fixed_subject", "%q is not a field: %s", label, fieldNames())
		case slices.Contains(c.Subject, label):
			return nil, wrong("fixed_subject", "%s also comes from the request", label)
		case value == "" || pki.EscapeText(value) != value || len(value) > 64:
			return nil, wrong("fixed_subject", "%s: has to be printable text of 1 to 64 bytes", label)
		case label == "C" && len(value) != 2:
			return nil, wrong("fixed_subject", "C: a country has two letters")
		}
		p.fixed = append(p.fixed, field{label, id, value})
	}
	// A name reads from the general to the particular.
	slices.SortStableFunc(p.fixed, func(a, b field) int { return fieldRank(a.label) - fieldRank(b.label) })
	for _, text := range c.KeyTypes {
		t, err := pki.ParseKeyType(text)
		if err != nil {
			return nil, wrong("key_types", "%w", err)
		}
		p.keyTypes = append(p.keyTypes, t)
	}
	if p.validity, err = duration(c.Validity); err != nil {
		return nil, wrong("validity", "%w", err)
	}
	if p.longest, err = duration(c.LongestValidity); err != nil {
		return nil, wrong("longest_validity", "%w", err)
	}
	if p.longest != 0 && p.longest < p.validity {
		return nil, wrong("longest_validity", "is shorter than validity")
	}
	if c.OCSPURL != "" {
		if u, err := url.Parse(c.OCSPURL); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			return nil, wrong("ocsp_url", "is not an HTTP address")
		}
	}
	for i, e := range c.Extensions {
		out, err := e.compile()
		if err != nil {
			return nil, wrong(fmt.Sprintf("extensions[%d]", i), "%w", err)
		}
		if has(p.extensions, out.Id) {
			return nil, wrong(fmt.Sprintf("extensions[%d]", i), "%v stands there twice", out.Id)
		}
		p.extensions = append(p.extensions, out)
	}
	return p, nil
}

func (e Extension) compile() (pkix.Extension, error) {
	id, err := parseOID(e.OID)
	if err != nil {
		return pkix.Extension{}, err
	}
	// Those of RFC 5280, and the pointers of its private arc, are made from the other fields.
	if len(id) == 4 && id[0] == 2 && id[1] == 5 && id[2] == 29 || id.Equal(oidAuthorityInfoAccess) {
		return pkix.Extension{}, fmt.Errorf("%v has a field of its own, or is for the CA to decide", id)
	}
	value, err := hex.DecodeString(e.DER)
	if err != nil {
		return pkix.Extension{}, fmt.Errorf("der: %w", err)
	}
	var any asn1.RawValue
	if rest, err := asn1.Unmarshal(value, &any); err != nil || len(rest) > 0 {
		return pkix.Extension{}, fmt.Errorf("der: is not one DER value")
	}
	return pkix.Extension{Id: id, Critical: e.Critical, Value: value}, nil
}

func parseOID(text string) (asn1.ObjectIdentifier, error) {
	parts := strings.Split(text, ".")
	id := make(asn1.ObjectIdentifier, len(parts))
	for i, part := range parts {
		n, err := strconv.Atoi(part)
		if err != nil || n < 0 || n > math.MaxInt32 || strconv.Itoa(n) != part {
			return nil, fmt.Errorf("%q is not an object identifier", text)
		}
		id[i] = n
	}
	if _, err := asn1.Marshal(id); err != nil || len(id) < 3 {
		return nil, fmt.Errorf("%q is not an object identifier", text)
	}
	return id, nil
}

// duration reads a number and a unit: s, m, h, d or y, which is 365 days. Nothing is 0.
func duration(text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	const day = 24 * time.Hour
	units := map[byte]time.Duration{'s': time.Second, 'm': time.Minute, 'h': time.Hour, 'd': day, 'y': 365 * day}
	unit, ok := units[text[len(text)-1]]
	n, err := strconv.ParseInt(text[:len(text)-1], 10, 64)
	if !ok || err != nil || n < 1 || n > int64(100*365*day/unit) {
		return 0, fmt.Errorf("%q: a number and s, m, h, d or y are needed, no more than 100y", text)
	}
	return time.Duration(n) * unit, nil
}
