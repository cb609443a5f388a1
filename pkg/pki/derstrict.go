package pki

import (
	"bytes"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// Universal tags that the tables of cryptobyte leave out, beside those of strings.
const (
	tagEndOfContents = cbasn1.Tag(0)
	tagEnumerated    = cbasn1.Tag(10)
)

// checkValues refuses what has the form of DER, as checkDER has seen, and values that DER does not have:
// strings with characters that their type lacks, sets that are not sorted, padded integers. What we copy
// from a request into a certificate is read by software that insists on these, and some of it fails
// as a whole: one such name in a list, and the list cannot be shown.
func checkValues(s cryptobyte.String) error {
	for !s.Empty() {
		var element cryptobyte.String
		var tag cbasn1.Tag
		if !s.ReadAnyASN1(&element, &tag) {
			return errors.New("malformed DER")
		}
		if err := checkValue(tag, element); err != nil {
			return err
		}
		if !constructed(tag) {
			continue
		}
		if err := checkValues(element); err != nil {
			return err
		}
	}
	return nil
}

// checkValue looks at one value of a universal type. Of other classes the type is not known here.
func checkValue(tag cbasn1.Tag, value []byte) error {
	if tag&0xc0 != 0 {
		return nil
	}
	switch tag {
	case cbasn1.SEQUENCE:
		return nil
	case cbasn1.SET:
		return checkSorted(value)
	case cbasn1.BOOLEAN:
		if len(value) != 1 || value[0] != 0 && value[0] != 0xff {
			return fmt.Errorf("BOOLEAN %#x: DER has 00 and ff only", value[:min(len(value), 8)])
		}
	case cbasn1.INTEGER, tagEnumerated:
		if len(value) == 0 || len(value) > 1 && (value[0] == 0 && value[1] < 0x80 || value[0] == 0xff && value[1] >= 0x80) {
			return fmt.Errorf("INTEGER %#x is padded or empty", value[:min(len(value), 8)])
		}
	case cbasn1.BIT_STRING:
		return checkBitString(value)
	case cbasn1.NULL:
		if len(value) > 0 {
			return errors.New("NULL that is not empty")
		}
	case cbasn1.OBJECT_IDENTIFIER:
		var oid x509.OID
		if oid.UnmarshalBinary(value) != nil {
			return fmt.Errorf("malformed OBJECT IDENTIFIER %#x", value[:min(len(value), 16)])
		}
	case cbasn1.UTCTime:
		return checkTime(value, len("YYMMDDhhmmssZ"))
	case cbasn1.GeneralizedTime:
		return checkTime(value, len("YYYYMMDDhhmmssZ"))
	case tagEndOfContents:
		return errors.New("end-of-contents octets: BER where DER is expected")
	default:
		return checkString(tag, value)
	}
	return nil
}

// checkSorted, X.690 11.6: the encodings of the elements of a SET OF ascend. None can begin with another.
func checkSorted(set cryptobyte.String) error {
	var last []byte
	for !set.Empty() {
		var element cryptobyte.String
		var tag cbasn1.Tag
		if !set.ReadAnyASN1Element(&element, &tag) {
			return errors.New("malformed DER")
		}
		if bytes.Compare(last, element) > 0 {
			return errors.New("SET whose elements are not sorted, as DER has them (X.690 11.6)")
		}
		last = element
	}
	return nil
}

func checkBitString(value []byte) error {
	if len(value) == 0 || value[0] > 7 || value[0] > 0 && len(value) == 1 {
		return errors.New("malformed BIT STRING")
	}
	if value[len(value)-1]&(1<<value[0]-1) != 0 && len(value) > 1 {
		return errors.New("BIT STRING with unused bits that are set")
	}
	return nil
}

// checkTime, RFC 5280 4.1.2.5: seconds and Z, no fractions.
func checkTime(value []byte, size int) error {
	if len(value) != size || value[size-1] != 'Z' || bytes.ContainsFunc(value[:size-1], func(r rune) bool { return r < '0' || r > '9' }) {
		return fmt.Errorf("malformed time %s", quote(string(value)))
	}
	return nil
}

// checkString refuses characters that a type of string does not have (X.680 41). A tag of anything else,
// and the types of which every octet is somebody's character, pass.
func checkString(tag cbasn1.Tag, value []byte) error {
	var allowed func(c byte) bool
	switch tag {
	case cbasn1.UTF8String:
		if !utf8.Valid(value) {
			return fmt.Errorf("%s is not valid UTF-8", quote(string(value)))
		}
		return nil
	case tagBMPString:
		return checkUnits(value)
	case tagUniversalString:
		if len(value)%4 != 0 {
			return fmt.Errorf("UniversalString of %d bytes", len(value))
		}
		for ; len(value) > 0; value = value[4:] {
			if c := binary.BigEndian.Uint32(value); c > utf8.MaxRune || !utf8.ValidRune(rune(c)) {
				return fmt.Errorf("UniversalString with %#x, which is no character", c)
			}
		}
		return nil
	case cbasn1.PrintableString:
		allowed = isPrintableString
	case tagNumericString:
		allowed = func(c byte) bool { return c >= '0' && c <= '9' || c == ' ' }
	case cbasn1.IA5String:
		allowed = func(c byte) bool { return c < 0x80 }
	case tagVisibleString:
		allowed = func(c byte) bool { return c >= ' ' && c < 0x7f }
	default:
		return nil
	}
	for _, c := range value {
		if !allowed(c) {
			return fmt.Errorf("%s is not a valid %s, which cannot have %s: UTF8String can", quote(string(value)), stringType(tag), showByte(c))
		}
	}
	return nil
}

func showByte(c byte) string {
	if c < 0x80 {
		return quote(string(rune(c)))
	}
	return fmt.Sprintf("the byte %#02x", c)
}

// checkUnits checks a BMPString, which has no characters beyond the first 65536.
func checkUnits(value []byte) error {
	if len(value)%2 != 0 {
		return fmt.Errorf("BMPString of %d bytes", len(value))
	}
	for ; len(value) > 0; value = value[2:] {
		if c := rune(binary.BigEndian.Uint16(value)); utf16.IsSurrogate(c) {
			return fmt.Errorf("BMPString with %#x, which is no character", c)
		}
	}
	return nil
}

// isPrintableString, X.680 41.4. Others read more into it, '*', '&', '@' and '_' among them.
func isPrintableString(c byte) bool {
	return isLetterOrDigit(c) || bytes.IndexByte([]byte(" '()+,-./:=?"), c) >= 0
}
