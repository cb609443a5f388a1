package store

import "time"

// An Approval is the consent of one user to a pending request that needs that of several.
type Approval struct {
	Authority  AuthorityName
	Request    int64 // Request.ID
	Lineage    int64 // of the user
	ApprovedAt time.Time
	ApprovedBy string // audit.Actor in text form
	Serial     string // of the user's certificate, as audit entries write it
	What       []byte // SHA-256 of what exactly was approved
}

func (Approval) row() {}
