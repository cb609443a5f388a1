package pki

import (
	"bytes"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf16"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// A LocalRequest is the request in a file on this host, which other tools may have written in many ways.
type LocalRequest struct {
	PEM  []byte // the request alone, as it goes over the wire
	Note string // what else was in the file, or how it was written, "" for a plain PEM file
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
	if len(data) > MaxBundleSize {
		return r, fmt.Errorf("longer than %d bytes", MaxBundleSize)
	}
	if isDERSequence(data) {
		return localDER(data)
	}
	text, form, err := localText(data)
	if err != nil {
		return r, err
	}
	blocks, err := SplitPEM(text)
	if err != nil {
		return r, err
	}
	var notes []string
	if form != "" {
		notes = append(notes, "it is in "+form)
	}
	found, err := onlyRequest(blocks, text)
	if err != nil {
		return r, err
	}
	if hasPrivateKey(blocks) {
		notes = append(notes, "it holds a private key, too, which stays here")
	}
	if r.PEM, err = requestPEM(found); err != nil {
		return r, err
	}
	r.Note = strings.Join(notes, "; ")
	return r, nil
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
		return nil, errors.New("a certificate, and no certificate signing request")
	case len(blocks) > 0:
		return nil, fmt.Errorf("PEM block %s where %s is expected", quote(blocks[0].Type), quote(typeCSR))
	case len(bytes.TrimSpace(text)) == 0:
		return nil, errors.New("empty")
	}
	return nil, errors.New("neither PEM nor DER of a certificate signing request; base64 alone needs the lines -----BEGIN CERTIFICATE REQUEST----- and -----END CERTIFICATE REQUEST----- around it")
}

func hasPrivateKey(blocks []*pem.Block) bool {
	return slices.ContainsFunc(blocks, func(b *pem.Block) bool { return strings.HasSuffix(b.Type, typePrivateKey) })
}

func localDER(der []byte) (r LocalRequest, err error) {
	var one cryptobyte.String
	input := cryptobyte.String(der)
	if !input.ReadASN1Element(&one, cbasn1.SEQUENCE) {
		return r, errors.New("DER that is cut off")
	}
	if len(trimSpace(input)) > 0 {
		return r, errors.New("DER with something behind it")
	}
	if r.PEM, err = requestPEM(one); err == nil {
		r.Note = "it is in DER"
	}
	return r, err
}

// isDERSequence reports whether data begins as a SEQUENCE of at least 128 bytes does, which no text does.
func isDERSequence(data []byte) bool {
	return len(data) > 4 && data[0] == 0x30 && data[1]&0x80 != 0 && data[1] != 0x80 && data[1] <= 0x84
}

// requestPEM encodes what has the form of a request (RFC 2986), and nothing else.
func requestPEM(der []byte) ([]byte, error) {
	if !isRequest(der) {
		return nil, errors.New("not a PKCS#10 request (RFC 2986)")
	}
	text := EncodeCSRPEM(der)
	if len(text) > MaxCSRSize {
		return nil, fmt.Errorf("longer than %d bytes", MaxCSRSize)
	}
	return text, nil
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

// localText returns a text in UTF-8 without a byte order mark, and how it was encoded if that was worth a word.
func localText(data []byte) (text []byte, form string, err error) {
	switch {
	case bytes.HasPrefix(data, []byte{0xef, 0xbb, 0xbf}):
		return data[3:], "UTF-8 with a byte order mark", nil
	case bytes.HasPrefix(data, []byte{0xff, 0xfe}):
		text, err = fromUTF16(data[2:], binary.LittleEndian)
	case bytes.HasPrefix(data, []byte{0xfe, 0xff}):
		text, err = fromUTF16(data[2:], binary.BigEndian)
	case len(data) > 3 && data[0] != 0 && data[1] == 0 && data[3] == 0:
		text, err = fromUTF16(data, binary.LittleEndian)
	case len(data) > 3 && data[0] == 0 && data[1] != 0 && data[2] == 0:
		text, err = fromUTF16(data, binary.BigEndian)
	case bytes.IndexByte(data, 0) >= 0:
		return nil, "", errors.New("contains a NUL byte: neither PEM nor DER")
	default:
		return data, "", nil
	}
	return text, "UTF-16", err
}

func fromUTF16(data []byte, order binary.ByteOrder) ([]byte, error) {
	if len(data)%2 != 0 {
		return nil, errors.New("UTF-16 that is cut off")
	}
	units := make([]uint16, len(data)/2)
	for i := range units {
		units[i] = order.Uint16(data[2*i:])
	}
	return []byte(string(utf16.Decode(units))), nil
}
