package proof

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"cauase/pkg/folder"
	"cauase/pkg/policy"
)

const (
	// maxFile bounds a file of host keys, in bytes: about 100,000 hosts.
	maxFile = 32 << 20
	// maxNames bounds the names that a key is recorded with.
	maxNames = 32
)

// Hosts are the SSH host keys that are known, and the CAs of such.
type Hosts struct {
	keys    map[string][]hosts // by key, in wire format
	cas     map[string][]hosts
	revoked map[string]bool
}

// Files name where host keys come from.
type Files struct {
	KnownHosts []string // as OpenSSH's ssh_known_hosts, with @cert-authority and @revoked
	CAKeys     []string // public keys of CAs, a line each, whose certificates count for every host that they name
}

// None reports whether no files are named.
func (f Files) None() bool { return len(f.KnownHosts)+len(f.CAKeys) == 0 }

// A FileError says what is wrong with a file, and in which line.
type FileError struct {
	File string
	Line int
	Err  error
}

func (e *FileError) Error() string { return fmt.Sprintf("%s:%d: %v", e.File, e.Line, e.Err) }
func (e *FileError) Unwrap() error { return e.Err }

// ReadHosts reads the files. Errors name file and line. What others could have written is refused: it says who gets certificates.
func ReadHosts(files Files) (*Hosts, error) {
	h := &Hosts{keys: map[string][]hosts{}, cas: map[string][]hosts{}, revoked: map[string]bool{}}
	var wrong error
	read := func(paths []string, add func(line []byte) error) {
		for _, path := range paths {
			content, err := readFile(path)
			if err == nil {
				err = eachLine(path, content, add)
			}
			wrong = errors.Join(wrong, err)
		}
	}
	read(files.KnownHosts, h.addKnown)
	read(files.CAKeys, h.addCA)
	if wrong != nil {
		return nil, wrong
	}
	return h, nil
}

func readFile(path string) ([]byte, error) {
	in, name, err := folder.Access{Guard: true}.Target(path)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	content, info, err := in.ReadFile(name, maxFile)
	if err == nil {
		err = info.Exposed(path)
	}
	return content, err
}

// maxWrong bounds the lines that one error is about.
const maxWrong = 5

// eachLine calls add with each line that is neither empty nor a comment.
func eachLine(path string, content []byte, add func([]byte) error) error {
	var wrong []error
	number := 0
	for line := range bytes.Lines(content) {
		number++
		line = bytes.Trim(bytes.TrimRight(line, "\r\n"), " \t")
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		if err := add(line); err != nil {
			wrong = append(wrong, &FileError{path, number, err})
			if len(wrong) == maxWrong {
				break
			}
		}
	}
	return errors.Join(wrong...)
}

// addKnown takes in a line of a known_hosts file.
func (h *Hosts) addKnown(line []byte) error {
	marker, list, key, _, _, err := ssh.ParseKnownHosts(line)
	switch {
	case errors.Is(err, io.EOF):
		return invalid("a line has host, type of the key and key")
	case err != nil:
		return invalid("%s", strings.TrimPrefix(err.Error(), "ssh: "))
	}
	of, err := parseHosts(list)
	if err != nil {
		return err
	}
	wire := string(plain(key).Marshal())
	switch marker {
	case "revoked":
		// Whatever hosts it names: what was lost is lost.
		h.revoked[wire] = true
		return nil
	case "cert-authority":
		return h.addAuthority(key, of)
	case "":
	default:
		return invalid("unknown marker @%.40s", marker)
	}
	if _, ok := key.(*ssh.Certificate); ok {
		return invalid("a certificate in the place of a key: list the key of its CA, with @cert-authority in front")
	}
	h.keys[wire] = append(h.keys[wire], of)
	return nil
}

// addAuthority takes in the key of a CA, which cannot be a certificate: it could certify nothing.
func (h *Hosts) addAuthority(key ssh.PublicKey, of hosts) error {
	if _, ok := key.(*ssh.Certificate); ok {
		return invalid("a certificate in the place of the key of a CA")
	}
	if err := usable(key); err != nil {
		return err
	}
	h.cas[string(key.Marshal())] = append(h.cas[string(key.Marshal())], of)
	return nil
}

