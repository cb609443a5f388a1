package sqlstore

import (
	"errors"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/pressly/goose/v3"

	"cauase/pkg/store"
)

func pgDialect() *dialect {
	return &dialect{
		name:     "postgres",
		goose:    goose.DialectPostgres,
		strict:   true,
		classify: classifyPostgres,
		loaded:   []string{advance("ca_certificate", "id"), advance("signoff", "id"), advance("request", "seq"), advance("certificate", "seq"), advance("delivery", "id"), advance("audit_log", "seq")},
		growTile: tiles.insert + " ON CONFLICT (level, number) DO UPDATE SET hashes = log_tile.hashes || excluded.hashes",
		// Daemons of before have a sequence number their entries, which must not fall behind. To move it on is all that is needed of its privileges.
		moveHead: `UPDATE log SET size = ?, seq = ?, edge = ? WHERE id = 1 AND (SELECT count(nextval(pg_get_serial_sequence('audit_log', 'seq'))) FROM
			generate_series(coalesce(pg_sequence_last_value(pg_get_serial_sequence('audit_log', 'seq')), 0) + 1, (SELECT max(seq) FROM audit_log))) >= 0`,
	}
}

// advance makes a table's next number larger than those it holds. A role that may only use a
// sequence has to draw one number after the other.
func advance(table, column string) string {
	return strings.NewReplacer("TABLE", table, "COLUMN", column).Replace(`
		WITH held AS (
			SELECT max(COLUMN) AS top, pg_get_serial_sequence(quote_ident(current_schema()) || '.TABLE', 'COLUMN')::regclass AS seq FROM TABLE)
		SELECT CASE
			WHEN top IS NULL THEN 0
			WHEN has_sequence_privilege(seq, 'UPDATE') THEN setval(seq, greatest(top, nextval(seq)))
			ELSE (SELECT max(n) FROM (SELECT nextval(seq) AS n FROM generate_series(1, top - coalesce(pg_sequence_last_value(seq), 0))) AS drawn)
		END FROM held`)
}

// classifyPostgres goes by the SQLSTATE, see PostgreSQL's appendix A.
func classifyPostgres(err error) condition {
	var e *pgconn.PgError
	if !errors.As(err, &e) {
		var connect *pgconn.ConnectError
		if errors.As(err, &connect) || errors.Is(err, errStandby) || errors.Is(err, pgconn.ErrConnClosed) {
			return condition{store.ErrUnavailable, ""}
		}
		return condition{}
	}
	if e.Code == "23505" {
		return condition{store.ErrExists, ""}
	}
	for _, c := range []struct{ prefix, text string }{
		{"08", "the connection was lost"},
		{"0A000", "its layout has changed"}, // of a statement that is prepared already
		{"25006", "it is read-only, as a standby is"},
		{"25P03", "a transaction did nothing for too long"},
		{"26000", "the connection is shared with others"}, // as by a pooler
		{"28", "it refuses our user or password"},
		{"3D000", "there is no such database"},
		{"3F000", "there is no such schema"},
		{"40", "another transaction was in the way"},
		{"42501", "our role lacks a privilege"},
		{"42P01", "its layout is gone"},
		{"53100", "no space is left for it"},
		{"53200", "the server is out of memory"},
		{"53300", "the server has too many connections"},
		{"53", "the server is short of something"},
		{"55P03", "somebody else keeps it locked"},
		{"57014", "it took too long"},
		{"57P03", "the server is starting or stopping"},
		{"57", "the server has ended the connection"},
		{"58", "the server's disk reports an error"},
		{"XX", "the server reports damage"},
	} {
		if strings.HasPrefix(e.Code, c.prefix) {
			return condition{store.ErrUnavailable, c.text}
		}
	}
	return condition{}
}

// outdated reports whether what is prepared on a connection is of no use any more, as when another
// version of cauase has changed the layout.
func outdated(err error) bool {
	var e *pgconn.PgError
	return errors.As(err, &e) && (e.Code == "0A000" || e.Code == "26000")
}

// passing reports whether what failed with err may well succeed when it is tried again at once.
func passing(err error) bool {
	var e *pgconn.PgError
	if errors.As(err, &e) {
		return strings.HasPrefix(e.Code, "08") || slices.Contains([]string{
			"0A000", "25P03", "26000", "40001", "40P01", "57P01", "57P02", "57P05",
		}, e.Code)
	}
	return errors.Is(err, errLost)
}
