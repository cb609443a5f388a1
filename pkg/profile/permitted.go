package profile

import (
	"crypto/x509"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"cauase/pkg/pki"
)

// Permitted are the names that certificates below a CA may be for (RFC 5280 4.2.1.10). The zero
// Permitted permits every name.
//
// Names of a kind that is constrained in none of its forms would all be permitted by verifiers: whoever
// permits DNS names alone does not think of addresses, nor the other way round. So each of these two
// kinds is excluded altogether where only the other one is permitted: addresses by excluding all of
// them, DNS names by permitting those below a domain that never exists. Excluding the empty name
// would say the same, but Java refuses every certificate then.
type Permitted struct {
	DNS    []string // domains, without a leading period: a domain itself and everything below it
	IP     []*net.IPNet
	Emails []string // "host", ".domain" or "user@host"
	URIs   []string // hosts, or ".domain"
}

// noDomain is a domain below which there are no names (RFC 6761 6.4).
const noDomain = "invalid"

// maxPermitted bounds the names in one constraint.
const maxPermitted = 100

// ParsePermitted reads names such as "dns:.lab.example", "ip:10.0.0.0/8", "email:example.org" and
// "uri:example.org".
func ParsePermitted(texts []string) (Permitted, error) {
	var p Permitted
	if len(texts) > maxPermitted {
		return p, fmt.Errorf("%d permitted names, at most %d fit", len(texts), maxPermitted)
	}
	for _, text := range texts {
		kind, value, found := strings.Cut(text, ":")
		if !found {
			return p, permittedError(text, "is not KIND:NAME, such as dns:lab.example or ip:10.0.0.0/8")
		}
		switch strings.ToLower(kind) {
		case "dns":
			// A leading period means the same here, and confuses verifiers: RFC 5280 has it for
			// URIs and e-mail only.
			domain := strings.TrimPrefix(value, ".")
			if err := checkDomain(domain); err != nil {
				return p, permittedError(text, err.Error())
			}
			p.DNS = append(p.DNS, domain)
		case "ip":
			network, err := parseNetwork(value)
			if err != nil {
				return p, permittedError(text, err.Error())
			}
			p.IP = append(p.IP, network)
		case "email":
			user, host, isAddress := strings.Cut(value, "@")
			if !isAddress {
				user, host = "-", strings.TrimPrefix(value, ".")
			}
			if user == "" || strings.ContainsAny(user, " @<>\"\\,;:") || checkDomain(host) != nil {
				return p, permittedError(text, "is neither an address, a host nor a .domain")
			}
			p.Emails = append(p.Emails, value)
		case "uri":
			if err := checkDomain(strings.TrimPrefix(value, ".")); err != nil {
				return p, permittedError(text, err.Error())
			}
			p.URIs = append(p.URIs, value)
		default:
			return p, permittedError(text, "starts with none of dns:, ip:, email:, uri:")
		}
	}
	return p, nil
}

func permittedError(text, why string) error {
	return fmt.Errorf("permitted name %q %s", pki.EscapeText(text), why)
}

func parseNetwork(s string) (*net.IPNet, error) {
	prefix, err := netip.ParsePrefix(s)
	if err != nil {
		addr, e := netip.ParseAddr(s)
		if e != nil || addr.Zone() != "" {
			return nil, fmt.Errorf("is neither a network, such as 10.0.0.0/8, nor an address")
		}
		prefix = netip.PrefixFrom(addr, addr.BitLen())
	}
	if prefix != prefix.Masked() {
		return nil, fmt.Errorf("has bits behind its prefix: did you mean %s?", prefix.Masked())
	}
	if prefix.Addr().Is4In6() {
		return nil, fmt.Errorf("is an IPv4 network written as IPv6")
	}
	return &net.IPNet{IP: prefix.Addr().AsSlice(), Mask: net.CIDRMask(prefix.Bits(), prefix.Addr().BitLen())}, nil
}

// checkDomain accepts domains in ASCII, with internationalised labels in their ASCII form.
func checkDomain(domain string) error {
	if domain == "" || len(domain) > 253 {
		return fmt.Errorf("names no domain of at most 253 characters")
	}
	for _, label := range strings.Split(domain, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' ||
			strings.Trim(label, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") != "" {
			return fmt.Errorf("is not a domain in ASCII")
		}
	}
	return nil
}

// None reports whether every name is permitted.
func (p Permitted) None() bool {
	return len(p.DNS) == 0 && len(p.IP) == 0 && len(p.Emails) == 0 && len(p.URIs) == 0
}

