package sqlstore

import (
	"fmt"
	"math/big"
	"slices"
	"strings"

	"cauase/pkg/store"
)

// A table reads and writes the rows of one kind, by its description.
type table struct {
	kind   *store.Kind
	query  string // all columns, to be followed by WHERE or ORDER BY
	insert string // all columns
}

func newTable(kind *store.Kind) table {
	names := columnNames(kind)
	return table{
		kind:   kind,
		query:  "SELECT " + strings.Join(names, ", ") + " FROM " + kind.Table + " ",
		insert: insertInto(kind.Table, names),
	}
}

// A tableOf is a table of rows of type T.
type tableOf[T store.Row] struct{ table }

func newTableOf[T store.Row]() tableOf[T] {
	var zero T
	return tableOf[T]{newTable(store.KindOf(zero))}
}

func columnNames(kind *store.Kind) []string {
	var names []string
	for _, c := range kind.Columns {
		names = append(names, c.Name)
	}
	return names
}

func insertInto(table string, names []string) string {
	return "INSERT INTO " + table + " (" + strings.Join(names, ", ") + ") VALUES (?" + strings.Repeat(", ?", len(names)-1) + ")"
}

// without is the statement that inserts a row but for a column, which the database fills in.
func (t table) without(column string) string {
	names := columnNames(t.kind)
	return insertInto(t.kind.Table, slices.DeleteFunc(names, func(n string) bool { return n == column }))
}

// update is the statement that sets all columns of the row with a key, whose values follow those of the row.
func (t table) update(key ...string) string {
	return "UPDATE " + t.kind.Table + " SET " + strings.Join(columnNames(t.kind), " = ?, ") + " = ? WHERE " + strings.Join(key, " = ? AND ") + " = ?"
}

// args are the values of a row as they are kept.
func (t table) args(row store.Row) ([]any, error) {
	args := t.kind.Values(row)
	for i, c := range t.kind.Columns {
		value, err := stored(c, args[i])
		if err != nil {
			return nil, err
		}
		args[i] = value
	}
	return args, nil
}

// argsWithout are args for the statement of without.
func (t table) argsWithout(row store.Row, column string) ([]any, error) {
	args, err := t.args(row)
	if err != nil {
		return nil, err
	}
	i := t.kind.Index(column)
	return slices.Delete(args, i, i+1), nil
}

// scan reads a row of query.
func (t tableOf[T]) scan(from scanner) (T, error) {
	values, err := t.values(from)
	if err != nil {
		var none T
		return none, err
	}
	return t.row(values)
}

// row makes a row of columns as they are kept.
func (t tableOf[T]) row(kept []any) (T, error) {
	row, err := t.table.row(kept)
	v, _ := row.(T)
	return v, err
}

func (t table) scanRow(from scanner) (store.Row, error) {
	values, err := t.values(from)
	if err != nil {
		return nil, err
	}
	return t.row(values)
}

// values reads the columns of a row of query, as they are kept.
func (t table) values(from scanner) ([]any, error) {
	values := make([]any, 2*len(t.kind.Columns))
	values, at := values[:len(t.kind.Columns)], values[len(t.kind.Columns):]
	for i := range values {
		at[i] = &values[i]
	}
	return values, from.Scan(at...)
}

// row makes a row of columns as they are kept.
func (t table) row(kept []any) (store.Row, error) {
	values := make([]any, len(kept))
	for i, c := range t.kind.Columns {
		var err error
		if values[i], err = loaded(c, kept[i]); err != nil {
			return nil, fmt.Errorf("store: %s, column %s: %w", t.kind.Table, c.Name, err)
		}
	}
	return t.kind.Row(values), nil
}

// stored is how a value of a column is kept. That a row belongs to an authority is what the schema's
// CHECK would say with less clarity.
func stored(c store.Column, value any) (any, error) {
	switch c.Type {
	case store.Serial:
		n, _ := value.(*big.Int)
		if n == nil && c.Optional {
			return nil, nil
		}
		return newSerial(n)
	case store.Texts:
		list, _ := value.([]string)
		return encodeSANs(list)
	case store.Text:
		if c.Name == "authority" && value == "" && !c.Shared {
			return nil, errNoAuthority
		}
	}
	return value, nil
}

// loaded is the value of which stored has made what is kept.
func loaded(c store.Column, kept any) (any, error) {
	if kept == nil {
		return nil, nil
	}
	ok := true
	switch c.Type {
	case store.Serial:
		var b []byte
		if b, ok = kept.([]byte); ok {
			return fromSerial(b), nil
		}
	case store.Texts:
		var text string
		if text, ok = kept.(string); ok {
			return decodeSANs(text)
		}
	case store.Bytes:
		var b []byte
		if b, ok = kept.([]byte); ok && b == nil {
			return []byte{}, nil // how SQLite's driver gives an empty one
		}
	case store.Text:
		_, ok = kept.(string)
	default:
		_, ok = kept.(int64)
	}
	if !ok {
		return nil, fmt.Errorf("a value of type %T", kept)
	}
	return kept, nil
}

