package sqlstore

// Trace has fn told of each trip to the database, with the statements that go together. Nothing may use the database meanwhile.
func (db *DB) Trace(fn func(statements ...string)) { db.dialect.trace = fn }
