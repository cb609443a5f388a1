package main

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"cauase/pkg/client"
	"cauase/pkg/invite"

	manners "cauase/pkg/cli"
)

// A nameKind is a kind of name that a certificate is for: a request asks for some, an invitation allows some.
type nameKind struct {
	flag, short string // of the command line, and of package invite
	asks        string // what the flag means for a request
	allows      string // and for an invitation
}

var nameKinds = []nameKind{
	{"cn", "cn", "common `NAME`: who it is for, such as a host or a person", "common `NAME`, *.example.org for all in example.org, or * for any (repeatable, like all names)"},
	{"org", "o", "`ORGANISATION` (repeatable, like all below)", "`ORGANISATION` in the subject"},
	{"ou", "ou", "organisational `UNIT`", "organisational `UNIT` in the subject"},
	{"country", "c", "`CC`, two letters", "country `CC` in the subject"},
	{"dns", "dns", "DNS `NAME` to be reachable under; *.example.org for all in example.org", "DNS `NAME`; *.example.org for all in example.org"},
	{"ip", "ip", "IP `ADDRESS` to be reachable under", "IP `ADDRESS`, or those of a network such as 10.0.0.0/8"},
	{"email", "email", "mail `ADDRESS`", "mail `ADDRESS`; *@example.org for all there"},
	{"uri", "uri", "`URI`, such as spiffe://example.org/web", "`URI`"},
}

// nameFlags are the flags that say what a certificate is for. A request has one common name at most.
func nameFlags() []cli.Flag {
	var flags []cli.Flag
	for _, kind := range nameKinds {
		if kind.flag == "cn" {
			flags = append(flags, &cli.StringFlag{Name: kind.flag, Usage: kind.asks})
			continue
		}
		flags = append(flags, &cli.StringSliceFlag{Name: kind.flag, Usage: kind.asks})
	}
	return append(flags, &cli.StringSliceFlag{Name: "eku", Usage: "extended key `USAGE`: server, client, code, email, time (also as serverAuth, clientAuth and so on), or an OID"})
}

// invitedFlags are the flags that say which names an invitation allows.
func invitedFlags() (flags []cli.Flag) {
	for _, kind := range nameKinds {
		flags = append(flags, &cli.StringSliceFlag{Name: kind.flag, Usage: "allow the " + kind.allows})
	}
	return flags
}

// invitedNames are the names that these flags allow, as package invite has them.
func invitedNames(c *cli.Context) (invite.Names, error) {
	var texts []string
	for _, kind := range nameKinds {
		for _, value := range c.StringSlice(kind.flag) {
			if _, err := invite.ParseNames([]string{kind.short + ":" + value}); err != nil {
				return invite.Names{}, fmt.Errorf("--%s: %w", kind.flag, err)
			}
			texts = append(texts, kind.short+":"+value)
		}
	}
	return invite.ParseNames(texts)
}

// isID reports whether an argument stands for a request or certificate on the daemon: whatever is all digits
// does, also where there is a file of that name, which may have been put there to be taken for it.
func isID(arg string) bool { return arg != "" && strings.Trim(arg, "0123456789") == "" }

// fileArgument refuses a file where somebody has written an id.
func fileArgument(what, arg string) error {
	if !isID(arg) {
		return nil
	}
	return manners.WithHint(fmt.Errorf("%s %s is an id where a file is expected", what, arg), "csr get and crt get fetch what has an id; a file of that name is ./%s", arg)
}

// idAndFile reads arguments of the form ID [FILE], and returns the id.
func idAndFile(c *cli.Context) (client.ID, error) {
	id, err := client.ParseID(c.Args().First())
	if err == nil {
		err = fileArgument("argument", c.Args().Get(1))
	}
	return id, err
}

// fileArguments are the arguments of a command that takes files.
func fileArguments(c *cli.Context) ([]string, error) {
	for _, arg := range c.Args().Slice() {
		if err := fileArgument("argument", arg); err != nil {
			return nil, err
		}
	}
	return c.Args().Slice(), nil
}

