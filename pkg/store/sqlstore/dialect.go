package sqlstore

import (
	"errors"
	"fmt"

	"github.com/pressly/goose/v3"

	"cauase/pkg/store"
)

// A dialect is what differs between the databases that speak our queries.
type dialect struct {
	name  string // of the folder that holds its migrations
	goose goose.Dialect

	// classify says what an error of the driver means, by its code, never by its text.
	classify func(error) condition

	// strict: after an error a transaction, or its savepoint, accepts nothing but its end.
	strict bool

	// wipe makes deletion overwrite what it frees, unwipe goes back to the usual. Empty: no such thing.
	wipe, unwipe string

	// indices asks for name and definition of those that are made anew after loading. Empty: none.
	indices string

	// growTile adds hashes to a tile, moveHead moves the head of the tree over the audit log.
	growTile, moveHead string

	// trace, where it is not nil, is told of each trip to the database: of the statements that go together. Tests count them.
	trace func(statements ...string)

	// loaded are statements that follow the loading of rows with ids of their own.
	loaded []string
}

// A condition is the meaning of a database error.
type condition struct {
	kind error  // store.ErrExists, store.ErrUnavailable or nil
	text string // for people; may be empty
}

// wrap gives a database error the sentinel that callers branch on, and keeps its cause.
func (d *dialect) wrap(err error) error {
	if err == nil || errors.Is(err, store.ErrUnavailable) || errors.Is(err, store.ErrExists) {
		return err
	}
	switch c := d.classify(err); {
	case c.kind == nil:
		return fmt.Errorf("store: %w", err)
	case c.text == "":
		return fmt.Errorf("%w: %w", c.kind, err)
	default:
		return fmt.Errorf("%w: %s: %w", c.kind, c.text, err)
	}
}
