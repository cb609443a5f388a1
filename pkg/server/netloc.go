package server

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
)

// A Netloc is where verifiers reach the daemon (docs/protocol.md, section 1).
type Netloc struct {
	Host string // a DNS name in ASCII, an IPv4 address, or an IPv6 address without brackets
	Port int    // of HTTP
	text string
}

// defaultPort is that of HTTP, and its HTTPS counterpart is an exception to the rule below.
const (
	defaultPort      = 80
	defaultHTTPSPort = 443
	maxPort          = 65535
)

// HTTPSPort returns the port of HTTPS that goes with a port of HTTP.
func HTTPSPort(port int) int {
	if port == defaultPort {
		return defaultHTTPSPort
	}
	return port + 1
}

// ParseNetloc reads HOST[:PORT]. Text that differs from what a client's URL would say is
// refused: it ends up in certificates.
func ParseNetloc(s string) (Netloc, error) {
	if scheme, rest, found := strings.Cut(s, "://"); found && (scheme == "http" || scheme == "https") {
		meant, _, _ := strings.Cut(rest, "/")
		return Netloc{}, fmt.Errorf("%q is a URL: HOST[:PORT] is needed, without %s://, such as %s", s, scheme, meant)
	}
	host, port, err := splitNetloc(s)
	if err != nil {
		return Netloc{}, err
	}
	n := Netloc{Host: strings.Trim(host, "[]"), Port: defaultPort, text: s}
	if err := checkHost(host); err != nil {
		return Netloc{}, err
	}
	if port == "" {
		return n, nil
	}
	if n.Port, err = ParsePort(port); err != nil {
		return Netloc{}, err
	}
	return n, nil
}

// ParsePort reads a port for HTTP, which must leave room for that of HTTPS.
func ParsePort(s string) (int, error) {
	port, err := strconv.ParseUint(s, 10, 16)
	if err != nil || port == 0 || !isDecimal(s) || s[0] == '0' {
		return 0, fmt.Errorf("%q is not a port number", s)
	}
	if HTTPSPort(int(port)) > maxPort {
		return 0, fmt.Errorf("port %d leaves none for HTTPS, which is the next one", port)
	}
	return int(port), nil
}

// String returns the netloc as it was written.
func (n Netloc) String() string { return n.text }

// HTTP returns the URL of the daemon, without a path.
func (n Netloc) HTTP() string { return "http://" + n.text }

// HTTPS returns the URL of the daemon's HTTPS side, without a path.
func (n Netloc) HTTPS() string { return httpsURL(n.Host, HTTPSPort(n.Port)) }

// httpsURL returns a URL without a path, and with a port only if it is not HTTPS's own.
func httpsURL(host string, port int) string {
	if port == defaultHTTPSPort {
		if strings.Contains(host, ":") {
			host = "[" + host + "]"
		}
		return "https://" + host
	}
	return "https://" + net.JoinHostPort(host, strconv.Itoa(port))
}

// splitNetloc cuts off the port, if there is one. The host keeps its brackets.
func splitNetloc(s string) (host, port string, err error) {
	if strings.HasPrefix(s, "[") {
		end := strings.IndexByte(s, ']')
		if end < 0 {
			return "", "", errors.New("a bracket is not closed")
		}
		host, port = s[:end+1], s[end+1:]
		if port == "" {
			return host, "", nil
		}
		if port[0] != ':' || len(port) == 1 {
			return "", "", errors.New("after an IPv6 address in brackets only :PORT may follow")
		}
		return host, port[1:], nil
	}
	host, port, found := strings.Cut(s, ":")
	if found && strings.Contains(port, ":") {
		return "", "", errors.New("an IPv6 address needs brackets, as in [::1]:8009")
	}
	if found && port == "" {
		return "", "", errors.New("the port is missing after the colon")
	}
	return host, port, nil
}

// checkHost accepts IP addresses and DNS names, the latter with internationalised labels
// in their ASCII form.
func checkHost(host string) error {
	if strings.HasPrefix(host, "[") {
		addr, err := netip.ParseAddr(strings.Trim(host, "[]"))
		if err != nil || !addr.Is6() || addr.Zone() != "" {
			return fmt.Errorf("%q is not an IPv6 address", host)
		}
		return nil
	}
	if addr, err := netip.ParseAddr(host); err == nil && addr.Is4() {
		return nil
	}
	if host == "" || len(host) > 253 {
		return errors.New("the host is missing or longer than 253 characters")
	}
	labels := strings.Split(host, ".")
	for _, label := range labels {
		if !isLabel(label) {
			return fmt.Errorf("%q is neither a DNS name (in ASCII) nor an IP address", host)
		}
	}
	if isDecimal(labels[len(labels)-1]) {
		return fmt.Errorf("%q is not an IP address, and no DNS name ends in a number", host)
	}
	return nil
}

// isLabel tells whether s is a label of a host name (RFC 1123 2.1). Underscores are not
// allowed there, but are found in the names of containers.
func isLabel(s string) bool {
	if s == "" || len(s) > 63 || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	for _, c := range []byte(s) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
		default:
			return false
		}
	}
	return true
}

// SecureBase returns the URL, without a path, of the HTTPS side of the address that r was sent to,
// whatever name or forwarded port that was; of n if it does not say.
func (n Netloc) SecureBase(r *http.Request) string {
	asked, err := ParseNetloc(r.Host)
	switch {
	case err != nil:
		return n.HTTPS()
	case r.TLS == nil:
		return asked.HTTPS()
	case asked.Port == defaultPort: // not in r.Host, where HTTPS leaves out its own
		return httpsURL(asked.Host, defaultHTTPSPort)
	}
	return httpsURL(asked.Host, asked.Port)
}
