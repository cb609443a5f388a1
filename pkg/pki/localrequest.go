package pki

import (
	"bytes"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// A LocalRequest is the request in a file on this host, which other tools may have written in many ways.
type LocalRequest struct {
	PEM  []byte // the request alone, as it goes over the wire
	Note string // what else was in the file that matters, "" for nothing
}

// ReadLocalRequest finds the one certificate signing request in the content of a file: PEM with text or other
// blocks around it, with the label NEW CERTIFICATE REQUEST, with a byte order mark or in UTF-16; or DER. It looks at
// the form only, so that a daemon with other rules can be asked, too; [ParseRequest] has ours. What else is in the file,
// such as a private key, is not in the result. Errors quote nothing of the file.
func ReadLocalRequest(data []byte) (LocalRequest, error) {
	r, err := readLocalRequest(data)
	if err != nil {
		return LocalRequest{}, refuse("request", err)
	}
	return r, nil
}

func readLocalRequest(data []byte) (r LocalRequest, err error) {
	blocks, err := SplitPEM(data)
	if err != nil {
		return r, err
	}
	found, err := onlyRequest(blocks, data)
	if err != nil {
		return r, err
	}
	if hasPrivateKey(blocks) {
		r.Note = "it holds a private key, too, which stays here"
	}
	r.PEM, err = requestPEM(found)
	return r, err
}

// onlyRequest returns the DER of the one request among the blocks of a text.
func onlyRequest(blocks []*pem.Block, text []byte) ([]byte, error) {
	var found [][]byte
	for _, block := range blocks {
		if block.Type == typeCSR || block.Type == typeCSRLegacy {
			found = append(found, block.Bytes)
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return nil, fmt.Errorf("%d certificate signing requests where one is expected: put each into a file of its own", len(found))
	case hasPrivateKey(blocks):
		return nil, errors.New("a private key, and no certificate signing request: the key must stay where it is")
	case len(blocks) > 0 && blocks[0].Type == typeCertificate:
		return nil, errors.New("a certificate, and no certificate signing request: that is what its owner has made before, and what a CA answers")
	case len(blocks) > 0:
		return nil, fmt.Errorf("PEM block %s where %s is expected", quote(blocks[0].Type), quote(typeCSR))
	case len(trimSpace(text)) == 0:
		return nil, errors.New("empty")
	case cutOff(text) != nil:
		return nil, fmt.Errorf("neither PEM nor DER of a certificate signing request: %w", cutOff(text))
	case bytes.HasPrefix(text, []byte("\xfe\xed\xfe\xed")):
		return nil, errors.New("a Java keystore, and no certificate signing request: keytool -certreq makes one of it")
	case bytes.IndexByte(text, 0) >= 0:
		return nil, errors.New("neither PEM nor DER of a certificate signing request")
	}
	return nil, errors.New("neither PEM nor DER of a certificate signing request; base64 alone needs the lines -----BEGIN CERTIFICATE REQUEST----- and -----END CERTIFICATE REQUEST----- around it")
}

func hasPrivateKey(blocks []*pem.Block) bool {
	return slices.ContainsFunc(blocks, func(b *pem.Block) bool { return strings.HasSuffix(b.Type, typePrivateKey) })
}

// requestPEM encodes what has the form of a request (RFC 2986), and nothing else.
func requestPEM(der []byte) ([]byte, error) {
	if err := cutOff(der); err != nil {
		return nil, fmt.Errorf("not a PKCS#10 request (RFC 2986): %w", err)
	}
	if !isRequest(der) {
		return nil, errors.New("not a PKCS#10 request (RFC 2986)")
	}
	text := EncodeCSRPEM(der)
	if len(text) > MaxCSRSize {
		return nil, fmt.Errorf("longer than %d bytes", MaxCSRSize)
	}
	return text, nil
}

// cutOff says of what begins as DER that its end is missing, nil of anything else.
func cutOff(data []byte) error {
	const header = 4 // of a SEQUENCE of 256 bytes to 64 KiB, such as all requests are
	if len(data) < header || data[0] != 0x30 || data[1] != 0x82 {
		return nil
	}
	if size := header + int(data[2])<<8 + int(data[3]); len(data) < size {
		return fmt.Errorf("it is cut off, of %d bytes there are %d: copy it once more", size, len(data))
	}
	return nil
}

// isRequest reports whether der has the form of a request: version, name and key, signed. Neither private keys nor
// certificates have.
func isRequest(der []byte) bool {
	input := cryptobyte.String(der)
	var csr, info, key cryptobyte.String
	return input.ReadASN1(&csr, cbasn1.SEQUENCE) && input.Empty() &&
		csr.ReadASN1(&info, cbasn1.SEQUENCE) &&
		csr.SkipASN1(cbasn1.SEQUENCE) && csr.SkipASN1(cbasn1.BIT_STRING) && csr.Empty() &&
		info.SkipASN1(cbasn1.INTEGER) && info.SkipASN1(cbasn1.SEQUENCE) &&
		info.ReadASN1(&key, cbasn1.SEQUENCE) &&
		key.SkipASN1(cbasn1.SEQUENCE) && key.SkipASN1(cbasn1.BIT_STRING) && key.Empty()
}

// CanonicalRequest returns the one request in PEM as it is sent: encoded anew, with nothing around it. What has not the
// form of a request is refused, so that nothing else leaves this host in its place.
func CanonicalRequest(pemData []byte) ([]byte, error) {
	der, err := onlyBlock(pemData, MaxCSRSize, typeCSR, typeCSRLegacy)
	if err != nil {
		return nil, refuse("CSR", err)
	}
	text, err := requestPEM(der)
	if err != nil {
		return nil, refuse("CSR", err)
	}
	return text, nil
}
