package dump

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"cauase/pkg/store"
)

// A checker validates the rows of one stream in their order, both when it is written and when it is read: what could
// not be read must not be written.
type checker struct {
	kinds []*store.Kind
	kind  int // index in kinds of that of the last row
	last  []any
	cas   map[caRef]bool
}

type caRef struct {
	authority string
	id        int64
}

// check returns why a line cannot stand where it does, nil if it can.
func (c *checker) check(l *line) error {
	if l.kind == nil {
		return errors.New("it holds no row")
	}
	if err := c.inspect(l); err != nil {
		return err
	}
	if c.kinds == nil {
		c.kinds = store.Kinds()
	}
	kind, at := slices.Index(c.kinds, l.kind), position(l)
	switch {
	case kind < c.kind:
		return fmt.Errorf("a row of kind %s comes after those of kind %s", l.kind.Name, c.kinds[c.kind].Name)
	case kind == c.kind && c.last != nil && at != nil && compare(c.last, at) >= 0:
		return errors.New("a row is out of order, or there twice")
	}
	c.kind, c.last = kind, at
	return nil
}

// position is where a row stands among those of its kind, nil where nothing in the row tells, as of
// certificates, which come in the order of issuance.
func position(l *line) []any {
	var at []any
	for _, name := range l.kind.Order {
		i := l.kind.Index(name)
		if i < 0 {
			return nil
		}
		at = append(at, l.values[i])
	}
	return at
}

func compare(a, b []any) int {
	for i := range a {
		order := 0
		switch v := a[i].(type) {
		case int64:
			w, _ := b[i].(int64)
			order = cmp.Compare(v, w)
		case string:
			w, _ := b[i].(string)
			order = cmp.Compare(v, w)
		}
		if order != 0 {
			return order
		}
	}
	return 0
}

// inspect checks a line by itself and against the rows before it.
func (c *checker) inspect(l *line) error {
	for i, column := range l.kind.Columns {
		if err := inspectValue(column, l.values[i]); err != nil {
			return err
		}
	}
	from, isSpan := value[int64](l, "not_before")
	if until, _ := value[int64](l, "not_after"); isSpan && until < from {
		return errors.New("not_after lies before not_before")
	}
	switch l.kind.Name {
	case "authority":
		row, _ := l.row().(store.Authority)
		return row.Check()
	case "ca":
		return errors.Join(state(l), c.addCA(l))
	case "crl":
		return c.knowsCA(l)
	case "certificate":
		if method, _ := value[string](l, "method"); method == "" {
			return errors.New("method is empty")
		}
		return c.knowsCA(l)
	case "lineage":
		n, _ := value[int64](l, "reason")
		return errors.Join(lineageState(l), reason(n))
	case "revocation":
		n, _ := value[int64](l, "reason")
		return reason(n)
	}
	return nil
}

func lineageState(l *line) error {
	switch state, _ := value[string](l, "state"); store.LineageState(state) {
	case store.LineageActive, store.LineageEnding, store.LineageEnded:
		return nil
	default:
		return fmt.Errorf("state: there is no state %q", printable(state))
	}
}

// inspectValue returns why a column cannot have a value, whatever the rest of the row says.
func inspectValue(c store.Column, v any) error {
	if v == nil && c.Optional {
		return nil
	}
	n, _ := v.(int64)
	switch c.Type {
	case store.Number:
		return growing(c.Name, n)
	case store.Ordinal:
		return positive(c.Name, n)
	case store.Random, store.Duration:
		return count(c.Name, n)
	case store.Moment:
		return moment(c.Name, n)
	case store.Serial:
		s, _ := v.(string)
		return serial(c.Name, s)
	case store.Text:
		if name, _ := v.(string); c.Name == "authority" && (name != "" || !c.Shared) && !store.AuthorityName(name).Valid() {
			return fmt.Errorf("authority: %q is none", printable(name))
		}
	}
	return nil
}

// state makes sure that a CA has a key when it says so, and none when it does not.
func state(l *line) error {
	ca, _ := l.row().(store.CA)
	switch ca.State {
	case store.CAUsable:
		if ca.Key.Custody == "" {
			return errors.New("state: it is usable, and has no key")
		}
	case store.CAErased, store.CADisowned, store.CAExternal, store.CARevoked, store.CACompromised:
		if ca.Key.Custody != "" || len(ca.Key.Ref) > 0 {
			return fmt.Errorf("state: it is %s, and has a key", ca.State)
		}
	default:
		return fmt.Errorf("state: there is no state %q", printable(string(ca.State)))
	}
	return nil
}

func (c *checker) addCA(l *line) error {
	if len(c.cas) >= maxCAs {
		return fmt.Errorf("more than %d CA certificates", maxCAs)
	}
	if c.cas == nil {
		c.cas = make(map[caRef]bool)
	}
	c.cas[refOf(l, "id")] = true
	return nil
}

func (c *checker) knowsCA(l *line) error {
	if ref := refOf(l, "ca_id"); !c.cas[ref] {
		return fmt.Errorf("ca_id: authority %q has no CA %d", printable(ref.authority), ref.id)
	}
	return nil
}

func refOf(l *line, column string) caRef {
	name, _ := value[string](l, "authority")
	id, _ := value[int64](l, column)
	return caRef{name, id}
}

func growing(name string, n int64) error {
	if n < 0 || n > store.MaxNumber {
		return fmt.Errorf("%s: %d is not a number from 0 to %d", name, n, store.MaxNumber)
	}
	return nil
}

func positive(name string, n int64) error {
	if n == 0 {
		return fmt.Errorf("%s: is 0", name)
	}
	return growing(name, n)
}

func count(name string, n int64) error {
	if n < 0 {
		return fmt.Errorf("%s: %d is negative", name, n)
	}
	return nil
}

// moment refuses times that no certificate can hold: years have four digits.
func moment(name string, micros int64) error {
	if t := fromMicros(micros); t.Before(time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC)) || t.Year() > 9999 {
		return fmt.Errorf("%s: %d µs is not a time", name, micros)
	}
	return nil
}

// maxSerial is the length of a serial number, in bytes (RFC 5280 4.1.2.2), and beyondSerial the first number
// that is longer, 2^160.
const (
	maxSerial    = 20
	beyondSerial = "1461501637330902918203684832716283019655932542976"
)

func serial(name, s string) error {
	if s == "" || len(s) > len(beyondSerial) || len(s) > 1 && s[0] == '0' {
		return fmt.Errorf("%s: not a serial number of at most %d bytes", name, maxSerial)
	}
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return fmt.Errorf("%s: not a decimal number", name)
		}
	}
	if len(s) == len(beyondSerial) && s >= beyondSerial {
		return fmt.Errorf("%s: not a serial number of at most %d bytes", name, maxSerial)
	}
	return nil
}

// reason accepts the codes of RFC 5280, 5.3.1.
func reason(n int64) error {
	if n < 0 || n > 10 || n == 7 {
		return fmt.Errorf("reason: there is no reason %d", n)
	}
	return nil
}
