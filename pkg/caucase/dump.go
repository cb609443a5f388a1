package caucase

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

const (
	begin  = "BEGIN TRANSACTION;"
	commit = "COMMIT;"
	create = "CREATE TABLE "
	insert = "INSERT INTO "
)

// A StatementError says which statement of a dump is refused, and why. It is an [ErrNotCaucase].
type StatementError struct {
	Number int // the first is 1
	Why    string
}

func (e *StatementError) Error() string { return fmt.Sprintf("statement %d: %s", e.Number, e.Why) }

// Is reports that the error is an ErrNotCaucase.
func (e *StatementError) Is(target error) bool { return target == ErrNotCaucase }

// IsDump reports whether a clear text begins like one of caucase's dumps.
func IsDump(prefix []byte) bool { return bytes.HasPrefix(prefix, []byte(begin+"\x00")) }

// ReadDump reads the dump that a backup of caucase holds: SQL statements, each followed by a NUL
// byte. It knows exactly those that caucase writes, and refuses everything else ([StatementError]).
func ReadDump(r io.Reader) (*Database, error) {
	p := &dumpReader{in: bufio.NewReaderSize(r, 64<<10), db: newDatabase()}
	for {
		statement, err := p.next()
		if err == nil {
			err = p.take(statement)
		}
		switch {
		case err == io.EOF:
			return p.db, p.db.complete()
		case errors.Is(err, errRead):
			return nil, err
		case err != nil:
			return nil, &StatementError{p.number, err.Error()}
		}
	}
}

// errRead is a failure of the reader below, not of what was read.
var errRead = errors.New("reading the dump")

// A dumpReader takes one statement after the other.
type dumpReader struct {
	in     *bufio.Reader
	number int // of the statement being looked at
	ended  bool
	held   []byte // the last statement's memory
	db     *Database
}

// next returns the next statement without its NUL byte, io.EOF after the last one.
func (p *dumpReader) next() (string, error) {
	p.number++
	p.held = p.held[:0]
	for {
		part, err := p.in.ReadSlice(0)
		if p.ended && len(part) > 0 {
			return "", errors.New("something follows after COMMIT")
		}
		p.held = append(p.held, part...)
		switch {
		case len(p.held) > maxStatement:
			return "", fmt.Errorf("longer than %d bytes", maxStatement)
		case err == nil:
			return string(p.held[:len(p.held)-1]), nil
		case err == io.EOF && len(p.held) == 0 && p.ended:
			return "", io.EOF
		case err == io.EOF:
			return "", errors.New("the dump ends here, before COMMIT and its NUL byte: it is not complete")
		case !errors.Is(err, bufio.ErrBufferFull):
			return "", fmt.Errorf("%w: %w", errRead, err)
		}
	}
}

// take does what a statement says.
func (p *dumpReader) take(s string) error {
	if p.number == 1 {
		if s != begin {
			return fmt.Errorf("%s where %s is expected", excerpt(s), begin)
		}
		return nil
	}
	switch {
	case s == commit:
		p.ended = true
		return nil
	case strings.HasPrefix(s, create):
		name, err := parseCreate(s)
		if err != nil {
			return err
		}
		return p.db.create(name)
	case strings.HasPrefix(s, insert):
		name, values, err := parseInsert(s)
		if err != nil {
			return err
		}
		return p.db.insert(name, values)
	}
	return fmt.Errorf("%s where CREATE TABLE, INSERT INTO or COMMIT is expected", excerpt(s))
}

// excerpt shortens a refused statement for a message: enough to recognise it.
func excerpt(s string) string {
	if len(s) > 40 {
		return strconv.Quote(s[:40]) + "…"
	}
	return strconv.Quote(s)
}

// start shortens a refused value for a message, to very little, as it may be part of a key.
func start(s string) string {
	if len(s) > 12 {
		return strconv.Quote(s[:12]) + "…"
	}
	return strconv.Quote(s)
}

// parseCreate reads the declaration of a table, which has to be one of caucase's to the letter but
// for white space. It returns the table's name.
func parseCreate(s string) (string, error) {
	words, err := split(s)
	if err != nil {
		return "", err
	}
	take := func(want ...string) bool {
		for _, w := range want {
			if len(words) == 0 || words[0] != w {
				return false
			}
			words = words[1:]
		}
		return true
	}
	if !take("CREATE", "TABLE") || len(words) < 2 {
		return "", fmt.Errorf("%s is not the declaration of a table", excerpt(s))
	}
	name := words[0]
	words = words[1:]
	layout := columns(kindOf(name))
	if layout == nil {
		return "", fmt.Errorf("caucase has no table %.40q", name)
	}
	if !take("(") {
		return "", fmt.Errorf("table %s: %s where its columns are expected", name, excerpt(words[0]))
	}
	for i, c := range layout {
		if i > 0 && !take(",") {
			return "", fmt.Errorf("table %s: column %s is not declared as caucase does it", name, layout[i-1].name)
		}
		if !take(c.name) {
			return "", fmt.Errorf("table %s: no column %s where it is expected", name, c.name)
		}
		// The longest declaration comes last.
		known := false
		for j := len(c.declaration) - 1; j >= 0 && !known; j-- {
			before := words
			if known = take(strings.Fields(c.declaration[j])...); !known {
				words = before
			}
		}
		if !known {
			return "", fmt.Errorf("table %s: column %s is not declared as caucase does it", name, c.name)
		}
	}
	if !take(")") || len(words) > 0 && !take(";") || len(words) > 0 {
		return "", fmt.Errorf("table %s: something follows after its columns", name)
	}
	return name, nil
}

