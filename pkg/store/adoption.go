package store

import "time"

// An Adoption is what the holder of a lineage's certificate has confirmed: the newest generation of the authority that it trusts.
type Adoption struct {
	Authority AuthorityName
	Lineage   int64  // Lineage.ID
	CAKeyID   []byte // CA.KeyID
	HeldAt    time.Time
	Address   string // from which it was confirmed
}

func (Adoption) row() {}

// A Sought is what holders are to have: one of some CAs.
type Sought struct {
	KeyIDs [][]byte  // CA.KeyID of a generation and of those that have followed it
	Since  time.Time // when that generation was made
}

// Holders are numbers of lineages that are active and have a valid certificate.
type Holders struct {
	Seen      int
	Confirmed int // their holders have confirmed what is sought
	Renewed   int // have never confirmed anything, but have had a certificate since, and with it met what is sought
	Behind    int // have confirmed, but only what came before
	Silent    int // have never confirmed anything, nor had a certificate since
}

// Missing is how many are not known to have what is sought.
func (h Holders) Missing() int { return h.Behind + h.Silent }

// A Straggler is a lineage whose holder is not known to have what is sought.
type Straggler struct {
	Lineage  int64
	Subject  string
	NotAfter time.Time
	AskedAt  time.Time // for its last certificate
	Address  string    // from which that was asked for; empty for the first one
	Held     []byte    // CA.KeyID that was confirmed last; nil: none ever
	HeldAt   time.Time
}
