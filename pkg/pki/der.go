package pki

import (
	"errors"
	"fmt"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// maxDepth bounds the nesting of DER. A certificate needs eight levels.
const maxDepth = 24

// checkDER refuses what is not exactly one DER element all the way down: trailing
// bytes, indefinite or padded lengths, lengths beyond the parent, tags above 30, too
// many levels. It costs one linear pass, and spares every parser after it from being
// the first to meet such input.
func checkDER(der []byte) error {
	rest := cryptobyte.String(der)
	var element cryptobyte.String
	var tag asn1.Tag
	if err := readElement(&rest, &element, &tag); err != nil {
		return err
	}
	if !rest.Empty() {
		return fmt.Errorf("%d bytes of trailing data after the DER", len(rest))
	}
	if !constructed(tag) {
		return nil
	}
	return checkElements(element, 1)
}

func checkElements(s cryptobyte.String, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("DER nested deeper than %d levels", maxDepth)
	}
	for !s.Empty() {
		var element cryptobyte.String
		var tag asn1.Tag
		if err := readElement(&s, &element, &tag); err != nil {
			return err
		}
		if constructed(tag) {
			if err := checkElements(element, depth+1); err != nil {
				return err
			}
		}
	}
	return nil
}

func readElement(s, out *cryptobyte.String, tag *asn1.Tag) error {
	if len(*s) >= 2 && (*s)[1] == 0x80 {
		return errors.New("indefinite length: BER where DER is expected")
	}
	if !s.ReadAnyASN1(out, tag) {
		return errors.New("malformed DER")
	}
	return nil
}

func constructed(tag asn1.Tag) bool { return tag&0x20 != 0 }