// addCA takes in a line of a file of CA keys, such as /etc/ssh/ca.pub.
func (h *Hosts) addCA(line []byte) error {
	key, _, options, _, err := ssh.ParseAuthorizedKey(line)
	switch {
	case err != nil:
		return invalid("not a public key, TYPE KEY [COMMENT]")
	case len(options) > 0:
		return invalid("options in front of a key say nothing here; for certain hosts only, put it into a known_hosts file, @cert-authority HOSTS TYPE KEY")
	}
	return h.addAuthority(key, hosts{patterns: []pattern{{host: "*"}}})
}

// plain is the key itself, if it comes in a certificate.
func plain(key ssh.PublicKey) ssh.PublicKey {
	if cert, ok := key.(*ssh.Certificate); ok {
		return cert.Key
	}
	return key
}

// Identify finds out which host has signed a statement. Of hidden names, and of many, those are found that are among the candidates.
// Nothing is computed with a key before it is found to be known. Errors are ErrRefused.
func (h *Hosts) Identify(now time.Time, s *SSHSignature, statement []byte, candidates []string) (policy.SSHHost, error) {
	host := policy.SSHHost{Fingerprint: s.Fingerprint()}
	certified, err := h.known(now, s)
	if err != nil {
		return host, err
	}
	if err := s.Verify(statement); err != nil {
		return host, err
	}
	names := h.namesOf(s.key, candidates)
	if len(certified) > 0 {
		if err := s.verifyCertificate(now); err != nil {
			return host, err
		}
		host.CA = ssh.FingerprintSHA256(s.cert.SignatureKey)
		names = append(names, certified...)
	}
	if host.Names = few(names, candidates); len(host.Names) == 0 {
		return host, refused("the SSH host key %s is known, but not which host it is of: a line with a wildcard does not tell, nor one that is hashed "+
			"for another name than is asked for, or for a port", host.Fingerprint)
	}
	return host, nil
}

// known refuses a key of which there is nothing in the files, and what was revoked. It returns the hosts that a certificate names for which its
// CA counts; its signature is still to be verified. Beside a key that is listed itself a certificate that does not count does no harm.
func (h *Hosts) known(now time.Time, s *SSHSignature) (certified []string, err error) {
	switch listed := len(h.keys[string(s.key.Marshal())]) > 0; {
	case h.revoked[string(s.key.Marshal())]:
		return nil, refused("the SSH host key %s is revoked", s.Fingerprint())
	case s.cert != nil:
		if certified, err = h.certified(now, s); listed {
			err = nil
		}
		return certified, err
	case !listed:
		return nil, refused("the SSH host key %s is in none of the daemon's files of known hosts", s.Fingerprint())
	}
	return nil, nil
}

// namesOf are the hosts that known_hosts files give a bare key.
func (h *Hosts) namesOf(key ssh.PublicKey, candidates []string) (names []string) {
	for _, of := range h.keys[string(key.Marshal())] {
		names = append(names, of.literal(candidates)...)
	}
	return names
}

// certified are the principals of the certificate for which its CA counts. A principal with a wildcard is no name.
func (h *Hosts) certified(now time.Time, s *SSHSignature) (names []string, err error) {
	ca := s.cert.SignatureKey
	counts := h.cas[string(ca.Marshal())]
	switch {
	case h.revoked[string(ca.Marshal())]:
		return nil, refused("the SSH CA %s is revoked", ssh.FingerprintSHA256(ca))
	case len(counts) == 0:
		return nil, refused("the SSH host certificate is of a CA that the daemon does not know, %s", ssh.FingerprintSHA256(ca))
	}
	if err := s.checkCertificate(now); err != nil {
		return nil, err
	}
	for _, principal := range s.cert.ValidPrincipals {
		name, ok := hostName(principal)
		if ok && slices.ContainsFunc(counts, func(of hosts) bool { return of.match(name) }) {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return nil, refused("the SSH host certificate %.80q is for no host that its CA counts for: %.100q", s.cert.KeyId, strings.Join(s.cert.ValidPrincipals, " "))
	}
	return names, nil
}

// few returns each name once, in order, and if there are many, those first that were asked for.
func few(names, candidates []string) []string {
	slices.Sort(names)
	names = slices.Compact(names)
	if len(names) <= maxNames {
		return names
	}
	asked, others := []string{}, []string{}
	for _, name := range names {
		if slices.Contains(candidates, name) {
			asked = append(asked, name)
		} else {
			others = append(others, name)
		}
	}
	return append(asked, others...)[:maxNames]
}

// Describe says how much there is, for the log.
func (h *Hosts) Describe() string {
	if h == nil {
		return "none"
	}
	return fmt.Sprintf("%d host keys, %d CAs, %d revoked", len(h.keys), len(h.cas), len(h.revoked))
}