// apply puts the constraint into the template of a CA certificate.
func (p Permitted) apply(t *x509.Certificate) {
	if p.None() {
		return
	}
	t.PermittedDNSDomainsCritical = true // the whole extension is
	t.PermittedDNSDomains = slices.Clone(p.DNS)
	t.PermittedIPRanges = slices.Clone(p.IP)
	t.PermittedEmailAddresses = slices.Clone(p.Emails)
	t.PermittedURIDomains = slices.Clone(p.URIs)
	if len(p.DNS) == 0 {
		t.PermittedDNSDomains = []string{noDomain}
	}
	if len(p.IP) == 0 {
		t.ExcludedIPRanges = []*net.IPNet{
			{IP: net.IPv4zero.To4(), Mask: net.CIDRMask(0, 32)},
			{IP: net.IPv6zero, Mask: net.CIDRMask(0, 128)},
		}
	}
}

// Equal reports whether a CA certificate has exactly this constraint.
func (p Permitted) Equal(crt *x509.Certificate) bool {
	want := &x509.Certificate{}
	p.apply(want)
	same := func(a, b []*net.IPNet) bool {
		return slices.EqualFunc(a, b, func(a, b *net.IPNet) bool { return a.String() == b.String() })
	}
	return slices.Equal(want.PermittedDNSDomains, crt.PermittedDNSDomains) && slices.Equal(want.ExcludedDNSDomains, crt.ExcludedDNSDomains) &&
		same(want.PermittedIPRanges, crt.PermittedIPRanges) && same(want.ExcludedIPRanges, crt.ExcludedIPRanges) &&
		slices.Equal(want.PermittedEmailAddresses, crt.PermittedEmailAddresses) && slices.Equal(want.ExcludedEmailAddresses, crt.ExcludedEmailAddresses) &&
		slices.Equal(want.PermittedURIDomains, crt.PermittedURIDomains) && slices.Equal(want.ExcludedURIDomains, crt.ExcludedURIDomains) &&
		(p.None() || crt.PermittedDNSDomainsCritical)
}

// CheckNames refuses names, as pki.SANStrings shows them, for which a CA may not certify by the
// constraints in its certificate: verifiers would refuse whatever it signs for them (RFC 5280 4.2.1.10).
func CheckNames(ca *x509.Certificate, sans []string) error {
	for _, san := range sans {
		kind, name, _ := strings.Cut(san, ":")
		var allowed bool
		switch kind {
		case "DNS":
			allowed = within(name, ca.PermittedDNSDomains, ca.ExcludedDNSDomains, inDomain)
		case "IP":
			addr, err := netip.ParseAddr(name)
			allowed = err != nil || within(addr, ca.PermittedIPRanges, ca.ExcludedIPRanges, inNetwork)
		case "email":
			allowed = within(name, ca.PermittedEmailAddresses, ca.ExcludedEmailAddresses, inMailbox)
		case "URI":
			u, err := url.Parse(name)
			allowed = err != nil || within(u.Hostname(), ca.PermittedURIDomains, ca.ExcludedURIDomains, inHost)
		default:
			allowed = true
		}
		if !allowed {
			return fmt.Errorf("the name %s: the CA certificate does not permit it, so that nobody would accept the certificate", san)
		}
	}
	return nil
}

// within reports whether a name is in one of the permitted sets, if there are any, and in none of the
// excluded ones.
func within[N, S any](name N, permitted, excluded []S, in func(N, S) bool) bool {
	for _, set := range excluded {
		if in(name, set) {
			return false
		}
	}
	for _, set := range permitted {
		if in(name, set) {
			return true
		}
	}
	return len(permitted) == 0
}

func inDomain(name, domain string) bool {
	name, domain = strings.ToLower(name), strings.ToLower(strings.TrimPrefix(domain, "."))
	return domain == "" || name == domain || strings.HasSuffix(name, "."+domain)
}

// inNetwork compares octets, as RFC 5280 has it: an IPv4 address written as IPv6 is an IPv6 one, which
// net.IPNet.Contains sees otherwise.
func inNetwork(addr netip.Addr, network *net.IPNet) bool {
	ip := addr.AsSlice()
	if len(ip) != len(network.IP) || len(ip) != len(network.Mask) {
		return false
	}
	for i, mask := range network.Mask {
		if (ip[i]^network.IP[i])&mask != 0 {
			return false
		}
	}
	return true
}

// inHost is the rule of URIs: a leading period stands for hosts below a domain, without it is one host.
func inHost(host, constraint string) bool {
	host, constraint = strings.ToLower(host), strings.ToLower(constraint)
	return host == constraint || strings.HasPrefix(constraint, ".") && strings.HasSuffix(host, constraint)
}

func inMailbox(address, constraint string) bool {
	user, host, _ := strings.Cut(address, "@")
	if wanted, at, isMailbox := strings.Cut(constraint, "@"); isMailbox {
		return user == wanted && strings.EqualFold(host, at) // RFC 5280 7.5
	}
	return inHost(host, constraint)
}
