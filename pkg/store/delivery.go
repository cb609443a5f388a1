package store

import "time"

// A Delivery is an event that has to leave at least once: it is recorded with what it is about, and removed once it was received.
type Delivery struct {
	ID        int64         // assigned by AddDelivery, growing
	Authority AuthorityName // that it is about; empty: the daemon as a whole
	Hook      string        // names the recipient
	Event     []byte        // what it is told
	CreatedAt time.Time
	DueAt     time.Time // not before
	Attempts  int
	LastError string // of the last attempt, for display
}

func (Delivery) row() {}
