package pki

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// CheckHost decides whether host may stand for a host in a URL: an IPv4 address, an IPv6
// address in brackets and without a zone, or a DNS name. The latter has the preferred
// syntax of RFC 1034 3.5 as amended by RFC 1123 2.1, with underscores, which are found in
// the names of containers, and with internationalised labels as A-labels. What a
// resolver would take for an address in some old notation is refused.
func CheckHost(host string) error {
	if err := checkHost(host); err != nil {
		return refuse("host", err)
	}
	return nil
}

func checkHost(host string) error {
	if strings.HasPrefix(host, "[") {
		addr, err := netip.ParseAddr(strings.TrimSuffix(host[1:], "]"))
		if err != nil || !strings.HasSuffix(host, "]") || !addr.Is6() || addr.Zone() != "" {
			return fmt.Errorf("%s is not an IPv6 address", quote(host))
		}
		return nil
	}
	if addr, err := netip.ParseAddr(host); err == nil && addr.Is4() {
		return nil
	}
	return checkHostName(host)
}

// checkHostName accepts a DNS name without a wildcard.
func checkHostName(name string) error { return checkLabels(name, strings.Split(name, ".")) }

// checkLabels checks the labels of name, which is the whole, for messages.
func checkLabels(name string, labels []string) error {
	if len(name) > 253 {
		return fmt.Errorf("name of %d bytes: at most 253 accepted", len(name))
	}
	for _, label := range labels {
		if err := checkLabel(label); err != nil {
			return fmt.Errorf("%s: %w", quote(name), err)
		}
	}
	// A top-level label of digits alone makes resolvers and browsers read the
	// whole as an IPv4 address, in any of its old notations.
	if strings.Trim(labels[len(labels)-1], "0123456789") == "" {
		return fmt.Errorf("%s reads as an IP address: give it as one", quote(name))
	}
	return nil
}

func checkLabel(label string) error {
	switch {
	case label == "":
		return errors.New("empty label, or a dot at an end")
	case len(label) > 63:
		return errors.New("label of more than 63 bytes")
	case label[0] == '-' || label[len(label)-1] == '-':
		return errors.New("hyphen at an end of a label")
	}
	for _, c := range []byte(label) {
		switch {
		case c >= 0x80:
			return errors.New("not ASCII: internationalised names are written as A-labels (xn--…)")
		case c == '*':
			return errors.New("* is only accepted as the whole first label")
		case !isLetterOrDigit(c) && c != '-' && c != '_':
			return fmt.Errorf("character %q in a label", c)
		}
	}
	return nil
}

func isLetterOrDigit(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}