// template turns the name flags into what a request asks for.
func template(c *cli.Context) (*x509.CertificateRequest, error) {
	req := &x509.CertificateRequest{
		Subject: pkix.Name{
			CommonName:         c.String("cn"),
			Organization:       c.StringSlice("org"),
			OrganizationalUnit: c.StringSlice("ou"),
			Country:            c.StringSlice("country"),
		},
		DNSNames:       c.StringSlice("dns"),
		EmailAddresses: c.StringSlice("email"),
	}
	for _, country := range req.Subject.Country {
		if len(country) != 2 || strings.Trim(country, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" {
			return nil, fmt.Errorf("--country %q is not a code of two capital letters", country)
		}
	}
	var err error
	if req.RawSubject, err = asn1.Marshal(rdns(req.Subject)); err != nil {
		return nil, err
	}
	for _, s := range c.StringSlice("ip") {
		ip := net.ParseIP(s)
		if ip == nil {
			return nil, fmt.Errorf("--ip %q is not an IP address", s)
		}
		req.IPAddresses = append(req.IPAddresses, ip)
	}
	for _, s := range c.StringSlice("uri") {
		uri, err := url.Parse(s)
		if err != nil || !uri.IsAbs() {
			return nil, fmt.Errorf("--uri %q is not an absolute URI", s)
		}
		req.URIs = append(req.URIs, uri)
	}
	if usages := c.StringSlice("eku"); len(usages) > 0 {
		ext, err := extKeyUsage(usages)
		if err != nil {
			return nil, err
		}
		req.ExtraExtensions = append(req.ExtraExtensions, ext)
	}
	return req, nil
}

// rdns is a name of which each value has an RDN of its own: Go has those of one type share one, which is a name that hardly
// anybody can compare.
func rdns(name pkix.Name) (all pkix.RDNSequence) {
	for _, rdn := range name.ToRDNSequence() {
		for _, attr := range rdn {
			all = append(all, pkix.RelativeDistinguishedNameSET{attr})
		}
	}
	return all
}

// extKeyUsage makes the extension of RFC 5280 4.2.1.12.
func extKeyUsage(names []string) (pkix.Extension, error) {
	var oids []asn1.ObjectIdentifier
	for _, name := range names {
		oid, err := usageOID(name)
		if err != nil {
			return pkix.Extension{}, err
		}
		oids = append(oids, oid)
	}
	value, err := asn1.Marshal(oids)
	if err != nil {
		return pkix.Extension{}, fmt.Errorf("--eku: %w", err)
	}
	return pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 37}, Value: value}, nil
}

// keyPurposes is the arc of the usages that have a name here, each with its last number.
var (
	keyPurposes = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3}
)

// A usage is a purpose of a key (RFC 5280 4.2.1.12), by its name there and by a short one.
type usage struct {
	short, name string
	arc         int
}

// Arcs of purposes that others ask for.
const arcServer, arcClient = 1, 2

var knownUsages = []usage{
	{"server", "serverAuth", arcServer}, {"client", "clientAuth", arcClient}, {"code", "codeSigning", 3}, {"email", "emailProtection", 4}, {"time", "timeStamping", 8},
}

// is reports whether a word names the usage, in whatever case and with whatever dashes.
func (u usage) is(word string) bool {
	name, err := manners.Choice("", word, []string{u.short, u.name})
	return err == nil && name != ""
}

func usageOID(name string) (asn1.ObjectIdentifier, error) {
	if i := slices.IndexFunc(knownUsages, func(u usage) bool { return u.is(name) }); i >= 0 {
		return append(slices.Clone(keyPurposes), knownUsages[i].arc), nil
	}
	oid, err := x509.ParseOID(name)
	if err != nil {
		var known []string
		for _, u := range knownUsages {
			known = append(known, u.short, u.name)
		}
		err := fmt.Errorf("--eku %q is not one of server, client, code, email, time, nor an OID", name)
		if meant := manners.Closest(name, known); meant != "" {
			return nil, manners.WithHint(err, "did you mean %s?", meant)
		}
		return nil, err
	}
	var arcs asn1.ObjectIdentifier
	for _, arc := range strings.Split(oid.String(), ".") {
		n, err := strconv.Atoi(arc)
		if err != nil {
			return nil, fmt.Errorf("--eku %q has arcs beyond what is supported", name)
		}
		arcs = append(arcs, n)
	}
	return arcs, nil
}