// The tables. They do not change.
var (
	authorities  = newTableOf[store.Authority]()
	cas          = newTableOf[store.CA]()
	signoffs     = newTableOf[store.Signoff]()
	keks         = newTableOf[store.KEK]()
	crls         = newTableOf[store.CRL]()
	requests     = newTableOf[store.Request]()
	approvals    = newTableOf[store.Approval]()
	rejections   = newTableOf[store.Rejection]()
	lineages     = newTableOf[store.Lineage]()
	adoptions    = newTableOf[store.Adoption]()
	certificates = newTableOf[store.Certificate]()
	revocations  = newTableOf[store.Revocation]()
	invitations  = newTableOf[store.Invitation]()
	deliveries   = newTableOf[store.Delivery]()
	auditLog     = newTableOf[store.AuditEntry]()
	logs         = newTableOf[store.Log]()
	tiles        = newTableOf[store.LogTile]()
	checkpoints  = newTableOf[store.Checkpoint]()
)

// The statements that are made of them.
var (
	insertCA          = cas.without("id") + " RETURNING id"
	insertRequest     = requests.insert + " ON CONFLICT DO NOTHING"
	insertRejection   = rejections.insert + " ON CONFLICT DO NOTHING"
	insertCertificate = certificates.insert + " ON CONFLICT DO NOTHING"
	renewalByCSR      = certificates.query + `WHERE authority = ? AND lineage = (SELECT lineage FROM certificate WHERE authority = ? AND serial = ?)
		AND csr_digest = ? AND renews = ? ORDER BY issued_at DESC, seq DESC LIMIT 1`
	updateSignoff      = signoffs.update("authority", "id")
	insertLineage      = lineages.insert + " ON CONFLICT DO NOTHING" // whose names are not known
	insertNamed        = insertInto(lineages.kind.Table, append(columnNames(lineages.kind), "named")) + " ON CONFLICT DO NOTHING"
	updateLineage      = lineages.update("authority", "id")
	lineageByID        = lineages.query + "WHERE authority = ? AND id = ?"
	lineageBySerial    = lineages.query + "WHERE authority = ? AND id = (SELECT lineage FROM certificate WHERE authority = ? AND serial = ?)"
	insertRevocation   = revocations.insert + " ON CONFLICT DO NOTHING"
	replaceAuthority   = authorities.insert + " ON CONFLICT (name) DO UPDATE SET " + overwrite(authorities.kind, "name")
	replaceCRL         = crls.insert + " ON CONFLICT (authority, ca_id) DO UPDATE SET " + overwrite(crls.kind, "authority", "ca_id")
	replaceKEK         = keks.insert + " ON CONFLICT (authority) DO UPDATE SET " + overwrite(keks.kind, "authority")
	replaceApproval    = approvals.insert + " ON CONFLICT (authority, request, lineage) DO UPDATE SET " + overwrite(approvals.kind, "authority", "request", "lineage")
	replaceAdoption    = adoptions.insert + " ON CONFLICT (authority, lineage) DO UPDATE SET " + overwrite(adoptions.kind, "authority", "lineage")
	insertDelivery     = deliveries.without("id")
	updateDelivery     = deliveries.update("id")
	replaceLog         = logs.insert + " ON CONFLICT (id) DO UPDATE SET " + overwrite(logs.kind, "id")
	replaceCheckpoint  = checkpoints.insert + " ON CONFLICT (time) DO UPDATE SET " + overwrite(checkpoints.kind, "time")
	replaceInvitation  = invitations.insert + " ON CONFLICT (authority, id) DO UPDATE SET " + overwrite(invitations.kind, "authority", "id")
	selectEntry        = auditLog.query
	certificatesByCSR  = certificates.query + "WHERE authority = ? AND csr_digest = ? AND renews IS NULL ORDER BY issued_at DESC, seq DESC LIMIT 1"
	certificateByID    = certificates.query + "WHERE authority = ? AND id = ?"
	certificateByBytes = certificates.query + "WHERE authority = ? AND serial = ?"
)

// overwrite sets all columns but the key to the values of an INSERT that found a row with that key.
func overwrite(kind *store.Kind, key ...string) string {
	var set []string
	for _, name := range columnNames(kind) {
		if !slices.Contains(key, name) {
			set = append(set, name+" = excluded."+name)
		}
	}
	return strings.Join(set, ", ")
}
