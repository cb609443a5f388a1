package dump

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"cauase/pkg/audit"
	"cauase/pkg/store"
)

// A Reader reads a stream of rows. It is for one goroutine.
type Reader struct {
	in      *bufio.Reader
	buf     []byte // the line under way
	n       int64  // its number
	meta    Meta
	enc     encoder
	checker checker
	sums    sums       // of the lines, by which the last one is checked
	hash    *Hash      // of the rows of now, when the stream is of a version before
	old     *upgrader1 // of a stream of version 1
	started bool
	summary Summary
}

// Read begins to read a stream. It returns ErrNotDump for something else, ErrNewer for one of a
// later version, which cannot be read but says so, and ErrInvalid.
func Read(r io.Reader) (*Reader, error) {
	d := &Reader{in: bufio.NewReaderSize(r, 64<<10), sums: newSums(kindsOf(Version))}
	if start, err := d.in.Peek(len(prefix)); !Is(start) {
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		return nil, ErrNotDump
	}
	data, err := d.next(maxFirstLine)
	if err != nil {
		return nil, err
	}
	// Later versions may say more in this line.
	var first firstLine
	if err := json.Unmarshal(data, &first); err != nil {
		return nil, d.refuse("", why(err))
	}
	switch {
	case first.Version > Version:
		return nil, fmt.Errorf("%w (%s): its rows are of version %d, this one reads up to version %d; use the version that wrote it, or a later one",
			ErrNewer, printable(first.Software), first.Version, Version)
	case first.Version < 1:
		return nil, d.refuse("", fmt.Sprintf("there is no version %d", first.Version))
	}
	created, err := time.Parse(timeLayout, first.Created)
	if err != nil {
		return nil, d.refuse("", "created is not a time of RFC 3339 in UTC")
	}
	if err := d.canonical(data, first); err != nil {
		return nil, err
	}
	d.meta = Meta{Version: first.Version, Created: created, Software: first.Software}
	switch {
	case first.Version == 1:
		d.sums, d.hash, d.old = newSums(kinds1), NewHash(), new(upgrader1)
	case first.Version < Version:
		d.sums, d.hash = newSums(kindsOf(first.Version)), NewHash()
	}
	return d, nil
}

// Meta is what the first line says.
func (d *Reader) Meta() Meta { return d.meta }

// Summary is of the rows that were read, once Rows has come to its end without an error; nil before.
func (d *Reader) Summary() Summary { return d.summary }

// Rows gives all rows in the order of store.Reader.Rows, once. An error, ErrInvalid or that of
// the io.Reader, is the last thing it gives: only when there is none were all rows there and right.
func (d *Reader) Rows() iter.Seq2[store.Row, error] {
	return func(yield func(store.Row, error) bool) {
		if d.started {
			yield(nil, errors.New("dump: the rows can be read once only"))
			return
		}
		d.started = true
		if d.old != nil {
			d.rows1(yield)
			return
		}
		for {
			row, err := d.row()
			switch {
			case err != nil:
				yield(nil, err)
				return
			case row == nil:
				return
			case !yield(row, nil):
				return
			}
		}
	}
}

// row reads a line and returns its row, nil for the end of the stream.
func (d *Reader) row() (store.Row, error) {
	data, err := d.next(MaxLine)
	if err != nil {
		return nil, err
	}
	l := line{version: d.meta.Version}
	if err := json.Unmarshal(data, &l, json.RejectUnknownMembers(true)); err != nil {
		return nil, d.refuse("", why(err))
	}
	if err := d.canonical(data, &l); err != nil {
		return nil, err
	}
	if l.end != nil {
		return nil, d.end(Summary(*l.end))
	}
	if err := d.checker.check(&l); err != nil {
		return nil, d.refuse(describe(&l), err.Error())
	}
	if !l.sound() {
		return nil, d.refuse(describe(&l), "a text holds a NUL")
	}
	row := derived(l.row(), d.meta.Version)
	d.sums.add(slices.Index(d.sums.kinds, l.kind.Name), data)
	return row, d.addNow(row)
}

// derived is a row of a stream of a version, with what that version does not say by itself and what follows from the rest.
func derived(row store.Row, version int) store.Row {
	if q, ok := row.(store.Request); ok && version < 4 {
		if address, found := strings.CutPrefix(q.Submitter, string(audit.Anonymous)+" "); found {
			q.Address = address
		}
		return q
	}
	return row
}

