package ca

import (
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"strings"
)

// ExternalList reads a setting, if it is one that holds the revocation list of a CA whose key is kept
// elsewhere. ok is false if it is another one. Who has signed the list is for the caller to find out: the CA with
// this key identifier has to.
func ExternalList(setting, value string) (keyID []byte, list *x509.RevocationList, ok bool, err error) {
	text, ok := strings.CutPrefix(setting, listSetting(nil))
	if !ok {
		return nil, nil, false, nil
	}
	if keyID, err = hex.DecodeString(text); err != nil {
		return nil, nil, true, fmt.Errorf("%w: key identifier %.60q", ErrInvalid, text)
	}
	if list, err = parseBrought(value); err != nil {
		return keyID, nil, true, fmt.Errorf("%w: revocation list: %w", ErrInvalid, err)
	}
	return keyID, list, true, nil
}
