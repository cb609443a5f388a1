package dump

import (
	"errors"
	"fmt"
	"math/big"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"cauase/pkg/store"
)

// endWire is the last line. Like names it is given up once it is too long: an empty element takes
// three bytes in a line and many more in memory.
type endWire Summary

// UnmarshalJSONFrom reads a list of sums.
func (e *endWire) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	return readList(d, '{', len(store.Kinds()), func() error {
		var sum Sum
		err := json.UnmarshalDecode(d, &sum)
		*e = append(*e, sum)
		return err
	})
}

// names are those in a row.
type names []string

// UnmarshalJSONFrom reads a list of strings.
func (n *names) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	return readList(d, '"', maxNames, func() error {
		t, err := d.ReadToken()
		*n = append(*n, t.String())
		return err
	})
}

// readList calls element at the start of each element of a list, all of one kind and at most limit.
func readList(d *jsontext.Decoder, kind jsontext.Kind, limit int, element func() error) error {
	if t, err := d.ReadToken(); err != nil {
		return err
	} else if t.Kind() != '[' {
		return errors.New("not a list")
	}
	for n := 0; d.PeekKind() == kind; n++ {
		if n == limit {
			return fmt.Errorf("a list of more than %d", limit)
		}
		if err := element(); err != nil {
			return err
		}
	}
	t, err := d.ReadToken()
	if err == nil && t.Kind() != ']' {
		err = errors.New("not a list of what belongs there")
	}
	return err
}

// text is what can be written of s. SQLite does not make sure that texts are UTF-8, and PostgreSQL
// takes no NUL; where such is, it came from a peer and is for people to read.
func text[T ~string](s T) T {
	if sound(string(s)) {
		return s
	}
	return T(strings.ReplaceAll(strings.ToValidUTF8(string(s), "\ufffd"), "\x00", "\ufffd"))
}

func sound(s string) bool { return utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 }

func texts(list []string) []string {
	var out []string
	for _, s := range list {
		out = append(out, text(s))
	}
	return out
}

func fromMicros(n int64) time.Time { return time.UnixMicro(n).UTC() }

// serialOf reads a number in decimal digits of which check has seen that there are not too many. What is no
// number becomes nil.
func serialOf(s string) *big.Int {
	if s == "" {
		return nil
	}
	n, ok := new(big.Int).SetString(s, 10)
	if !ok {
		return nil
	}
	return n
}
