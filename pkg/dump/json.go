package dump

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/big"
	"slices"
	"strconv"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"cauase/pkg/store"
)

// A line is one line after the first: an object with one member, whose name is the kind. The members
// of a row are the columns of its kind, in their order; one that is optional is left out when it has
// no value, as is an empty list of texts, and all others are always there.
type line struct {
	version int // of the stream, which has no members that came later
	kind    *store.Kind
	values  []any // one for each column, as store.Kind.Values gives them, with serials as texts
	end     *endWire
}

// endName is the member of the last line.
const endName = "end"

// MarshalJSONTo writes the line in the one way there is.
func (l *line) MarshalJSONTo(e *jsontext.Encoder) error {
	if err := e.WriteToken(jsontext.BeginObject); err != nil {
		return err
	}
	switch {
	case l.end != nil:
		if err := errors.Join(e.WriteToken(jsontext.String(endName)), json.MarshalEncode(e, l.end)); err != nil {
			return err
		}
	case l.kind != nil:
		if err := errors.Join(e.WriteToken(jsontext.String(l.kind.Name)), l.writeRow(e)); err != nil {
			return err
		}
	}
	return e.WriteToken(jsontext.EndObject)
}

func (l *line) writeRow(e *jsontext.Encoder) error {
	if err := e.WriteToken(jsontext.BeginObject); err != nil {
		return err
	}
	for i, c := range l.kind.Columns {
		if c.Since > l.version || leftOut(c, l.values[i]) {
			continue
		}
		if err := e.WriteToken(jsontext.String(c.Name)); err != nil {
			return err
		}
		if err := writeValue(e, l.values[i]); err != nil {
			return err
		}
	}
	return e.WriteToken(jsontext.EndObject)
}

func leftOut(c store.Column, value any) bool {
	switch v := value.(type) {
	case nil:
		return c.Optional
	case []string:
		return len(v) == 0
	}
	return false
}

func writeValue(e *jsontext.Encoder, value any) error {
	switch v := value.(type) {
	case int64:
		return e.WriteToken(jsontext.Int(v))
	case string:
		return e.WriteToken(jsontext.String(v))
	case []byte:
		b := append(e.AvailableBuffer(), '"')
		b = base64.StdEncoding.AppendEncode(b, v)
		return e.WriteValue(append(b, '"'))
	case []string:
		if err := e.WriteToken(jsontext.BeginArray); err != nil {
			return err
		}
		for _, s := range v {
			if err := e.WriteToken(jsontext.String(s)); err != nil {
				return err
			}
		}
		return e.WriteToken(jsontext.EndArray)
	}
	return fmt.Errorf("a value of type %T", value)
}

// UnmarshalJSONFrom reads a line. What is missing is noticed by canonical.
func (l *line) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	*l = line{version: l.version}
	if kind := d.PeekKind(); kind != '{' {
		if kind == 'n' {
			return errors.Join(d.SkipValue(), holds(0))
		}
		return wrongKind(d)
	}
	if _, err := d.ReadToken(); err != nil {
		return err
	}
	things := 0
	for d.PeekKind() == '"' {
		name, err := d.ReadToken()
		if err != nil {
			return err
		}
		found, err := l.member(d, name.String())
		if err != nil {
			return err
		}
		if found {
			things++
		}
	}
	if _, err := d.ReadToken(); err != nil {
		return err
	}
	if things != 1 {
		return holds(things)
	}
	return nil
}

// member reads the row of a kind, or the end; null is nothing.
func (l *line) member(d *jsontext.Decoder, name string) (found bool, err error) {
	kind := store.KindNamed(name)
	switch {
	case kind == nil && name != endName, kind != nil && kind.Since > l.version:
		return false, &json.SemanticError{JSONPointer: d.StackPointer(), Err: json.ErrUnknownName}
	case d.PeekKind() == 'n':
		return false, d.SkipValue()
	case name == endName:
		l.end = new(endWire)
		return true, json.UnmarshalDecode(d, l.end)
	}
	l.kind = kind
	return true, l.readRow(d)
}

func holds(things int) error {
	return fmt.Errorf("it holds %d things in place of one", things)
}

func wrongKind(d *jsontext.Decoder) error {
	kind := d.PeekKind()
	if kind == 0 { // the decoder reports what is wrong
		_, err := d.ReadToken()
		return noEOF(err)
	}
	return &json.SemanticError{JSONPointer: d.StackPointer(), JSONKind: kind}
}

func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

