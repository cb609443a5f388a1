package profile

import (
	"errors"
	"fmt"
	"maps"
	"slices"
)

// ErrUnknown means that there is no profile of that name.
var ErrUnknown = errors.New("no such profile")

// ServerInternal is the name of the profile of the daemon's own certificates, for which nobody can ask.
const ServerInternal = "daemon"

// builtIn are the profiles that are always there.
var builtIn = map[string]Config{
	"server": {
		KeyUsages: []string{"digitalSignature"}, ExtendedKeyUsages: []string{"serverAuth"},
		Names: map[string]int{"dns": 100, "ip": 100}, MinNames: 1, Subject: hostSubject,
	},
	"client": {
		KeyUsages: []string{"digitalSignature"}, ExtendedKeyUsages: []string{"clientAuth"},
		Names: map[string]int{"dns": 100, "ip": 100, "email": 10, "uri": 10}, Subject: personSubject,
	},
	"server-client": {
		KeyUsages: []string{"digitalSignature"}, ExtendedKeyUsages: []string{"serverAuth", "clientAuth"},
		Names: map[string]int{"dns": 100, "ip": 100}, MinNames: 1, Subject: hostSubject,
	},
	"email": {
		KeyUsages: []string{"digitalSignature", "contentCommitment"}, ExtendedKeyUsages: []string{"emailProtection"},
		Names: map[string]int{"email": 10}, MinNames: 1, Subject: personSubject,
	},
	"code-signing": {
		KeyUsages: []string{"digitalSignature"}, ExtendedKeyUsages: []string{"codeSigning"},
		Names: map[string]int{"email": 1, "uri": 1}, Subject: personSubject,
	},
	"ocsp": {
		KeyUsages: []string{"digitalSignature"}, ExtendedKeyUsages: []string{"OCSPSigning"}, NoCRLPointer: true,
		Names: map[string]int{"dns": 1}, Subject: hostSubject,
	},
	ServerInternal: {
		KeyUsages: []string{"digitalSignature"}, ExtendedKeyUsages: []string{"serverAuth"},
		Names: map[string]int{"dns": 1, "ip": 1}, MinNames: 1,
	},
}

var (
	hostSubject   = []string{"C", "ST", "L", "O", "OU", "CN", "DC", "serialNumber"}
	personSubject = []string{"C", "ST", "L", "O", "OU", "CN", "DC", "serialNumber", "title", "SN", "GN", "UID", "emailAddress"}
)

// A Set is the profiles there are: the built-in ones, and those of a configuration.
type Set struct{ profiles map[string]*Profile }

// NewSet compiles the configured profiles. None may have the name of a built-in one.
func NewSet(configured map[string]Config) (*Set, error) {
	s := &Set{profiles: map[string]*Profile{AsRequested: {name: AsRequested, asRequested: true}}}
	for name, c := range builtIn {
		p, err := compile(name, c, true)
		if err != nil {
			return nil, err
		}
		s.profiles[name] = p
	}
	// Nobody asks whether who vouches for others' status has a status (RFC 6960 4.2.2.2.1).
	ocsp := s.profiles["ocsp"]
	ocsp.extensions = append(ocsp.extensions, noCheck)
	for _, name := range slices.Sorted(maps.Keys(configured)) {
		if _, ok := s.profiles[name]; ok {
			return nil, &ConfigError{name, "name", errors.New("is that of a built-in profile")}
		}
		p, err := Compile(name, configured[name])
		if err != nil {
			return nil, err
		}
		s.profiles[name] = p
	}
	return s, nil
}

// Profile returns the profile of this name; ErrUnknown when there is none.
func (s *Set) Profile(name string) (*Profile, error) {
	p, ok := s.profiles[name]
	if !ok {
		return nil, fmt.Errorf("%w: %q", ErrUnknown, name)
	}
	return p, nil
}

// Names returns the names of the profiles that may be asked for, sorted.
func (s *Set) Names() []string {
	names := slices.Sorted(maps.Keys(s.profiles))
	return slices.DeleteFunc(names, func(name string) bool { return name == ServerInternal })
}
