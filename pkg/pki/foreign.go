package pki

// ParseForeign reads a request of which only the key counts: what is certified for it, somebody else says, in a
// request of their own. Names and extensions may be what [ParseRequest] refuses, as appliances write them, and are not in the
// result but as text: they are read by nobody, so that nothing depends on how. What is checked as there is what proves that
// somebody holds the key: form, key, and self-signature.
func ParseForeign(pemData []byte) (*Request, error) {
	req, err := parseForeign(pemData)
	if err == nil {
		err = checkSelfSignature(req.CSR)
	}
	if err != nil {
		return nil, refuse("CSR", err)
	}
	return req, nil
}

func parseForeign(pemData []byte) (*Request, error) {
	req, err := parsePossession(pemData)
	if err != nil {
		return nil, err
	}
	if err := checkSignatureAlgorithm(req.CSR); err != nil {
		return nil, err
	}
	req.Foreign = true
	if p, err := splitRequest(req.CSR.Raw); err == nil {
		req.Subject = clip(SubjectString(p.subject), maxForeignSubject)
	}
	return req, nil
}

// maxForeignSubject bounds what is shown of a subject that nobody has checked.
const maxForeignSubject = 1000
