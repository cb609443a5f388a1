package pki

import (
	"bytes"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"unicode/utf16"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// Byte order marks.
var (
	markUTF8    = []byte("\xef\xbb\xbf")
	markUTF16LE = []byte("\xff\xfe")
	markUTF16BE = []byte("\xfe\xff")
)

// plainText returns the text of a file on this host as UTF-8, without a byte order mark: editors and shells of
// Windows write these, and UTF-16.
func plainText(data []byte) []byte {
	if text, ok := bytes.CutPrefix(data, markUTF8); ok {
		return text
	}
	order := utf16Order(data)
	if order == nil || len(data)%2 != 0 {
		return data
	}
	units := make([]uint16, len(data)/2)
	for i := range units {
		units[i] = order.Uint16(data[2*i:])
	}
	text := []byte(string(utf16.Decode(units)))
	return bytes.TrimPrefix(text, markUTF8)
}

// utf16Order is the order of bytes of text in UTF-16, nil for anything else. Without a mark, PEM is known by
// how it begins.
func utf16Order(data []byte) binary.ByteOrder {
	switch {
	case bytes.HasPrefix(data, markUTF16LE), bytes.HasPrefix(data, []byte("-\x00-\x00")):
		return binary.LittleEndian
	case bytes.HasPrefix(data, markUTF16BE), bytes.HasPrefix(data, []byte("\x00-\x00-")):
		return binary.BigEndian
	}
	return nil
}

// explainForm says what data is where exactly one PEM block is expected, and how it becomes one; nil if it
// is nothing that is met every day.
func explainForm(data []byte) error {
	switch {
	case bytes.HasPrefix(data, markUTF8):
		return errors.New("begins with a byte order mark (EF BB BF), which PEM has not: save the file as UTF-8 without BOM, or ASCII")
	case utf16Order(data) != nil:
		return errors.New("is text in UTF-16, and PEM is ASCII: convert it with iconv -f UTF-16 -t UTF-8 FILE >NEW, or save the file as ASCII")
	}
	if block, err := derBlock(data); err != nil {
		return err
	} else if block != nil {
		return errors.New("is DER, and PEM is expected: " + toPEM[block.Type])
	}
	if at := indexBoundary(data); at > 0 && data[at-1] == '\n' {
		return errors.New("something else where a PEM block should begin: text, as certtool, certutil and openssl -text write it: " +
			"send only the lines from -----BEGIN to -----END")
	}
	return nil
}

// toPEM are commands that write PEM for the DER of what a block would hold.
var toPEM = map[string]string{
	typeCertificate:         "convert it with openssl x509 -inform DER -in FILE -out NEW",
	typeCSR:                 "convert it with openssl req -inform DER -in FILE -out NEW",
	typeCRL:                 "convert it with openssl crl -inform DER -in FILE -out NEW",
	typePrivateKey:          "convert it with openssl pkey -inform DER -in FILE -out NEW",
	"ENCRYPTED PRIVATE KEY": "convert it with openssl pkey -inform DER -in FILE -out NEW",
	"RSA PRIVATE KEY":       "convert it with openssl pkey -inform DER -in FILE -out NEW",
	"EC PRIVATE KEY":        "convert it with openssl pkey -inform DER -in FILE -out NEW",
}

// derBlock recognises the DER of what PEM blocks hold, by its outline. It returns nil for what is no DER, and an
// error for containers of others.
func derBlock(data []byte) (*pem.Block, error) {
	input := cryptobyte.String(data)
	var s cryptobyte.String
	if !input.ReadASN1(&s, cbasn1.SEQUENCE) || !input.Empty() {
		return nil, nil
	}
	typ := ""
	switch {
	case s.PeekASN1Tag(cbasn1.OBJECT_IDENTIFIER):
		return nil, errors.New("is PKCS #7, which holds certificates: take them out with openssl pkcs7 -inform DER -in FILE -print_certs -out NEW")
	case s.PeekASN1Tag(cbasn1.INTEGER):
		var version int
		switch {
		case !s.ReadASN1Integer(&version):
			return nil, nil
		case version == 3 && s.PeekASN1Tag(cbasn1.SEQUENCE):
			return nil, errors.New("is PKCS #12 (.p12, .pfx): take key and certificates out of it with openssl pkcs12 -in FILE -out NEW")
		case s.PeekASN1Tag(cbasn1.SEQUENCE):
			typ = typePrivateKey
		case s.PeekASN1Tag(cbasn1.INTEGER):
			typ = "RSA PRIVATE KEY"
		case s.PeekASN1Tag(cbasn1.OCTET_STRING):
			typ = "EC PRIVATE KEY"
		}
	case s.PeekASN1Tag(cbasn1.SEQUENCE):
		typ = signedType(s)
	}
	if typ == "" {
		return nil, nil
	}
	return &pem.Block{Type: typ, Bytes: data}, nil
}

// signedType tells apart what is signed, and an encrypted key, by the first fields.
func signedType(s cryptobyte.String) string {
	var content cryptobyte.String
	if !s.ReadASN1(&content, cbasn1.SEQUENCE) {
		return ""
	}
	if content.PeekASN1Tag(cbasn1.OBJECT_IDENTIFIER) && s.PeekASN1Tag(cbasn1.OCTET_STRING) {
		return "ENCRYPTED PRIVATE KEY"
	}
	if !s.SkipASN1(cbasn1.SEQUENCE) || !s.PeekASN1Tag(cbasn1.BIT_STRING) {
		return ""
	}
	if content.PeekASN1Tag(cbasn1.Tag(0).ContextSpecific().Constructed()) {
		return typeCertificate
	}
	// Algorithm, name and date are what a list begins with, and a certificate of version 1 after its number.
	var first cryptobyte.String
	var tag cbasn1.Tag
	numbered := content.SkipOptionalASN1(cbasn1.INTEGER)
	if !numbered || !content.SkipASN1(cbasn1.SEQUENCE) || !content.ReadAnyASN1(&first, &tag) || tag != cbasn1.SEQUENCE {
		return ""
	}
	switch {
	case content.PeekASN1Tag(cbasn1.UTCTime), content.PeekASN1Tag(cbasn1.GeneralizedTime):
		return typeCRL
	case content.PeekASN1Tag(cbasn1.SEQUENCE):
		return typeCertificate
	}
	return typeCSR
}