func (l *line) readRow(d *jsontext.Decoder) error {
	if d.PeekKind() != '{' {
		return wrongKind(d)
	}
	if _, err := d.ReadToken(); err != nil {
		return err
	}
	l.values = make([]any, len(l.kind.Columns))
	for i, c := range l.kind.Columns {
		l.values[i] = zeroOf(c)
	}
	for d.PeekKind() == '"' {
		name, err := d.ReadToken()
		if err != nil {
			return err
		}
		i := l.kind.Index(name.String())
		if i < 0 || l.kind.Columns[i].Since > l.version {
			return &json.SemanticError{JSONPointer: d.StackPointer(), Err: json.ErrUnknownName}
		}
		if l.values[i], err = readValue(d, l.kind.Columns[i]); err != nil {
			return err
		}
	}
	_, err := d.ReadToken()
	return err
}

// The zero values of the types of columns.
var (
	noBytes any = []byte{}
	noTexts any = []string(nil)
)

// zeroOf is the value of a column whose member is missing.
func zeroOf(c store.Column) any {
	switch {
	case c.Optional:
		return nil
	case c.Type == store.Text || c.Type == store.Serial:
		return ""
	case c.Type == store.Bytes:
		return noBytes
	case c.Type == store.Texts:
		return noTexts
	}
	return int64(0)
}

func readValue(d *jsontext.Decoder, c store.Column) (any, error) {
	if c.Type != store.Texts && d.PeekKind() == 'n' {
		return zeroOf(c), d.SkipValue() // canonical notices it
	}
	switch c.Type {
	case store.Text, store.Serial:
		if d.PeekKind() != '"' {
			return nil, unsuitable[string](d)
		}
		t, err := d.ReadToken()
		if err != nil {
			return nil, err
		}
		s := t.String()
		if c.Optional && s == "" {
			return nil, nil
		}
		return s, nil
	case store.Bytes:
		if d.PeekKind() != '"' {
			return nil, unsuitable[[]byte](d)
		}
		v, err := d.ReadValue()
		if err != nil {
			return nil, err
		}
		v = v[1 : len(v)-1]
		b := make([]byte, base64.StdEncoding.DecodedLen(len(v)))
		n, err := base64.StdEncoding.Decode(b, v)
		if err != nil {
			return nil, &json.SemanticError{JSONPointer: d.StackPointer(), Err: err}
		}
		b = b[:n]
		if c.Optional && len(b) == 0 {
			return nil, nil
		}
		return b, nil
	case store.Texts:
		var list names
		if err := json.UnmarshalDecode(d, &list); err != nil {
			return nil, err
		}
		return []string(list), nil
	}
	if d.PeekKind() != '0' {
		return nil, unsuitable[int64](d)
	}
	v, err := d.ReadValue()
	if err != nil {
		return nil, err
	}
	n, err := strconv.ParseInt(string(v), 10, 64)
	if err != nil {
		return nil, &json.SemanticError{JSONPointer: d.StackPointer(), Err: errors.Unwrap(err)}
	}
	return n, nil
}

// unsuitable returns the error for a next value that is not a T.
func unsuitable[T any](d *jsontext.Decoder) error {
	var v T
	return json.UnmarshalDecode(d, &v)
}

// wireOf is the line of a row. It is nil for a row of a kind that has no place in the stream.
func wireOf(row store.Row) *line {
	kind := store.KindOf(row)
	if kind == nil {
		return nil
	}
	l := &line{version: Version, kind: kind, values: kind.Values(row)}
	for i, c := range kind.Columns {
		switch v := l.values[i].(type) {
		case string:
			if !sound(v) {
				l.values[i] = text(v)
			}
		case []string:
			if slices.ContainsFunc(v, func(s string) bool { return !sound(s) }) {
				l.values[i] = texts(v)
			}
		case *big.Int:
			l.values[i] = v.String()
		case nil:
			l.values[i] = zeroOf(c)
		}
	}
	return l
}

// sound reports whether every store can hold the texts of a line.
func (l *line) sound() bool {
	for _, value := range l.values {
		switch v := value.(type) {
		case string:
			if !sound(v) {
				return false
			}
		case []string:
			if slices.ContainsFunc(v, func(s string) bool { return !sound(s) }) {
				return false
			}
		}
	}
	return true
}

// row is the row of a line, nil for a line that has none.
func (l *line) row() store.Row {
	if l.kind == nil {
		return nil
	}
	values := make([]any, len(l.values))
	for i, c := range l.kind.Columns {
		if values[i] = l.values[i]; c.Type == store.Serial {
			s, _ := l.values[i].(string)
			if n := serialOf(s); n != nil {
				values[i] = n
			} else {
				values[i] = nil
			}
		}
	}
	return l.kind.Row(values)
}

// value returns that of a column, of its type.
func value[T any](l *line, column string) (v T, there bool) {
	if i := l.kind.Index(column); i >= 0 {
		v, there = l.values[i].(T)
	}
	return v, there
}
