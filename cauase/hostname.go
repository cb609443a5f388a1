package main

import (
	"crypto/x509"
	"net"
	"slices"
	"strings"
	"unicode"

	"github.com/urfave/cli/v2"
	"golang.org/x/net/idna"

	"cauase/pkg/client"
	"cauase/pkg/invite"
	"cauase/pkg/profile"
)

func noSANFlag() cli.Flag {
	return &cli.BoolFlag{Name: "no-san", Usage: "do not add a common name that is a host's to the alternative names, where alone verifiers look for hosts"}
}

// addHost has a request for a host name it in the subject alternative name, too, where none is asked for: no
// verifier of today looks for hosts in the common name (RFC 9525 section 2). It returns what it has added, "" for nothing.
func (t *tool) addHost(c *cli.Context, req *x509.CertificateRequest, invitation *invite.Signed) (added string) {
	name := req.Subject.CommonName
	if c.Bool("no-san") || t.authority == client.CAU || len(req.DNSNames)+len(req.IPAddresses)+len(req.EmailAddresses)+len(req.URIs) > 0 || !forHosts(c) {
		return ""
	}
	allowed := func(kind string) bool { return invitation == nil || invitation.Names.Allows(kind, name) }
	switch ip := net.ParseIP(name); {
	case ip != nil && allowed("ip"):
		req.IPAddresses = []net.IP{ip}
		return "--ip " + name
	case ip == nil:
		if name = hostIn(name, onlyForServers(c)); name != "" && allowed("dns") {
			req.DNSNames = []string{name}
			return "--dns " + name
		}
	}
	return ""
}

// hostIn returns the host that a common name is the name of, as certificates have it: without the dot of the root, and
// in the A-labels of RFC 5890 (RFC 5280 7.2). "" if it is none. Of a server it may be one without a domain.
func hostIn(name string, server bool) string {
	wildcard, host := "", strings.TrimSuffix(name, ".")
	if rest, found := strings.CutPrefix(host, "*."); found {
		wildcard, host = "*.", rest
	}
	if strings.ContainsFunc(host, func(r rune) bool { return r > unicode.MaxASCII }) {
		ascii, err := idna.Lookup.ToASCII(host)
		if err != nil {
			return ""
		}
		host = ascii
	}
	single := server && wildcard == "" && !strings.Contains(host, ".") && strings.Trim(host, "0123456789") != ""
	if isHostName(wildcard+host) || single && isHostName(host+".example") {
		return wildcard + host
	}
	return ""
}

// onlyForServers reports whether the certificate is asked for as one of a server.
func onlyForServers(c *cli.Context) bool {
	usages := c.StringSlice("eku")
	return c.String("profile") == profile.NameServer || len(usages) > 0 && !slices.ContainsFunc(usages, func(name string) bool {
		oid, err := usageOID(name)
		return err != nil || !oid.Equal(append(slices.Clone(keyPurposes), arcServer))
	})
}

// forHosts reports whether the certificate may be one that hosts show: neither profile nor usages say otherwise.
func forHosts(c *cli.Context) bool {
	if slices.Contains([]string{"email", "code-signing", "ocsp"}, c.String("profile")) {
		return false
	}
	usages := c.StringSlice("eku")
	return len(usages) == 0 || slices.ContainsFunc(usages, func(name string) bool {
		oid, err := usageOID(name)
		return err == nil && slices.Contains([]int{arcServer, arcClient}, oid[len(oid)-1]) && oid[:len(oid)-1].Equal(keyPurposes)
	})
}

// isHostName reports whether a name is that of a host in a domain: at least two labels (RFC 1123 2.1), the last of
// which is not a number, and perhaps a wildcard in front.
func isHostName(name string) bool {
	labels := strings.Split(strings.TrimPrefix(name, "*."), ".")
	if len(name) > 253 || len(labels) < 2 {
		return false
	}
	for _, label := range labels {
		if label == "" || len(label) > 63 || strings.Trim(strings.ToLower(label), "abcdefghijklmnopqrstuvwxyz0123456789-") != "" ||
			strings.HasPrefix(label, "-") || strings.HasSuffix(label, "-") {
			return false
		}
	}
	return strings.Trim(labels[len(labels)-1], "0123456789") != ""
}
