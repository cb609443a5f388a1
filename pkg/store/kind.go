package store

import (
	"fmt"
	"math/big"
	"slices"
	"time"
)

// A Type says what values a column has, in the form in which Values gives them and Row takes them.
type Type int

// The types of columns.
const (
	Number   Type = iota // int64, from 0 to MaxNumber
	Ordinal              // a Number that is not 0
	Random               // int64, from 0
	Moment               // int64, microseconds since 1970, UTC
	Duration             // int64, microseconds, from 0
	Text                 // string
	Bytes                // []byte
	Serial               // *big.Int, of at most 20 bytes
	Texts                // []string
)

// MaxNumber bounds numbers that a store counts on from: the largest one there is would be the last.
const MaxNumber = 3 << 61

// A Column is one column of a table, and one member of a line in a dump.
type Column struct {
	Name     string
	Type     Type
	Optional bool // its value may be nil: NULL, left out of a line
	Shared   bool // of an authority's name: may be empty, for what belongs to the daemon as a whole
	Since    int  // version of dumps that was the first to have it; 0: it was always there
}

// A Kind describes one kind of Row once and for all: how it is kept in a database and written in a
// dump, and in which order.
type Kind struct {
	Name     string // in dumps and messages
	Table    string
	Columns  []Column
	Order    []string // columns that order the rows; one that is not among Columns is the database's own
	Identity []string // columns that name a row to people
	Since    int      // version of dumps that was the first to have it; 0: it was always there

	is     func(Row) bool
	values func(Row) []any
	row    func([]any) Row
}

// Kinds returns all kinds in the order of Reader.Rows, in which no row comes before one that it refers to.
func Kinds() []*Kind { return slices.Clone(kinds) }

// KindOf returns the kind of a row, nil for what is none.
func KindOf(row Row) *Kind {
	for _, k := range kinds {
		if k.is(row) {
			return k
		}
	}
	return nil
}

// KindNamed returns the kind with this name, nil if there is none.
func KindNamed(name string) *Kind {
	for _, k := range kinds {
		if k.Name == name {
			return k
		}
	}
	return nil
}

// Values returns the values of a row of this kind, one for each column.
func (k *Kind) Values(row Row) []any {
	return k.values(row)
}

// Row makes a row of values, one for each column.
func (k *Kind) Row(values []any) Row { return k.row(values) }

// Index returns where a column is, -1 if it is not there.
func (k *Kind) Index(column string) int {
	return slices.IndexFunc(k.Columns, func(c Column) bool { return c.Name == column })
}

// Describe names one row, for messages: its kind and what identifies it.
func (k *Kind) Describe(row Row) string {
	text, values := k.Name, k.Values(row)
	for _, name := range k.Identity {
		if name == "ca_id" {
			text += " of ca"
		}
		text += fmt.Sprint(" ", values[k.Index(name)])
	}
	return text
}

// A field is a column of rows of type T.
type field[T any] struct {
	Column
	get func(*T) any
	set func(*T, any)
}

func (f field[T]) optional() field[T] { f.Optional = true; return f }
func (f field[T]) shared() field[T]   { f.Shared = true; return f }

// since is for columns that dumps before that version do not have.
func (f field[T]) since(version int) field[T] { f.Since = version; return f }

// since is for kinds that dumps before that version do not have.
func since(version int, k *Kind) *Kind { k.Since = version; return k }

func kindOf[T Row](name, table string, order, identity []string, fields ...field[T]) *Kind {
	k := &Kind{Name: name, Table: table, Order: order, Identity: identity}
	for _, f := range fields {
		k.Columns = append(k.Columns, f.Column)
	}
	k.values = func(row Row) []any {
		v, _ := row.(T)
		values := make([]any, len(fields))
		for i := range fields {
			values[i] = fields[i].get(&v)
		}
		return values
	}
	k.row = func(values []any) Row {
		var v T
		for i := range fields {
			if values[i] != nil {
				fields[i].set(&v, values[i])
			}
		}
		return v
	}
	k.is = func(row Row) bool { _, ok := row.(T); return ok }
	return k
}

// The constructors of fields take a function that says where in a row the value is.

func number[T any, N ~int | ~int64](name string, kind Type, at func(*T) *N) field[T] {
	return field[T]{Column{Name: name, Type: kind},
		func(v *T) any { return int64(*at(v)) },
		func(v *T, value any) { n, _ := value.(int64); *at(v) = N(n) }}
}

func moment[T any](name string, at func(*T) *time.Time) field[T] {
	return field[T]{Column{Name: name, Type: Moment},
		func(v *T) any { return at(v).UnixMicro() },
		func(v *T, value any) { n, _ := value.(int64); *at(v) = time.UnixMicro(n).UTC() }}
}

// optionalMoment has no value for the zero time.
func optionalMoment[T any](name string, at func(*T) *time.Time) field[T] {
	f := moment(name, at).optional()
	f.get = func(v *T) any {
		if at(v).IsZero() {
			return nil
		}
		return at(v).UnixMicro()
	}
	return f
}

func duration[T any](name string, at func(*T) *time.Duration) field[T] {
	return field[T]{Column{Name: name, Type: Duration},
		func(v *T) any { return at(v).Microseconds() },
		func(v *T, value any) { n, _ := value.(int64); *at(v) = time.Duration(n) * time.Microsecond }}
}

func text[T any, S ~string](name string, at func(*T) *S) field[T] {
	return field[T]{Column{Name: name, Type: Text},
		func(v *T) any { return string(*at(v)) },
		func(v *T, value any) { s, _ := value.(string); *at(v) = S(s) }}
}

func octets[T any](name string, at func(*T) *[]byte) field[T] {
	return field[T]{Column{Name: name, Type: Bytes},
		func(v *T) any {
			if *at(v) == nil {
				return []byte{}
			}
			return *at(v)
		},
		func(v *T, value any) { b, _ := value.([]byte); *at(v) = b }}
}

// optionalOctets have no value when they are nil or empty.
func optionalOctets[T any](name string, at func(*T) *[]byte) field[T] {
	f := octets(name, at).optional()
	f.get = func(v *T) any {
		if len(*at(v)) == 0 {
			return nil
		}
		return *at(v)
	}
	return f
}

func serial[T any](name string, at func(*T) **big.Int) field[T] {
	return field[T]{Column{Name: name, Type: Serial},
		func(v *T) any {
			if *at(v) == nil {
				return nil
			}
			return *at(v)
		},
		func(v *T, value any) { n, _ := value.(*big.Int); *at(v) = n }}
}

func texts[T any](name string, at func(*T) *[]string) field[T] {
	return field[T]{Column{Name: name, Type: Texts},
		func(v *T) any { return *at(v) },
		func(v *T, value any) {
			if list, _ := value.([]string); len(list) > 0 {
				*at(v) = list
			}
		}}
}
