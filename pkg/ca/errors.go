package ca

import (
	"errors"
	"fmt"
)

// Why an operation is refused. The text of an error that wraps ErrInvalid, ErrConflict,
// ErrOther, ErrTooManyPending, ErrPolicy or ErrUnauthorized may be shown to whoever asked.
var (
	// ErrNotFound means that there is no such request, certificate or list, or that it is not in
	// a state in which the operation makes sense, such as signing what is signed already.
	ErrNotFound = errors.New("not found")
	// ErrInvalid means that what was sent is malformed or not acceptable.
	ErrInvalid = errors.New("refused")
	// ErrTooManyPending means that users must first sign or reject what is waiting.
	ErrTooManyPending = errors.New("too many pending requests")
	// ErrConflict means that it is too late: the key is in use, the certificate already revoked.
	ErrConflict = errors.New("conflict")
	// ErrOther means that the request on record is not the one that was shown to whoever decides.
	ErrOther = errors.New("another request than the one that was shown")
	// ErrUnauthorized means that the certificate shown, or the proof that its key is held, does not hold.
	ErrUnauthorized = errors.New("not authorized")
	// ErrNoSigner means that no CA certificate is valid now, because the clock is wrong or
	// because a new one could not be stored.
	ErrNoSigner = errors.New("no CA certificate is valid at this time")
	// ErrDamaged means that the store holds what this package would never have put there.
	ErrDamaged = errors.New("damaged database")
)

// ErrRetired means that the authority signs revocation lists only. It is an ErrInvalid.
var ErrRetired = fmt.Errorf("%w: the authority is retired, it issues no certificates any more", ErrInvalid)

// errStale means that the CA certificates have changed since they were read.
var errStale = errors.New("CA certificates have changed meanwhile")
