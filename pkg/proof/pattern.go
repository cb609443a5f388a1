package proof

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // what OpenSSH hides names with
	"encoding/base64"
	"net"
	"net/netip"
	"slices"
	"strings"
)

// address returns an IP address in the one form that it has, and whether it is one.
func address(text string) (string, bool) {
	addr, err := netip.ParseAddr(text)
	if err != nil || addr.Zone() != "" {
		return "", false
	}
	return addr.Unmap().String(), true
}

// Hosts of a line: either patterns, or one name that is hidden.
type hosts struct {
	patterns []pattern
	hashed   *hashed
}

// A pattern is one of the host patterns of a line (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT).
type pattern struct {
	negated bool
	host    string // in lower case, without a port
}

// A hashed name cannot be read, only compared.
type hashed struct{ salt, sum []byte }

// parseHosts reads the host patterns of a line. Ports are left out: the host is the same.
func parseHosts(list []string) (hosts, error) {
	if len(list) == 1 && strings.HasPrefix(list[0], "|") {
		h, err := parseHashed(list[0])
		return hosts{hashed: h}, err
	}
	var all hosts
	for _, text := range list {
		if text == "" {
			continue
		}
		host, negated := strings.CutPrefix(text, "!")
		if strings.HasPrefix(host, "[") {
			name, _, err := net.SplitHostPort(host)
			if err != nil {
				return hosts{}, invalid("%.80q is not [HOST]:PORT", host)
			}
			host = name
		}
		if host == "" || strings.HasPrefix(host, "|") {
			return hosts{}, invalid("%.80q is not the name of a host", text)
		}
		if addr, ok := address(host); ok {
			host = addr
		}
		all.patterns = append(all.patterns, pattern{negated, strings.TrimSuffix(strings.ToLower(host), ".")})
	}
	if len(all.patterns) == 0 {
		return hosts{}, invalid("it names no host")
	}
	return all, nil
}

// parseHashed reads a name as ssh-keygen -H hides it, |1|SALT|HMAC-SHA1.
func parseHashed(text string) (*hashed, error) {
	parts := strings.Split(text, "|")
	if len(parts) != 4 || parts[1] != "1" {
		return nil, invalid("a hashed host is not |1|SALT|HASH")
	}
	salt, err := base64.StdEncoding.DecodeString(parts[2])
	if err != nil || len(salt) == 0 {
		return nil, invalid("the salt of a hashed host is not base64")
	}
	sum, err := base64.StdEncoding.DecodeString(parts[3])
	if err != nil || len(sum) != sha1.Size {
		return nil, invalid("the hash of a hashed host is not base64 of %d bytes", sha1.Size)
	}
	return &hashed{salt, sum}, nil
}

func (h *hashed) is(name string) bool {
	mac := hmac.New(sha1.New, h.salt)
	mac.Write([]byte(name))
	return bytes.Equal(mac.Sum(nil), h.sum)
}

// match reports whether a line is about a host, as OpenSSH decides it.
func (h hosts) match(name string) bool {
	if h.hashed != nil {
		return h.hashed.is(name)
	}
	found := false
	for _, p := range h.patterns {
		if !glob(p.host, name) {
			continue
		}
		if p.negated {
			return false
		}
		found = true
	}
	return found
}

// literal returns the names that a line spells out, which are those that it gives. A pattern with a wildcard says which hosts have a key,
// but not which one of them is who shows it. Of hidden names those are found that are among the candidates.
func (h hosts) literal(candidates []string) (names []string) {
	if h.hashed != nil {
		if i := slices.IndexFunc(candidates, h.hashed.is); i >= 0 {
			return []string{candidates[i]}
		}
		return nil
	}
	for _, p := range h.patterns {
		if p.negated {
			continue
		}
		if name, ok := hostName(p.host); ok && h.match(name) {
			names = append(names, name)
		}
	}
	return names
}

// glob reports whether a name fits a pattern with * for any number of characters, dots among them, and ? for one. It takes time in
// proportion to the product of their lengths.
func glob(pattern, name string) bool {
	p, n, star, mark := 0, 0, -1, 0
	for n < len(name) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, n
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == name[n]):
			p++
			n++
		case star >= 0:
			mark++
			p, n = star+1, mark
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}
