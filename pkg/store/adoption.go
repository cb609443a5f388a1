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