// addNow sums up a row as it is now, if the stream is of a version before.
func (d *Reader) addNow(row store.Row) error {
	if d.hash == nil {
		return nil
	}
	err := d.hash.Add(row)
	if e := (*Error)(nil); errors.As(err, &e) {
		return d.refuse(e.Row, e.Why)
	}
	return err
}

// describe names a row of which not everything may be right.
func describe(l *line) string {
	if row := l.row(); row != nil {
		return printable(Describe(row))
	}
	return ""
}

// end checks what the last line says, and that it is the last one.
func (d *Reader) end(said Summary) error {
	found := d.sums.summary()
	if diff := said.Diff(found); diff != "" {
		return d.refuse("", "the end does not agree with the rows: it says "+printable(diff))
	}
	switch _, err := d.in.ReadByte(); {
	case err == nil:
		d.n++
		return d.refuse("", "something follows the end")
	case !errors.Is(err, io.EOF):
		return d.broken(err)
	}
	if d.hash != nil {
		found = d.hash.Summary()
	}
	d.summary = found
	return nil
}

// next reads a line of at most limit bytes, with its end. It is good until the next one.
func (d *Reader) next(limit int) ([]byte, error) {
	d.n++
	d.buf = d.buf[:0]
	for {
		part, err := d.in.ReadSlice('\n')
		if len(d.buf)+len(part) > limit {
			return nil, d.refuse("", fmt.Sprintf("it is longer than %d bytes", limit))
		}
		d.buf = append(d.buf, part...)
		switch {
		case err == nil:
			return d.buf, nil
		case errors.Is(err, bufio.ErrBufferFull):
		case !errors.Is(err, io.EOF):
			return nil, d.broken(err)
		case len(d.buf) == 0:
			return nil, d.refuse("", "it is missing: there is no end marker, the rest was cut off")
		default:
			return nil, d.refuse("", "it has no end, the rest was cut off")
		}
	}
}

// canonical makes sure that data is written the one way there is: it holds all members, in their
// order, and nothing that another reader could take for something else.
func (d *Reader) canonical(data []byte, v any) error {
	want, err := d.enc.encode(v)
	if err != nil {
		return d.refuse("", printable(err.Error()))
	}
	if bytes.Equal(want, data) {
		return nil
	}
	return d.refuse("", difference(data, want))
}

// difference says how a line that could be parsed differs from how it has to be written. It names
// members only, as their values may be secret.
func difference(data, want []byte) string {
	has, needs := jsontext.NewDecoder(bytes.NewReader(data)), jsontext.NewDecoder(bytes.NewReader(want))
	for {
		a, errA := has.ReadToken()
		b, errB := needs.ReadToken()
		switch {
		case errA != nil || errB != nil:
			return "it is not written the way it has to be: without spaces, with nothing escaped that need not be"
		case has.StackPointer() != needs.StackPointer():
			return printable(fmt.Sprintf("%s has to come where %s is", needs.StackPointer(), has.StackPointer()))
		case a.Kind() != b.Kind() || a.String() != b.String():
			return printable(fmt.Sprintf("%s is missing, or not written the way it has to be", needs.StackPointer()))
		}
	}
}

func (d *Reader) refuse(row, why string) error { return &Error{Line: d.n, Row: row, Why: why} }

func (d *Reader) broken(err error) error {
	return &Error{Line: d.n, Why: "reading it: " + printable(err.Error()), Err: err}
}

// why describes what is wrong with a line, in terms of JSON rather than Go.
func why(err error) string {
	var semantic *json.SemanticError
	var syntactic *jsontext.SyntacticError
	switch {
	case errors.As(err, &semantic) && semantic.Err == nil:
		return printable(fmt.Sprintf("%s cannot be a JSON %s", at(semantic.JSONPointer), semantic.JSONKind))
	case errors.As(err, &semantic):
		return printable(fmt.Sprintf("%s: %v", at(semantic.JSONPointer), semantic.Err))
	case errors.As(err, &syntactic):
		return printable(fmt.Sprintf("%s: byte %d: %v", at(syntactic.JSONPointer), syntactic.ByteOffset+1, syntactic.Err))
	}
	return printable(err.Error())
}

func at(p jsontext.Pointer) string {
	if p == "" {
		return "it"
	}
	return string(p)
}
