package store

import "context"

// A Foreseer is a Reader far from its database, which can ask several questions in one go.
type Foreseer interface {
	// Ahead notes what ask asks of its Reader, whose answers are all as if nothing were there, and
	// asks the database for all of it at once. The same questions to the Foreseer itself are then
	// answered without asking again, until something is written.
	Ahead(ctx context.Context, ask func(Reader)) error
}

// Ahead has r ask beforehand, if that is of use there, what ask is going to ask.
func Ahead(ctx context.Context, r Reader, ask func(Reader)) error {
	if f, ok := r.(Foreseer); ok {
		return f.Ahead(ctx, ask)
	}
	return nil
}
