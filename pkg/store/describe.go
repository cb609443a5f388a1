package store

import "context"

// A Description tells what kind of database keeps the rows.
type Description struct {
	Engine string `json:"engine"` // with its version, such as "SQLite 3.50.4"
	Layout int64  `json:"layout"` // version of the layout of our tables
	Bytes  int64  `json:"bytes"`  // that they take on disk, logs of the database not counted
}

// Described is a Store that can describe the database behind it.
type Described interface {
	Store
	Describe(ctx context.Context) (Description, error)
	// Integrity looks for damage to the database itself, whatever it keeps, and returns what it has
	// found, in words. It may read all of it.
	Integrity(ctx context.Context) ([]string, error)
}
