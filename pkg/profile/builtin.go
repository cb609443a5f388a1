package profile

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"net"

	"cauase/pkg/pki"
)

// Names of the built-in profiles.
const (
	NameAsRequested  = "as-requested"
	NameServer       = "server"
	NameClient       = "client"
	NameServerClient = "server-client"
	NameEmail        = "email"
	NameCodeSigning  = "code-signing"
	NameOCSP         = "ocsp"
	NameDaemonServer = "daemon-server"
)

// ErrUnknown means that there is no profile of a name.
var ErrUnknown = errors.New("no such profile")

// AsRequested returns the default profile: the certificate has the names and usages that the request asks
// for, but nothing that only a CA may have. See docs/protocol.md, section 4.
func AsRequested() *Profile { return &Profile{name: NameAsRequested, copies: true} }

// DaemonServer returns the profile of the daemon's own HTTPS certificate: no subject, and the one host that
// [ServerExtensions] names. No request can ask for it.
func DaemonServer() *Profile {
	return &Profile{
		name:     NameDaemonServer,
		subject:  subjectRules{empty: true},
		names:    nameRules{kinds: kinds("dns", "ip"), min: 1, max: 1},
		usage:    x509.KeyUsageDigitalSignature,
		purposes: purposes("serverAuth"),
		critical: criticals{usage: true},
	}
}

// ServerExtensions returns the extensions of a draft for [DaemonServer]: the one host, a DNS name or the
// literal of an IP address without brackets.
func ServerExtensions(host string) ([]pkix.Extension, error) {
	const dnsName, ipAddress = 2, 7 // RFC 5280 4.2.1.6 GeneralName
	name := asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: dnsName, Bytes: []byte(host)}
	if ip := net.ParseIP(host); ip != nil {
		if v4 := ip.To4(); v4 != nil {
			ip = v4
		}
		name.Tag, name.Bytes = ipAddress, ip
	}
	value, err := asn1.Marshal([]asn1.RawValue{name})
	if err != nil {
		return nil, err
	}
	return []pkix.Extension{{Id: oidSubjectAltName, Value: value}}, nil
}

// builtIn returns the profiles that requests may ask for without any configuration.
func builtIn() []*Profile {
	const encrypts = x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment
	usage := criticals{usage: true}
	host := nameRules{kinds: kinds("dns", "ip"), min: 1, max: pki.MaxSANs}
	return []*Profile{
		AsRequested(),
		{name: NameServer, names: host, usage: encrypts, purposes: purposes("serverAuth"), critical: usage},
		{
			name: NameClient, names: nameRules{kinds: nameKinds, max: pki.MaxSANs},
			usage: x509.KeyUsageDigitalSignature, purposes: purposes("clientAuth"), critical: usage,
		},
		{name: NameServerClient, names: host, usage: encrypts, purposes: purposes("serverAuth", "clientAuth"), critical: usage},
		{
			// RFC 8551 encrypts to RSA keys and agrees with those of ECDH.
			name: NameEmail, names: nameRules{kinds: kinds("email"), min: 1, max: pki.MaxSANs},
			usage: encrypts | x509.KeyUsageKeyAgreement, purposes: purposes("emailProtection"), critical: usage,
		},
		{name: NameCodeSigning, usage: x509.KeyUsageDigitalSignature, purposes: purposes("codeSigning"), critical: usage},
		{
			name: NameOCSP, usage: x509.KeyUsageDigitalSignature, purposes: []asn1.ObjectIdentifier{oidOCSPSigning}, critical: usage,
			// RFC 6960 4.2.2.2.1: nobody has to ask whether a responder is revoked. So there is no list either.
			extra: []pkix.Extension{{Id: oidOCSPNoCheck, Value: []byte{asn1.TagNull, 0}}}, ocsp: true, noCRL: true,
		},
	}
}

// A Set is the profiles there are, by name.
type Set struct{ profiles map[string]*Profile }

// NewSet returns the built-in profiles and those of a configuration, by name. Errors name the field.
func NewSet(configured map[string]Config) (*Set, error) {
	s := &Set{profiles: map[string]*Profile{}}
	for _, p := range builtIn() {
		s.profiles[p.name] = p
	}
	for _, name := range sortedKeys(configured) {
		p, err := Compile(name, configured[name])
		if err != nil {
			return nil, err
		}
		s.profiles[name] = p
	}
	return s, nil
}

// Lookup returns the profile of a name. The error is an [ErrUnknown] and lists the names there are.
func (s *Set) Lookup(name string) (*Profile, error) {
	if p, ok := s.profiles[name]; ok {
		return p, nil
	}
	return nil, fmt.Errorf("%w: %.40q is none of %s", ErrUnknown, name, join(s.Names(), "and"))
}

// ForRenewal returns the profile with which a certificate is renewed that was made with the one of this name.
// Where that has been taken out of the configuration since, it is one that goes on as before: no host
// is to go without a certificate for it. Whoever does not want that revokes. The empty name is
// [AsRequested], of certificates from before there were profiles.
func (s *Set) ForRenewal(name string) *Profile {
	if name == "" {
		return AsRequested()
	}
	if p, ok := s.profiles[name]; ok {
		return p
	}
	return &Profile{name: name}
}

// Names lists the names of the profiles in order.
func (s *Set) Names() []string { return sortedKeys(s.profiles) }
