package store

import (
	"time"

	"cauase/pkg/audit"
)

// A Row is any one thing that a store keeps: an Authority, CA, Signoff, KEK, CRL, Request, Approval, Rejection, Lineage, Adoption, Certificate,
// Revocation, Invitation, Delivery, Counter, Setting, Log, LogTile, Checkpoint or AuditEntry. Kinds describes them. Every store can give all of its rows away and take them in (Reader.Rows,
// Tx.Load), so that what one keeps can move to another, of whatever kind.
type Row interface{ row() }

// A Counter is the value of one counter.
type Counter struct {
	Authority AuthorityName
	Name      string
	Value     int64
}

// A Setting is the value of one setting.
type Setting struct {
	Authority AuthorityName
	Name      string
	Value     string
}

// An AuditEntry is one entry of the audit log.
type AuditEntry struct{ audit.Entry }

func (Authority) row()   {}
func (CA) row()          {}
func (Signoff) row()     {}
func (Request) row()     {}
func (Lineage) row()     {}
func (Certificate) row() {}
func (Revocation) row()  {}
func (CRL) row()         {}
func (Counter) row()     {}
func (Setting) row()     {}
func (AuditEntry) row()  {}

// Latest keeps a time within what rows and certificates can say: the end of the year 9999, which is
// when a certificate without an end ends (RFC 5280 4.1.2.5).
func Latest(t time.Time) time.Time {
	if last := time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC); t.After(last) {
		return last
	}
	return t
}
