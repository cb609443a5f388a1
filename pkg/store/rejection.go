package store

import "time"

// A Rejection is what is remembered of a request that was rejected: enough to tell whoever submits it again, or asks
// for its certificate.
type Rejection struct {
	Authority  AuthorityName
	ID         int64  // of the request
	Digest     []byte // SHA-256 of its DER, unique within the authority
	KeyID      []byte // SHA-1 of the public key bits
	RejectedAt time.Time
	RejectedBy string // audit.Actor in text form
	Reason     string // in words, for whoever has submitted it; may be empty
}

func (Rejection) row() {}
