package profile

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"cauase/pkg/pki"
)

// AsRequested is the name of the profile that gives what was asked for, filtered.
const AsRequested = "as-requested"

// ErrRefused is what every refusal of a profile is.
var ErrRefused = errors.New("not what the profile allows")

// A Profile says what certificates of one kind are like: what a request may ask for, and what it
// gets. It is made by Compile or built in, and does not change.
type Profile struct {
	name        string
	asRequested bool

	keyUsage       []byte // DER; nil: none
	extKeyUsage    []asn1.ObjectIdentifier
	criticalUsages bool // extended ones; key usages always are
	names          map[string]int
	minNames       int
	subject        []string // fields that come from the request
	fixed          []field
	keyTypes       []pki.KeyType // empty: any
	validity       time.Duration // 0: the authority's
	longest        time.Duration // 0: the default
	extensions     []pkix.Extension
	ocspURL        string
	noCRL          bool
}

// A field is one attribute of a subject.
type field struct {
	label string
	id    asn1.ObjectIdentifier
	value string
}

// Name returns the name by which a request asks for the profile.
func (p *Profile) Name() string { return p.name }

// Validity returns how long a certificate lives for which so much is asked, which is 0 where nothing
// is. The authority's span is the default of profiles that have none, and the longest one.
func (p *Profile) Validity(asked, span time.Duration) (time.Duration, error) {
	usual := p.validity
	if usual == 0 {
		usual = span
	}
	longest := max(p.longest, usual)
	switch {
	case asked < 0:
		return 0, p.refuse("a validity of %v", asked)
	case asked == 0:
		return usual, nil
	case asked > longest:
		return 0, p.refuse("a validity of %v is asked for; the longest is %v", asked, longest)
	}
	return asked, nil
}

// Template checks a draft against the profile, and returns what x509.CreateCertificate needs. A
// refusal says what it is about.
//
// A renewal has subject and extensions of a certificate that was checked when it was issued: they are
// carried on.
func (p *Profile) Template(l Leaf) (*x509.Certificate, error) {
	if p.asRequested {
		return l.Template()
	}
	if err := p.checkKey(l); err != nil {
		return nil, err
	}
	if !l.Renewal {
		if err := p.checkNames(l.Extensions); err != nil {
			return nil, err
		}
		if err := p.checkUsages(l.Extensions); err != nil {
			return nil, err
		}
		var err error
		if l.Subject, err = p.subjectOf(l.Subject); err != nil {
			return nil, err
		}
	}
	asked := l.Extensions
	l.Extensions = nil
	for _, e := range asked {
		if e.Id.Equal(oidSubjectAltName) || e.Id.Equal(oidCertificatePolicies) {
			l.Extensions = append(l.Extensions, e)
		}
	}
	if p.noCRL {
		l.CRLURL = ""
	}
	t, err := l.Template()
	if err != nil {
		return nil, err
	}
	if p.ocspURL != "" {
		t.OCSPServer = []string{p.ocspURL}
	}
	if p.keyUsage != nil {
		t.ExtraExtensions = append(t.ExtraExtensions, pkix.Extension{Id: oidKeyUsage, Critical: true, Value: p.keyUsage})
	}
	if len(p.extKeyUsage) > 0 {
		value, err := asn1.Marshal(p.extKeyUsage)
		if err != nil {
			return nil, err
		}
		t.ExtraExtensions = append(t.ExtraExtensions, pkix.Extension{Id: oidExtKeyUsage, Critical: p.criticalUsages, Value: value})
	}
	t.ExtraExtensions = append(t.ExtraExtensions, p.extensions...)
	return t, nil
}

func (p *Profile) refuse(format string, args ...any) error {
	return fmt.Errorf("profile %s: %w: %s", p.name, ErrRefused, fmt.Sprintf(format, args...))
}

func (p *Profile) checkKey(l Leaf) error {
	if len(p.keyTypes) == 0 {
		return nil
	}
	if t, err := pki.KeyTypeOf(l.PublicKey); err == nil && slices.Contains(p.keyTypes, t) {
		return nil
	}
	return p.refuse("the key is %s; only %s is allowed", pki.DescribeKey(l.PublicKey), join(p.keyTypes))
}

