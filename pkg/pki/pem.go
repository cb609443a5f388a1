package pki

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
)

// PEM block types, RFC 7468.
const (
	typeCertificate = "CERTIFICATE"
	typeCSR         = "CERTIFICATE REQUEST"
	typeCSRLegacy   = "NEW CERTIFICATE REQUEST"
	typeCRL         = "X509 CRL"
	typePrivateKey  = "PRIVATE KEY"
)

// maxBlocks bounds the PEM blocks of one file.
const maxBlocks = 10_000

const (
	pemBegin = "-----BEGIN "
	pemEnd   = "-----END "
	dashes   = "-----"
)

// ParseCertificatePEM reads exactly one certificate, see [ParseRequest] for what
// exactly one PEM block means.
func ParseCertificatePEM(data []byte) (*x509.Certificate, error) {
	der, err := onlyBlock(data, MaxCertificateSize, typeCertificate)
	if err != nil {
		return nil, refuse("certificate", err)
	}
	return ParseCertificateDER(der)
}

// ParseCertificateDER reads one certificate from its DER, at most MaxCertificateSize
// bytes. It says nothing about who signed it.
func ParseCertificateDER(der []byte) (*x509.Certificate, error) {
	if len(der) > MaxCertificateSize {
		return nil, refusef("certificate", "longer than %d bytes", MaxCertificateSize)
	}
	if err := checkDER(der); err != nil {
		return nil, refuse("certificate", err)
	}
	crt, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, refuse("certificate", err)
	}
	return crt, nil
}

// ParseCertificatesPEM reads a bundle of one or more certificates, with nothing but
// white space between them. For files that may hold other things use [SplitPEM].
func ParseCertificatesPEM(data []byte) ([]*x509.Certificate, error) {
	ders, err := onlyBlocks(data, MaxBundleSize, typeCertificate)
	if err != nil {
		return nil, refuse("certificates", err)
	}
	crts := make([]*x509.Certificate, 0, len(ders))
	for _, der := range ders {
		crt, err := ParseCertificateDER(der)
		if err != nil {
			return nil, err
		}
		crts = append(crts, crt)
	}
	return crts, nil
}

// ParseCRLPEM reads exactly one revocation list. Its signature is not checked.
func ParseCRLPEM(data []byte) (*x509.RevocationList, error) {
	der, err := onlyBlock(data, MaxCRLSize, typeCRL)
	if err != nil {
		return nil, refuse("CRL", err)
	}
	return parseCRL(der)
}

// ParseCRLsPEM reads one or more revocation lists, with nothing but white space
// between them, as GET /crl answers. Their signatures are not checked.
func ParseCRLsPEM(data []byte) ([]*x509.RevocationList, error) {
	ders, err := onlyBlocks(data, MaxCRLSize, typeCRL)
	if err != nil {
		return nil, refuse("CRLs", err)
	}
	crls := make([]*x509.RevocationList, 0, len(ders))
	for _, der := range ders {
		crl, err := parseCRL(der)
		if err != nil {
			return nil, err
		}
		crls = append(crls, crl)
	}
	return crls, nil
}

// ParseCRLFile reads the revocation lists of a file on this host, one or more, in PEM or DER; see [SplitPEM]
// for what may be around them. What else is in it is an error. Their signatures are not checked.
func ParseCRLFile(data []byte) ([]*x509.RevocationList, error) {
	if len(data) > MaxCRLSize {
		return nil, refusef("CRLs", "longer than %d bytes", MaxCRLSize)
	}
	blocks, err := splitPEM(data)
	if err != nil {
		return nil, err
	}
	if len(blocks) == 0 {
		return nil, refusef("CRLs", "there is no revocation list, in PEM or DER")
	}
	crls := make([]*x509.RevocationList, 0, len(blocks))
	for _, block := range blocks {
		if block.Type != typeCRL {
			return nil, refusef("CRLs", "PEM block %s where %s is expected", quote(block.Type), quote(typeCRL))
		}
		crl, err := parseCRL(block.Bytes)
		if err != nil {
			return nil, err
		}
		crls = append(crls, crl)
	}
	return crls, nil
}

// ParseCertificateFile reads the certificates of a file on this host, one or more, in PEM or DER; see [SplitPEM]
// for what may be around them. What else is in it is an error.
func ParseCertificateFile(data []byte) ([]*x509.Certificate, error) {
	blocks, err := SplitPEM(data)
	if err != nil {
		return nil, err
	}
	if len(blocks) == 0 {
		return nil, refusef("certificates", "there is no certificate, in PEM or DER")
	}
	crts := make([]*x509.Certificate, 0, len(blocks))
	for _, block := range blocks {
		if block.Type != typeCertificate {
			return nil, refusef("certificates", "PEM block %s where %s is expected", quote(block.Type), quote(typeCertificate))
		}
		crt, err := ParseCertificateDER(block.Bytes)
		if err != nil {
			return nil, err
		}
		crts = append(crts, crt)
	}
	return crts, nil
}

