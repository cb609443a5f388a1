package updater

import "regexp"

// An error about a file goes to where more people can read than the file: into the log, the state and
// the metrics. It says what is wrong, and nothing of what the file holds.
type discreetError struct{ error }

func (e discreetError) Unwrap() error { return e.error }

// quoted is what messages quote, in the way of Go.
var quoted = regexp.MustCompile("\"(?:[^\"\\\\]|\\\\.)*\"?|`[^`]*`?")

// label is a type of PEM block that says what kind of file it is.
var label = regexp.MustCompile(`^"(?:(?:TRUSTED |NEW |X509 )?CERTIFICATE(?: REQUEST)?|X509 CRL|(?:RSA |EC |DSA |ENCRYPTED |OPENSSH )?PRIVATE KEY|PUBLIC KEY|(?:EC|DH) PARAMETERS)"$`)

// Error leaves out what is quoted.
func (e discreetError) Error() string {
	return quoted.ReplaceAllStringFunc(e.error.Error(), func(text string) string {
		if label.MatchString(text) {
			return text
		}
		return `"…"`
	})
}

// discreet keeps an error about what a file holds from quoting it.
func discreet(err error) error {
	if err == nil {
		return nil
	}
	return discreetError{err}
}
