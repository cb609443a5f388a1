package token

import "errors"

var (
	// ErrNotBuilt means that this program cannot use tokens.
	ErrNotBuilt = errors.New("this cauased was built without support for PKCS #11")

	// ErrUnknown means that the configuration does not say how to reach a token.
	ErrUnknown = errors.New("how to reach the token is not configured")

	// errAbsent means that no token fits.
	errAbsent = errors.New("there is no such token at the moment")
	// errLost marks errors after which a token may answer again once it was looked for anew.
	errLost = errors.New("the token does not answer as it should")
	// errBusy means that others are using it.
	errBusy = errors.New("the token has too much to do")
	// errPIN means that the token lets nobody in.
	errPIN = errors.New("the token lets nobody in")
	// errWrongPIN is an errPIN because of ours.
	errWrongPIN = errors.New("the PIN is wrong, and is not tried again until another one is at its source: too many wrong ones would lock the token")
	// ErrIncapable means that the token has no such keys.
	ErrIncapable = errors.New("the token cannot do that")
)