// RequestOfFile returns the DER of the one request in a file on this host, see [SplitPEM] for what may be around it.
// Nothing else may be in the file: of a key beside it, its owner has to hear.
func RequestOfFile(data []byte) ([]byte, error) {
	blocks, err := SplitPEM(data)
	if err != nil {
		return nil, err
	}
	switch {
	case len(blocks) == 0:
		return nil, refusef("CSR", "there is no certificate signing request in it, in PEM or DER")
	case len(blocks) > 1:
		return nil, refusef("CSR", "%d PEM blocks where one is expected", len(blocks))
	case blocks[0].Type != typeCSR && blocks[0].Type != typeCSRLegacy:
		return nil, refusef("CSR", "PEM block %s where %s is expected", quote(blocks[0].Type), quote(typeCSR))
	}
	return blocks[0].Bytes, nil
}

func parseCRL(der []byte) (*x509.RevocationList, error) {
	crl, err := x509.ParseRevocationList(der)
	if err != nil {
		return nil, refuse("CRL", err)
	}
	return crl, nil
}

// EncodeCertificatePEM wraps the DER of a certificate.
func EncodeCertificatePEM(der []byte) []byte { return encodePEM(typeCertificate, der) }

// EncodeCSRPEM wraps the DER of a certificate signing request.
func EncodeCSRPEM(der []byte) []byte { return encodePEM(typeCSR, der) }

// EncodeCRLPEM wraps the DER of a revocation list.
func EncodeCRLPEM(der []byte) []byte { return encodePEM(typeCRL, der) }

// encodePEM does what pem.EncodeToMemory does, in one allocation and a third of the time: a CRL
// may have tens of megabytes.
func encodePEM(typ string, der []byte) []byte {
	const perLine = 48 // bytes, 64 characters
	begin, end := "-----BEGIN "+typ+"-----\n", "-----END "+typ+"-----\n"
	lines := (len(der) + perLine - 1) / perLine
	out := make([]byte, 0, len(begin)+base64.StdEncoding.EncodedLen(len(der))+lines+len(end))
	out = append(out, begin...)
	for len(der) > 0 {
		n := min(perLine, len(der))
		out = append(base64.StdEncoding.AppendEncode(out, der[:n]), '\n')
		der = der[n:]
	}
	return append(out, end...)
}

// SplitPEM cuts a file on this host, of at most MaxBundleSize bytes, into its PEM
// blocks, whatever their types. Text around blocks is fine, as openssl -text writes
// it, and so are byte order marks and UTF-16. DER is taken for the one block that PEM would
// have. A BEGIN without its END, a block that is not base64 and a stray END are errors:
// reading past them would silently lose a certificate or a key. A file without any
// block is not an error here.
func SplitPEM(data []byte) ([]*pem.Block, error) {
	if len(data) > MaxBundleSize {
		return nil, refusef("PEM file", "longer than %d bytes", MaxBundleSize)
	}
	return splitPEM(data)
}

func splitPEM(data []byte) ([]*pem.Block, error) {
	data = plainText(data)
	switch block, err := derBlock(data); {
	case err != nil:
		return nil, refuse("file", err)
	case block != nil:
		return []*pem.Block{block}, nil
	}
	var blocks []*pem.Block
	for {
		begin := indexBoundary(data)
		if begin < 0 {
			return blocks, nil
		}
		if len(blocks) == maxBlocks {
			return nil, refusef("PEM file", "more than %d blocks", maxBlocks)
		}
		block, rest, err := cutBlock(data[begin:])
		if err != nil {
			return nil, refusef("PEM file", "block %d: %w", len(blocks)+1, err)
		}
		blocks = append(blocks, block)
		data = rest
	}
}

// indexBoundary finds the first line that begins like a boundary of a block, or -1.
func indexBoundary(data []byte) int {
	for at := 0; at < len(data); {
		i := bytes.Index(data[at:], []byte(dashes))
		if i < 0 {
			return -1
		}
		i += at
		line := data[i:]
		if bytes.HasPrefix(line, []byte(pemBegin)) || bytes.HasPrefix(line, []byte(pemEnd)) {
			return i
		}
		at = i + 1
	}
	return -1
}

// onlyBlock returns what the one PEM block in data holds.
func onlyBlock(data []byte, maxSize int, types ...string) ([]byte, error) {
	ders, err := onlyBlocks(data, maxSize, types...)
	if err != nil {
		return nil, err
	}
	if len(ders) > 1 {
		return nil, fmt.Errorf("%d PEM blocks where one is expected", len(ders))
	}
	return ders[0], nil
}