// kindOf is what follows the prefix of a table's name.
func kindOf(name string) string {
	for _, a := range authorities {
		if kind, ok := strings.CutPrefix(name, a.prefix); ok && columns(kind) != nil {
			return kind
		}
	}
	return ""
}

// maxWords bounds the words of a declaration. Caucase's longest has 27.
const maxWords = 64

// split cuts a declaration into words and punctuation marks. Anything that is neither, such as a
// comment or a quotation mark other than around a name, is refused.
func split(s string) ([]string, error) {
	var words []string
	for len(s) > 0 {
		if len(words) > maxWords {
			return nil, errors.New("the declaration of a table is too long")
		}
		n := strings.IndexFunc(s, func(r rune) bool { return !isWord(r) })
		if n < 0 {
			n = len(s)
		}
		switch {
		case n > 0:
			words, s = append(words, s[:n]), s[n:]
		case strings.ContainsRune(" \t\r\n", rune(s[0])):
			s = s[1:]
		case strings.ContainsRune("(),;", rune(s[0])):
			words, s = append(words, s[:1]), s[1:]
		case s[0] == '"':
			name, rest, found := strings.Cut(s[1:], `"`)
			if !found || name == "" || strings.IndexFunc(name, func(r rune) bool { return !isWord(r) }) >= 0 {
				return nil, fmt.Errorf("%s where a name is expected", excerpt(s))
			}
			words, s = append(words, name), rest
		default:
			return nil, fmt.Errorf("%s in the declaration of a table", excerpt(s))
		}
	}
	return words, nil
}

func isWord(r rune) bool {
	return r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
}

// parseInsert reads a row: INSERT INTO "table" VALUES(literal,…);
func parseInsert(s string) (table string, values []any, err error) {
	rest, ok := strings.CutPrefix(s, insert+`"`)
	table, rest, found := strings.Cut(rest, `"`)
	if !ok || !found {
		return "", nil, fmt.Errorf("%s: no name of a table in quotation marks", excerpt(s))
	}
	if rest, ok = strings.CutPrefix(rest, " VALUES("); !ok {
		return "", nil, fmt.Errorf("table %.40q: %s where VALUES(…) is expected", table, start(rest))
	}
	const most = 8 // more than any table has columns
	for {
		if len(values) == most {
			return "", nil, fmt.Errorf("table %.40q: too many values", table)
		}
		var v any
		if v, rest, err = literal(rest); err != nil {
			return "", nil, fmt.Errorf("table %.40q: value %d: %w", table, len(values)+1, err)
		}
		values = append(values, v)
		switch {
		case rest == ");":
			return table, values, nil
		case !strings.HasPrefix(rest, ","):
			return "", nil, fmt.Errorf("table %.40q: %s after value %d", table, start(rest), len(values))
		}
		rest = rest[1:]
	}
}

// literal reads NULL, an integer, 'text' or X'bytes', and returns what follows it.
func literal(s string) (value any, rest string, err error) {
	switch {
	case strings.HasPrefix(s, "NULL"):
		return nil, s[len("NULL"):], nil
	case strings.HasPrefix(s, "'"):
		return quoted(s[1:])
	case strings.HasPrefix(s, "X'"):
		return blob(s[2:])
	}
	n := strings.IndexFunc(s, func(r rune) bool { return r != '-' && (r < '0' || r > '9') })
	if n < 0 {
		n = len(s)
	}
	number, err := strconv.ParseInt(s[:n], 10, 64)
	if err != nil {
		return nil, "", fmt.Errorf("%s is neither NULL, an integer, 'text' nor X'bytes'", start(s))
	}
	return number, s[n:], nil
}

// quoted reads text up to its closing quote; two of them stand for one.
func quoted(s string) (any, string, error) {
	var text []byte
	for {
		part, rest, found := strings.Cut(s, "'")
		if !found {
			return nil, "", errors.New("text without its closing quote")
		}
		text = append(text, part...)
		if !strings.HasPrefix(rest, "'") {
			if text == nil {
				text = []byte{}
			}
			return text, rest, nil
		}
		text = append(text, '\'')
		s = rest[1:]
	}
}

func blob(s string) (any, string, error) {
	digits, rest, found := strings.Cut(s, "'")
	if !found {
		return nil, "", errors.New("bytes without their closing quote")
	}
	value, err := decodeHex(digits)
	return value, rest, err
}

// decodeHex never quotes what it refuses: it may be a key.
func decodeHex(digits string) ([]byte, error) {
	out := make([]byte, hex.DecodedLen(len(digits)))
	if _, err := hex.Decode(out, []byte(digits)); err != nil {
		return nil, errors.New("what is between the quotes of X'…' is not hexadecimal")
	}
	return out, nil
}
