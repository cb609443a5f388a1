package store

import "time"

// A KEK is the key by which the keys of an authority's CAs are encrypted, and is encrypted itself.
type KEK struct {
	Authority AuthorityName // empty: of the daemon as a whole
	CreatedAt time.Time
	Wrap      string // how
	Params    []byte // of that, JSON
	Wrapped   []byte
}

func (KEK) row() {}