// checkNames looks at the subject alternative names.
func (p *Profile) checkNames(extensions []pkix.Extension) error {
	names := pki.SANStrings(extensions)
	count := map[string]int{}
	for _, name := range names {
		kind, value, _ := strings.Cut(name, ":")
		kind = strings.ToLower(kind)
		most, ok := p.names[kind]
		if !ok {
			return p.refuse("the request asks for the %s %s; only %s are allowed", describeKind(kind), value, p.describeNames())
		}
		if count[kind]++; count[kind] > most {
			return p.refuse("the request asks for more than %d names of the kind %s", most, describeKind(kind))
		}
	}
	if len(names) < p.minNames {
		return p.refuse("the request has %d subject alternative names; at least %d are needed", len(names), p.minNames)
	}
	return nil
}

// checkUsages refuses what a request says its certificate is for, if it is for something else.
func (p *Profile) checkUsages(extensions []pkix.Extension) error {
	for _, e := range extensions {
		if !e.Id.Equal(oidExtKeyUsage) {
			continue
		}
		var usages []asn1.ObjectIdentifier
		if rest, err := asn1.Unmarshal(e.Value, &usages); err != nil || len(rest) > 0 {
			return p.refuse("the extended key usage cannot be read")
		}
		for _, u := range usages {
			if !slices.ContainsFunc(p.extKeyUsage, u.Equal) {
				return p.refuse("the request asks for the extended key usage %s; only %s is allowed", extKeyUsageName(u), p.describeUsages())
			}
		}
	}
	return nil
}

// subjectOf returns the subject with the fixed fields that the request leaves out, and refuses those
// that the profile does not have from requests. What the request has stays as it is, byte for byte.
func (p *Profile) subjectOf(der []byte) ([]byte, error) {
	var asked []asn1.RawValue
	if rest, err := asn1.Unmarshal(der, &asked); err != nil || len(rest) > 0 {
		return nil, p.refuse("the subject cannot be read")
	}
	missing := slices.Clone(p.fixed)
	for _, rdn := range asked {
		var set pkix.RelativeDistinguishedNameSET
		if _, err := asn1.UnmarshalWithParams(rdn.FullBytes, &set, "set"); err != nil {
			return nil, p.refuse("the subject cannot be read")
		}
		for _, attribute := range set {
			label := fieldName(attribute.Type)
			value, isText := attribute.Value.(string)
			i := slices.IndexFunc(p.fixed, func(f field) bool { return f.id.Equal(attribute.Type) })
			switch {
			case i >= 0 && (!isText || value != p.fixed[i].value):
				return nil, p.refuse("the subject's %s is %q; it has to be %q, or left out", label, pki.EscapeText(value), p.fixed[i].value)
			case i >= 0:
				missing = slices.DeleteFunc(missing, func(f field) bool { return f.id.Equal(attribute.Type) })
			case !slices.Contains(p.subject, label):
				return nil, p.refuse("the subject has a field %s; only %s may be asked for", label, orNone(p.subject))
			}
		}
	}
	if len(missing) == 0 {
		return der, nil
	}
	var own pkix.RDNSequence
	for _, f := range missing {
		own = append(own, pkix.RelativeDistinguishedNameSET{{Type: f.id, Value: f.value}})
	}
	ownDER, err := asn1.Marshal(own)
	if err != nil {
		return nil, err
	}
	var added []asn1.RawValue
	if _, err := asn1.Unmarshal(ownDER, &added); err != nil {
		return nil, err
	}
	return asn1.Marshal(append(added, asked...))
}

func join[T ~string](list []T) string {
	texts := make([]string, len(list))
	for i, t := range list {
		texts[i] = string(t)
	}
	return strings.Join(texts, ", ")
}

func orNone(list []string) string {
	if len(list) == 0 {
		return "none"
	}
	return join(list)
}

// kinds are the kinds of subject alternative names, as SANStrings has them, and what they are called.
var kinds = [...]struct{ kind, one, many string }{
	{"dns", "DNS name", "DNS names"},
	{"ip", "IP address", "IP addresses"},
	{"email", "e-mail address", "e-mail addresses"},
	{"uri", "URI", "URIs"},
}

func describeKind(kind string) string {
	for _, k := range kinds {
		if k.kind == kind {
			return k.one
		}
	}
	return "name of kind " + kind
}

func (p *Profile) describeNames() string {
	var allowed []string
	for _, k := range kinds {
		if _, ok := p.names[k.kind]; ok {
			allowed = append(allowed, k.many)
		}
	}
	switch n := len(allowed); n {
	case 0:
		return "subjects without alternative names"
	case 1:
		return allowed[0]
	default:
		return strings.Join(allowed[:n-1], ", ") + " and " + allowed[n-1]
	}
}

func (p *Profile) describeUsages() string {
	var names []string
	for _, u := range p.extKeyUsage {
		names = append(names, extKeyUsageName(u))
	}
	return orNone(names)
}
