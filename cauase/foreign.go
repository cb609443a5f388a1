package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"cauase/pkg/pki"

	manners "cauase/pkg/cli"
)

// otherNames says what to do about names of a request that cannot be corrected.
const otherNames = "give the names with --cn, --org, --ou, --country, --dns, --ip, --email or --uri: they take the place of the request's of that kind"

// parseForeign reads the request in a file, as whatever device has made it, and what it asks for, but for that which flags replace.
func (t *tool) parseForeign(c *cli.Context, path string) (*pki.Request, pki.Corrected, error) {
	var asked pki.Corrected
	text, err := t.readRequest(path)
	if err != nil {
		return nil, asked, err
	}
	req, strict := pki.ParseRequest(text)
	if strict != nil {
		if req, err = pki.ParseForeign(text); err != nil {
			return nil, asked, manners.WithHint(fmt.Errorf("%s: %w", path, err), "%s", anotherRequest(err))
		}
	}
	if asked, err = pki.CorrectRequest(text, c.IsSet); err != nil {
		return nil, asked, manners.WithHint(fmt.Errorf("%s: %w", path, err), "%s", otherNames)
	}
	if strict != nil && len(asked.Changes) == 0 {
		asked.Changes = []string{"encoded anew: " + pki.EscapeText(strict.Error())}
	}
	return req, asked, nil
}

// anotherRequest says what a device has to do, of which a request proves nothing.
func anotherRequest(err error) string {
	if strings.Contains(err.Error(), "self-signature") {
		return "copy the file from the device once more; if that does not help, have the device make another request, and a new key for it"
	}
	return "have the device make another request: for a key of RSA from 2048 bits, ECDSA P-256, P-384, P-521 or Ed25519, and signed with SHA-256 or better"
}

// corrected has the view show the key of a request that the daemon cannot show, and what was corrected of it.
func (v *requestView) corrected(req *pki.Request, asked pki.Corrected) {
	v.Corrected, v.Notes = asked.Changes, asked.Notes
	if v.Key == "" {
		sum := sha256.Sum256(req.CSR.RawSubjectPublicKeyInfo)
		v.Key, v.KeyID, v.KeyFingerprint = pki.DescribeKey(req.CSR.PublicKey), fmt.Sprintf("%x", req.KeyID), "sha256:"+hex.EncodeToString(sum[:])
	}
}

var errTextOnly = errors.New("DER is no text, which --json prints")
