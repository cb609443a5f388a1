package store

// A Submittable is all that decides about a request which somebody submits, as one snapshot.
type Submittable struct {
	Pending     int64  // Request.ID of the same request, which waits for a decision; 0: it does not
	Certified   bool   // a certificate was issued for the same request, renewals excepted
	Received    int64  // CounterReceivedCSR of its authority
	AutoApprove string // SettingAutoApprove of its authority; empty: it was never set

	// About the key that is to be certified.
	OfCA        bool // see Reader.IsCAKey
	Compromised bool // see Reader.KeyCompromised
}

// An Approvable is all that decides about a request which a user approves, as one snapshot.
type Approvable struct {
	Digest []byte   // Request.Digest of the pending request; nil: it is not pending
	User   Standing // of the certificate of the user
	CAs    int64    // CounterCA of the request's authority

	// About the key that is to be certified.
	OfCA        bool // see Reader.IsCAKey
	Compromised bool // see Reader.KeyCompromised
}
