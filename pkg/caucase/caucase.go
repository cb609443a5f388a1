// Package caucase reads what caucase, the Python implementation, leaves behind: its database, and
// the dump of it that its backups hold. It turns them into rows of a store, so that what was a
// caucase goes on as a cauase. See docs/from-caucase.md, "Take over a caucase".
//
// Neither is trusted. Of a dump no SQL is ever executed: a parser knows the statements that
// caucase writes and refuses all others. Package caucasedb reads the database itself, by the same
// rules; it is a package of its own so that nothing here has to do with SQLite.
package caucase

import (
	"errors"
	"fmt"
	"slices"

	"cauase/pkg/store"
)

// ErrNotCaucase means that a file is something else, or that it has more or less in it than caucase
// puts there.
var ErrNotCaucase = errors.New("not what caucase writes")

// Bounds of what is read. A database holds about 5 KiB for each certificate, and forgets those of
// services after a day.
const (
	maxStatement = 64 << 20 // bytes of one statement of a dump
	maxValue     = 16 << 20 // bytes of one value; caucase takes requests of 10 MiB, and a row of ours holds this much
	maxTotal     = 2 << 30  // bytes of all values
	maxRows      = 20_000_000
)

// A Database is what caucase has left behind.
type Database struct {
	// SkipBadRows leaves out rows that cannot be used, all but those of CAs, instead of refusing
	// them. The Report names them.
	SkipBadRows bool

	authorities map[store.AuthorityName]*tables
	rows        int   // of all tables
	size        int64 // bytes of all values
	converted   *conversion
}

// An origin says which authority of ours the tables with a prefix become.
type origin struct {
	name   store.AuthorityName
	prefix string
}

// authorities are in the order in which they are reported. There are no others: caucase knows three
// prefixes.
var authorities = [...]origin{
	{store.Users, "cau"},
	{store.Services, "cas"},
	{store.HTTPS, "http_cas"},
}

// tables are the rows of one authority.
type tables struct {
	prefix  string
	created map[string]bool // by what follows the prefix

	ca      []caRow
	crt     []crtRow
	revoked []revokedRow
	counter map[string]int64
	once    map[string]string // config_once
	config  map[string]string
	crl     []crlRow // 0.9.8 and older
}

type caRow struct{ key, crt []byte }

type crtRow struct {
	id       int64
	csr, crt []byte // crt is nil while the request is pending
}

type revokedRow struct {
	serial           string
	revoked, expires int64 // seconds since 1970
}

type crlRow struct{ crl []byte }

// A column of a table, and what may be in it.
type column struct {
	name        string
	integer     bool // else text or bytes: caucase stores PEM as either
	null        bool
	declaration []string // what may follow the name, words joined by a space
}

func integer(name string, null bool, more ...string) column {
	return column{name, true, null, declarations("INTEGER", more)}
}

func text(name string, null bool, more ...string) column {
	return column{name, false, null, declarations("TEXT", more)}
}

func declarations(typ string, more []string) []string {
	if len(more) == 0 {
		return []string{typ}
	}
	var all []string
	for _, m := range more {
		if m == "" {
			all = append(all, typ)
			continue
		}
		all = append(all, typ+" "+m)
	}
	return all
}

// columns returns the layout of a table by what follows its prefix, nil when there is no such table.
func columns(kind string) []column {
	switch kind {
	case "ca":
		return []column{integer("expiration_date", true), text("key", false), text("crt", false)}
	case "crt":
		return []column{
			integer("id", false, "PRIMARY KEY"), text("key_id", true, "", "UNIQUE"),
			integer("expiration_date", true), text("csr", true), text("crt", true),
		}
	case "revoked":
		return []column{text("serial", false, "PRIMARY KEY"), integer("revocation_date", false), integer("expiration_date", false)}
	case "counter":
		return []column{text("name", false, "PRIMARY KEY"), integer("value", false)}
	case "config_once", "config":
		return []column{text("name", false, "PRIMARY KEY"), text("value", false)}
	case "crl":
		return []column{integer("expiration_date", true), text("crl", true)}
	}
	return nil
}

// required are the tables that each authority has, whatever the version.
var required = [...]string{"ca", "crt", "revoked", "counter", "config_once"}

func newDatabase() *Database {
	d := &Database{authorities: map[store.AuthorityName]*tables{}}
	for _, a := range authorities {
		d.authorities[a.name] = &tables{
			prefix: a.prefix, created: map[string]bool{},
			counter: map[string]int64{}, once: map[string]string{}, config: map[string]string{},
		}
	}
	return d
}

// A Builder makes a Database out of tables and rows. Its errors are not yet ErrNotCaucase.
type Builder struct{ db *Database }

// NewBuilder begins with no tables.
func NewBuilder() *Builder { return &Builder{newDatabase()} }

