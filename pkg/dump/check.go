package dump

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"cauase/pkg/store"
)

// A checker looks at the rows of one stream in their order, when it is written and when it is read:
// what could not be read is not to be written.
type checker struct {
	kind int // index in kinds of the last row
	last position
	cas  map[caRef]bool
}

// A position is where a row stands among those of its kind.
type position struct {
	authority string
	n, id     int64
	name      string
}

type caRef struct {
	authority store.AuthorityName
	id        int64
}

// before reports whether a row at p may be followed by one at q.
func (p position) before(q position) bool {
	switch {
	case p.authority != q.authority:
		return p.authority < q.authority
	case p.n != q.n:
		return p.n < q.n
	case p.id != q.id:
		return p.id < q.id
	}
	return p.name < q.name
}

// check returns why a line cannot stand where it does, nil if it can.
func (c *checker) check(l *line) error {
	kind, at, err := c.inspect(l)
	if err != nil {
		return err
	}
	switch {
	case kind < c.kind:
		return fmt.Errorf("a row of kind %s comes after those of kind %s", kinds()[kind], kinds()[c.kind])
	case kind == c.kind && at != nil && c.last != (position{}) && !c.last.before(*at):
		return errors.New("a row is out of order, or there twice")
	}
	c.kind = kind
	c.last = position{}
	if at != nil {
		c.last = *at
	}
	return nil
}

// inspect looks at what a line says by itself, and returns its kind and where it stands.
// Certificates come in the order of issuance, of which nothing in them tells.
func (c *checker) inspect(l *line) (kind int, at *position, err error) {
	switch {
	case l.CA != nil:
		v := l.CA
		err = errors.Join(authority(v.Authority), positive("id", v.ID), moment("created_at", v.CreatedAt),
			span(v.NotBefore, v.NotAfter), c.addCA(caRef{v.Authority, v.ID}))
		return 0, &position{n: v.ID}, first(err)
	case l.CRL != nil:
		v := l.CRL
		err = errors.Join(authority(v.Authority), c.knowsCA(v.Authority, v.CAID), growing("number", v.Number), growing("pruned", v.Pruned),
			moment("this_update", v.ThisUpdate), moment("next_update", v.NextUpdate))
		return 1, &position{authority: string(v.Authority), n: v.CAID}, first(err)
	case l.Request != nil:
		v := l.Request
		err = errors.Join(authority(v.Authority), count("id", v.ID), moment("received_at", v.ReceivedAt))
		return 2, &position{authority: string(v.Authority), n: v.ReceivedAt, id: v.ID}, first(err)
	case l.Certificate != nil:
		v := l.Certificate
		err = errors.Join(authority(v.Authority), count("id", v.ID), serial("serial", v.Serial), c.knowsCA(v.Authority, v.CAID),
			span(v.NotBefore, v.NotAfter), moment("issued_at", v.IssuedAt))
		if v.Renews != "" {
			err = errors.Join(err, serial("renews", v.Renews))
		}
		if v.Method == "" {
			err = errors.Join(err, errors.New("method is empty"))
		}
		return 3, nil, first(err)
	case l.Revocation != nil:
		v := l.Revocation
		err = errors.Join(authority(v.Authority), positive("seq", v.Seq), serial("serial", v.Serial),
			moment("revoked_at", v.RevokedAt), moment("keep_until", v.KeepUntil), reason(v.Reason))
		return 4, &position{authority: string(v.Authority), n: v.Seq}, first(err)
	case l.Counter != nil:
		v := l.Counter
		err = errors.Join(anyAuthority(v.Authority), growing("value", v.Value))
		return 5, &position{authority: string(v.Authority), name: named(v.Name)}, first(err)
	case l.Setting != nil:
		return 6, &position{authority: string(l.Setting.Authority), name: named(l.Setting.Name)}, anyAuthority(l.Setting.Authority)
	case l.Audit != nil:
		v := l.Audit
		err = errors.Join(anyAuthority(store.AuthorityName(v.Authority)), positive("seq", v.Seq), moment("time", v.Time))
		return 7, &position{n: v.Seq}, first(err)
	}
	return 0, nil, errors.New("it holds no row")
}

// named keeps a position with an empty name apart from none.
func named(s string) string { return "=" + s }

// first returns the first of joined errors: one reason is enough.
func first(err error) error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return first(joined.Unwrap()[0])
	}
	return err
}

func (c *checker) addCA(ref caRef) error {
	if len(c.cas) >= maxCAs {
		return fmt.Errorf("more than %d CA certificates", maxCAs)
	}
	if c.cas == nil {
		c.cas = make(map[caRef]bool)
	}
	c.cas[ref] = true
	return nil
}

func (c *checker) knowsCA(a store.AuthorityName, id int64) error {
	if !c.cas[caRef{a, id}] {
		return fmt.Errorf("ca_id: authority %q has no CA %d", printable(string(a)), id)
	}
	return nil
}

func authority(a store.AuthorityName) error {
	if slices.Contains([]store.AuthorityName{store.Users, store.Services, store.HTTPS}, a) {
		return nil
	}
	return fmt.Errorf("authority: %q is none", printable(string(a)))
}

// anyAuthority also takes the empty one, of what belongs to the daemon as a whole.
func anyAuthority(a store.AuthorityName) error {
	if a == "" {
		return nil
	}
	return authority(a)
}

// maxGrowing bounds numbers that a store counts on from: the largest one there is would be the last.
const maxGrowing = 3 << 61

func growing(name string, n int64) error {
	if n < 0 || n > maxGrowing {
		return fmt.Errorf("%s: %d is not a number from 0 to %d", name, n, maxGrowing)
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

func span(notBefore, notAfter int64) error {
	if err := errors.Join(moment("not_before", notBefore), moment("not_after", notAfter)); err != nil {
		return err
	}
	if notAfter < notBefore {
		return errors.New("not_after lies before not_before")
	}
	return nil
}

// maxSerial is the length of a serial number, in bytes (RFC 5280 4.1.2.2); its digits are those of
// 2^160.
const (
	maxSerial       = 20
	maxSerialDigits = 49
)

func serial(name, s string) error {
	if s == "" || len(s) > maxSerialDigits || len(s) > 1 && s[0] == '0' {
		return fmt.Errorf("%s: not a serial number of at most %d bytes", name, maxSerial)
	}
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return fmt.Errorf("%s: not a decimal number", name)
		}
	}
	if n := serialOf(s); n.BitLen() > 8*maxSerial {
		return fmt.Errorf("%s: not a serial number of at most %d bytes", name, maxSerial)
	}
	return nil
}

// reason takes what RFC 5280 5.3.1 has.
func reason(n int) error {
	if n < 0 || n > 10 || n == 7 {
		return fmt.Errorf("reason: there is no reason %d", n)
	}
	return nil
}