// onlyBlocks returns what the PEM blocks in data hold, at least one, all of the given
// types, without headers, and with only white space around them. encoding/pem is not
// used because it skips what it does not understand, so that two readers of the same
// bytes may see different blocks.
func onlyBlocks(data []byte, maxSize int, types ...string) ([][]byte, error) {
	if len(data) > maxSize {
		return nil, fmt.Errorf("longer than %d bytes", maxSize)
	}
	if !bytes.HasPrefix(trimSpace(data), []byte(pemBegin)) {
		if err := explainForm(data); err != nil {
			return nil, err
		}
	}
	if bytes.IndexByte(data, 0) >= 0 {
		return nil, errors.New("contains a NUL byte: not PEM")
	}
	var ders [][]byte
	for data = trimSpace(data); len(data) > 0; data = trimSpace(data) {
		if len(ders) == maxBlocks {
			return nil, fmt.Errorf("more than %d PEM blocks", maxBlocks)
		}
		block, rest, err := cutBlock(data)
		switch {
		case err != nil:
			return nil, err
		case !contains(types, block.Type):
			return nil, fmt.Errorf("PEM block %s where %s is expected", quote(block.Type), quote(types[0]))
		case len(block.Headers) > 0:
			return nil, errors.New("PEM headers are not accepted")
		}
		ders = append(ders, block.Bytes)
		data = rest
	}
	if len(ders) == 0 {
		return nil, errors.New("empty, no PEM block")
	}
	return ders, nil
}

func contains(list []string, s string) bool {
	for _, t := range list {
		if s == t {
			return true
		}
	}
	return false
}

// trimSpace removes the white space PEM knows, not Unicode's.
func trimSpace(data []byte) []byte { return bytes.Trim(data, " \t\r\n") }

// cutBlock reads the block that data begins with and returns what follows it.
func cutBlock(data []byte) (*pem.Block, []byte, error) {
	line, body, found := bytes.Cut(data, []byte("\n"))
	typ, ok := boundary(line, pemBegin)
	if !ok {
		return nil, nil, errors.New("something else where a PEM block should begin")
	}
	end := bytes.Index(body, []byte(dashes))
	if !found || end < 0 {
		return nil, nil, fmt.Errorf("PEM block %s has no end: it is cut off", quote(typ))
	}
	line, rest, _ := bytes.Cut(body[end:], []byte("\n"))
	if endTyp, ok := boundary(line, pemEnd); !ok || endTyp != typ {
		return nil, nil, fmt.Errorf("PEM block %s has another boundary instead of its end", quote(typ))
	}
	if end > 0 && body[end-1] != '\n' {
		return nil, nil, fmt.Errorf("the end of PEM block %s is not on its own line", quote(typ))
	}
	headers, text := cutHeaders(body[:end])
	der, err := decodeBody(text)
	if err != nil {
		return nil, nil, fmt.Errorf("PEM block %s: %w", quote(typ), err)
	}
	return &pem.Block{Type: typ, Headers: headers, Bytes: der}, rest, nil
}

// boundary reads "-----BEGIN TYPE-----" or its END. Labels follow RFC 7468 section 3:
// printable ASCII without leading, trailing or double separators, of which we know
// only the capitals-digits-spaces ones in use.
func boundary(line []byte, prefix string) (string, bool) {
	s := strings.TrimRight(string(clipBytes(line)), " \t\r")
	if len(s) < len(prefix)+len(dashes) || !strings.HasPrefix(s, prefix) || !strings.HasSuffix(s, dashes) {
		return "", false
	}
	typ := s[len(prefix) : len(s)-len(dashes)]
	if typ == "" || strings.TrimSpace(typ) != typ {
		return "", false
	}
	for _, c := range []byte(typ) {
		if (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != ' ' && c != '.' { // the dot is that of X9.42 DH PARAMETERS
			return "", false
		}
	}
	return typ, true
}

// clipBytes keeps enough of a line to recognise a boundary.
func clipBytes(line []byte) []byte { return line[:min(len(line), 100)] }

// cutHeaders separates RFC 1421 headers from the text after them. Base64 has no colon,
// so a first line with one is a header.
func cutHeaders(body []byte) (map[string]string, []byte) {
	var headers map[string]string
	for {
		line, rest, found := bytes.Cut(body, []byte("\n"))
		key, value, isHeader := strings.Cut(string(clipBytes(line)), ":")
		if !isHeader || !found {
			return headers, body
		}
		if headers == nil {
			headers = make(map[string]string)
		}
		headers[strings.TrimSpace(key)] = strings.TrimSpace(value)
		body = rest
	}
}

func decodeBody(text []byte) ([]byte, error) {
	if bytes.ContainsAny(text, " \t") {
		// Blanks at the ends of lines survive copying from a terminal; the
		// decoder skips only line ends.
		text = bytes.Map(func(r rune) rune {
			if r == ' ' || r == '\t' {
				return -1
			}
			return r
		}, text)
	}
	der := make([]byte, base64.StdEncoding.DecodedLen(len(text)))
	n, err := base64.StdEncoding.Strict().Decode(der, text)
	if err != nil {
		return nil, errors.New("is not base64")
	}
	if n == 0 {
		return nil, errors.New("is empty")
	}
	return der[:n], nil
}