// Table adds a table of this name, declared (CREATE TABLE …) exactly as caucase does it. It returns
// the names of its columns.
func (b *Builder) Table(name, declaration string) ([]string, error) {
	if t, _ := b.db.table(name); t == nil {
		return nil, fmt.Errorf("caucase has no table %.40q", name)
	}
	declared, err := parseCreate(declaration)
	if err != nil {
		return nil, err
	}
	if declared != name {
		return nil, fmt.Errorf("table %s is named %.40q as well", name, declared)
	}
	var names []string
	for _, c := range columns(kindOf(name)) {
		names = append(names, c.name)
	}
	return names, b.db.create(name)
}

// Row adds a row to a table. A value is nil, an int64 or a []byte, of text or of a blob.
func (b *Builder) Row(table string, values []any) error { return b.db.insert(table, values) }

// Database returns what was built, if all tables are there.
func (b *Builder) Database() (*Database, error) { return b.db, b.db.complete() }

// table finds the table with this name, if caucase has one.
func (d *Database) table(name string) (t *tables, kind string) {
	for _, a := range authorities {
		if len(name) > len(a.prefix) && name[:len(a.prefix)] == a.prefix && columns(name[len(a.prefix):]) != nil {
			return d.authorities[a.name], name[len(a.prefix):]
		}
	}
	return nil, ""
}

// create notes that there is a table.
func (d *Database) create(name string) error {
	t, kind := d.table(name)
	switch {
	case t == nil:
		return fmt.Errorf("caucase has no table %.40q", name)
	case t.created[kind]:
		return fmt.Errorf("table %s is created twice", name)
	}
	t.created[kind] = true
	return nil
}

// complete reports whether all tables are there.
func (d *Database) complete() error {
	for _, a := range authorities {
		t := d.authorities[a.name]
		for _, kind := range required {
			if !t.created[kind] {
				return fmt.Errorf("%w: there is no table %s%s", ErrNotCaucase, t.prefix, kind)
			}
		}
		if !t.created["config"] && !t.created["crl"] {
			return fmt.Errorf("%w: there is neither a table %sconfig nor %scrl", ErrNotCaucase, t.prefix, t.prefix)
		}
	}
	return nil
}

// insert adds a row to a table. A value is nil, an int64 or a []byte, of text or of a blob.
func (d *Database) insert(name string, values []any) error {
	t, kind := d.table(name)
	if t == nil || !t.created[kind] {
		return fmt.Errorf("there is no table %.40q", name)
	}
	layout := columns(kind)
	if len(values) != len(layout) {
		return fmt.Errorf("%d values for the %d columns of %s", len(values), len(layout), name)
	}
	for i, c := range layout {
		if err := d.check(c, values[i]); err != nil {
			return fmt.Errorf("column %s of %s: %w", c.name, name, err)
		}
	}
	if d.rows++; d.rows > maxRows {
		return fmt.Errorf("more than %d rows", maxRows)
	}
	if err := t.insert(kind, values); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

func (d *Database) check(c column, value any) error {
	switch v := value.(type) {
	case nil:
		if !c.null {
			return errors.New("is NULL")
		}
	case int64:
		if !c.integer {
			return errors.New("is an integer where text is expected")
		}
	case []byte:
		if c.integer {
			return errors.New("is text where an integer is expected")
		}
		if len(v) > maxValue {
			return fmt.Errorf("is longer than %d bytes", maxValue)
		}
		if d.size += int64(len(v)); d.size > maxTotal {
			return fmt.Errorf("is more than fits: all values together have over %d bytes", maxTotal)
		}
	default:
		return fmt.Errorf("is a %T", value)
	}
	return nil
}

func (t *tables) insert(kind string, v []any) error {
	str := func(i int) string { return string(bytesOf(v[i])) }
	switch kind {
	case "ca":
		t.ca = append(t.ca, caRow{key: bytesOf(v[1]), crt: bytesOf(v[2])})
	case "crt":
		t.crt = append(t.crt, crtRow{id: v[0].(int64), csr: bytesOf(v[3]), crt: bytesOf(v[4])})
	case "revoked":
		t.revoked = append(t.revoked, revokedRow{serial: str(0), revoked: v[1].(int64), expires: v[2].(int64)})
	case "counter":
		if _, twice := t.counter[str(0)]; twice {
			return fmt.Errorf("%.40q is there twice", str(0))
		}
		t.counter[str(0)] = v[1].(int64)
	case "config_once", "config":
		to := t.once
		if kind == "config" {
			to = t.config
		}
		if _, twice := to[str(0)]; twice {
			return fmt.Errorf("%.40q is there twice", str(0))
		}
		to[str(0)] = str(1)
	case "crl":
		t.crl = append(t.crl, crlRow{crl: bytesOf(v[1])})
	}
	return nil
}

// bytesOf returns nil for NULL, which nothing that is there is.
func bytesOf(v any) []byte {
	b, ok := v.([]byte)
	if ok && b == nil {
		return []byte{}
	}
	return b
}

// Empty reports whether the database never held anything: a caucase that has never run.
func (d *Database) Empty() bool {
	return !slices.ContainsFunc(authorities[:], func(a origin) bool {
		t := d.authorities[a.name]
		return len(t.ca)+len(t.crt)+len(t.revoked) > 0
	})
}
