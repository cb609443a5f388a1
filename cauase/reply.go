package main

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"slices"
	"strings"

	"github.com/smallstep/pkcs7"
	"github.com/urfave/cli/v2"

	"cauase/pkg/client"
	"cauase/pkg/enroll"
	"cauase/pkg/pemfile"
	"cauase/pkg/pki"

	manners "cauase/pkg/cli"
)

// A format is one in which devices take certificates.
type format struct {
	name     string
	suffix   string   // of the file that goes with a request
	suffixes []string // of files that are for nothing else
	chain    bool     // it holds the certificates of the CAs up to the root, too
	binary   bool

	encode func(leafFirst []*x509.Certificate) ([]byte, error) // nil: as hosts have it, see package pemfile
}

var formats = []format{
	{name: "pem", suffix: ".crt.pem"},
	{name: "der", suffix: ".crt.der", suffixes: []string{".der"}, binary: true, encode: func(crts []*x509.Certificate) ([]byte, error) { return crts[0].Raw, nil }},
	{name: "chain", suffix: ".chain.pem", chain: true, encode: encodeChain},
	{name: "p7b", suffix: ".p7b", suffixes: []string{".p7b", ".p7c"}, chain: true, encode: func(crts []*x509.Certificate) ([]byte, error) {
		der, err := encodePKCS7(crts)
		return pem.EncodeToMemory(&pem.Block{Type: "PKCS7", Bytes: der}), err
	}},
	{name: "p7b-der", suffix: ".p7b", chain: true, binary: true, encode: encodePKCS7},
}

func encodeChain(crts []*x509.Certificate) (text []byte, err error) {
	for _, crt := range crts {
		text = append(text, pki.EncodeCertificatePEM(crt.Raw)...)
	}
	return text, nil
}

// encodePKCS7 makes SignedData that nobody has signed, which holds certificates (RFC 5652 5.1).
func encodePKCS7(crts []*x509.Certificate) ([]byte, error) {
	var all []byte
	for _, crt := range crts {
		all = append(all, crt.Raw...)
	}
	return pkcs7.DegenerateCertificate(all)
}

func formatNames() (names []string) {
	for _, f := range formats {
		names = append(names, f.name)
	}
	return names
}

func formatFlag() cli.Flag {
	return &cli.StringFlag{Name: "format", Usage: "write the certificate in this `FORMAT`: " + strings.Join(formatNames(), ", ") + " (default: by the end of the file's name, and pem)"}
}

// chosenFormat is the format of a command, for a file, of which the name may be yet to be chosen.
func chosenFormat(c *cli.Context, out string) (format, error) {
	f := formats[0]
	if c.IsSet("format") {
		name, err := manners.Choice("--format", c.String("format"), formatNames())
		if err != nil {
			return f, err
		}
		f = formats[slices.Index(formatNames(), name)]
	} else if i := slices.IndexFunc(formats, func(f format) bool { return f.is(out) }); i >= 0 {
		f = formats[i]
	}
	if c.Bool("chain") && f.encode != nil {
		return f, errUsage(c, "--chain is for --format pem; --format chain has the CA certificates with it, and so have p7b and p7b-der")
	}
	return f, nil
}

// is reports whether a file of this name has the format.
func (f format) is(path string) bool {
	return slices.ContainsFunc(f.suffixes, func(suffix string) bool { return strings.HasSuffix(strings.ToLower(path), suffix) })
}

// replaceable returns nil if a file holds an older certificate for the key, in whichever format, and otherwise the error.
func (s *signature) replaceable(content []byte, otherwise error) error {
	for _, crt := range certificatesIn(content) {
		if !crt.IsCA && pki.SameKey(crt.PublicKey, s.request.CSR.PublicKey) {
			return nil
		}
	}
	return otherwise
}

// certificatesIn are the certificates of a file, if it holds nothing else.
func certificatesIn(content []byte) []*x509.Certificate {
	if crts, err := pki.ParseCertificateFile(content); err == nil {
		return crts
	}
	if len(content) > pki.MaxBundleSize {
		return nil
	}
	if block, rest := pem.Decode(content); block != nil && block.Type == "PKCS7" && len(bytes.TrimSpace(rest)) == 0 {
		content = block.Bytes
	}
	if p, err := pkcs7.Parse(content); err == nil {
		return p.Certificates
	}
	return nil
}

// storeReply writes a certificate in the format of a device.
func (t *tool) storeReply(ctx context.Context, engine *enroll.Engine, s *signature, issued client.Issued) error {
	crts := []*x509.Certificate{issued.Certificate}
	if s.format.chain {
		crts = append(crts, issued.Chain...)
		root, err := t.rootOf(ctx, crts[len(crts)-1])
		if err != nil {
			return err
		}
		if root != nil {
			crts = append(crts, root)
		}
	}
	content, err := s.format.encode(crts)
	if err != nil {
		return err
	}
	if s.out == standardInput {
		if s.format.binary {
			_, err = t.stdout.Write(content)
			return err
		}
		return t.printPEM(s.id, content)
	}
	changed, err := pemfile.Write(pemfile.File{Path: s.out, Content: content})
	var what []string
	if changed {
		what = []string{"crt"}
	}
	return t.stored(engine.Paths, issued.Certificate, s.id, what, err)
}

// rootOf returns the self-signed certificate of the CA that has signed a certificate, nil if it is not known here.
func (t *tool) rootOf(ctx context.Context, crt *x509.Certificate) (*x509.Certificate, error) {
	among := func(cas []*x509.Certificate) *x509.Certificate {
		for _, ca := range cas {
			if bytes.Equal(ca.RawIssuer, ca.RawSubject) && bytes.Equal(ca.RawSubject, crt.RawIssuer) && crt.CheckSignatureFrom(ca) == nil {
				return ca
			}
		}
		return nil
	}
	trust := t.verification()
	if root := among(trust.CAs); root != nil {
		return root, nil
	}
	roots, err := trust.Roots(ctx)
	if err != nil {
		return nil, err
	}
	return among(roots), nil
}
