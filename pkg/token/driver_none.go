//go:build !pkcs11

package token

// Built reports whether this program can use tokens.
const Built = false

// connect reaches no token: whoever needs one has to have a C library loaded, which this program, in Go alone, cannot do.
func connect(URI, func() ([]byte, error)) (device, error) { return nil, ErrNotBuilt }
