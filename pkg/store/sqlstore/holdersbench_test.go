package sqlstore_test

import (
	"database/sql"
	"os"
	"strconv"
	"testing"

	"cauase/pkg/store"
)

// How long it takes to count holders, and to list those that are behind, in a database with as many lineages as CAUASE_BENCH_LINEAGES says: most
// of them have confirmed something, and few not what is sought.
func BenchmarkHolders(b *testing.B)         { holders(b, "sqlite", benchFile(b)) }
func BenchmarkHoldersPostgres(b *testing.B) { holders(b, "pgx", benchPostgres(b)) }

const holderColumns = `(authority, id, created_at, subject, role, profile, state, ended_at, reason, newest, not_after, renewals, renewed_at, address, forks, forked_at, fork_address, forked_from, day, day_renewals, day_revocations, day_bytes)`

// fillHolders writes ? lineages with ids in random order, all but each 100th of which have confirmed one of two CAs.
var fillHolders = map[string][]string{
	"sqlite": {`INSERT INTO lineage ` + holderColumns + `
		WITH RECURSIVE n(n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM n WHERE n < ?)
		SELECT 'cas', abs(random()), n, 'CN=host-' || n || '.example', '', 'server', 'active', NULL, 0, randomblob(19), 9000000000000000, 3, n, '192.0.2.1', 0, NULL, '', '', n, 1, 0, 1500 FROM n`,
		`INSERT INTO adoption SELECT authority, id, CASE WHEN created_at % 500 = 0 THEN x'01' ELSE x'02' END, created_at, '192.0.2.1' FROM lineage WHERE created_at % 100 <> 1`,
		`PRAGMA wal_checkpoint(TRUNCATE)`},
	"pgx": {`INSERT INTO lineage ` + holderColumns + `
		SELECT 'cas', hashint8extended(n, 0) & 9223372036854775807, n, 'CN=host-' || n || '.example', '', 'server', 'active', NULL, 0,
		decode(md5(n::text), 'hex'), 9000000000000000, 3, n, '192.0.2.1', 0, NULL, '', '', n, 1, 0, 1500 FROM generate_series(1, $1::bigint) n`,
		`INSERT INTO adoption SELECT authority, id, CASE WHEN created_at % 500 = 0 THEN '\x01'::bytea ELSE '\x02'::bytea END, created_at, '192.0.2.1' FROM lineage WHERE created_at % 100 <> 1`,
		`VACUUM ANALYZE`},
}

func holders(b *testing.B, driver, dsn string) {
	n, _ := strconv.Atoi(os.Getenv("CAUASE_BENCH_LINEAGES"))
	n = max(n, 10_000)
	st := open(b, dsn)
	raw, err := sql.Open(driver, dsn)
	if err != nil {
		b.Fatal(err)
	}
	for i, statement := range fillHolders[driver] {
		var args []any
		if i == 0 {
			args = []any{n}
		}
		if _, err := raw.Exec(statement, args...); err != nil {
			b.Fatal(err)
		}
	}
	if err := raw.Close(); err != nil {
		b.Fatal(err)
	}
	of := store.Sought{KeyIDs: [][]byte{{2}}, Since: benchStart()}
	b.Run("count", func(b *testing.B) {
		for b.Loop() {
			h, err := store.CountAllHolders(b.Context(), store.Views(b.Context(), st), store.Services, benchStart(), of)
			if err != nil || h.Seen != n || h.Missing() != n/500+n/100 {
				b.Fatalf("%+v, %v", h, err)
			}
		}
	})
	b.Run("stragglers", func(b *testing.B) {
		for b.Loop() {
			all, err := store.FindStragglers(b.Context(), store.Views(b.Context(), st), store.Services, benchStart(), of, store.LineagePage{}, 0)
			if err != nil || len(all) != n/500+n/100 {
				b.Fatalf("%d, %v", len(all), err)
			}
		}
	})
	b.Run("some", func(b *testing.B) {
		for b.Loop() {
			some, err := store.FindStragglers(b.Context(), store.Views(b.Context(), st), store.Services, benchStart(), of, store.LineagePage{}, 20)
			if err != nil || len(some) != 20 {
				b.Fatalf("%d, %v", len(some), err)
			}
		}
	})
}
