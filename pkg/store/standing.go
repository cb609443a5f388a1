package store

// A Standing is what is said against a certificate, as one snapshot.
type Standing struct {
	Revoked bool
	CA      CAState // of the CA that has issued it; empty: which that is is not known
}

// Good reports whether nothing is. Time is for others to look at.
func (s Standing) Good() bool { return !s.Revoked && !s.CA.Gone() }

// Gone reports whether nothing counts any more that a CA in this state has signed.
func (s CAState) Gone() bool { return s == CARevoked || s == CACompromised || s == CADisowned }
