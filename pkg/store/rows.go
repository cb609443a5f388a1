package store

import "cauase/pkg/audit"

// A Row is any one thing that a store keeps: a CA, Request, Certificate, Revocation, CRL, Counter,
// Setting or AuditEntry. Every store can give all of its rows away and take them in (Reader.Rows,
// Tx.Load), so that what one keeps can move to another, of whatever kind.
type Row interface{ row() }

// A Counter is the value of one counter.
type Counter struct {
	Authority Authority
	Name      string
	Value     int64
}

// A Setting is the value of one setting.
type Setting struct {
	Authority Authority
	Name      string
	Value     string
}

// An AuditEntry is one entry of the audit log.
type AuditEntry struct{ audit.Entry }

func (CA) row()          {}
func (Request) row()     {}
func (Certificate) row() {}
func (Revocation) row()  {}
func (CRL) row()         {}
func (Counter) row()     {}
func (Setting) row()     {}
func (AuditEntry) row()  {}
