package manage

import (
	"context"
	"crypto/ed25519"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"

	"cauase/pkg/audit"
	"cauase/pkg/keys"
	"cauase/pkg/logkey"
	"cauase/pkg/merkle"
	"cauase/pkg/store"
	"cauase/pkg/store/sqlstore"
	"cauase/pkg/store/sqlstore/sqltest"
)

// A log that somebody attacks who can write to the database.
type attackedLog struct {
	t      *testing.T
	db     *sqlstore.DB
	raw    *sql.DB
	log    store.Log
	signed []byte // checkpoint of all of it
}

const logSize = 700

// attackable fills a log, a few entries a second, and signs it.
func attackable(t *testing.T, engine string) *attackedLog {
	t.Helper()
	dsn, driver := "", "sqlite"
	if engine == "PostgreSQL" {
		dsn, driver = laidOut(t), "pgx"
	} else {
		dsn = sqltest.New(t)
	}
	l := &attackedLog{t: t, db: openStore(t, dsn)}
	if engine != "PostgreSQL" {
		dsn = "file:" + dsn + "?_pragma=busy_timeout(5000)"
	}
	raw, err := sql.Open(driver, dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = raw.Close() })
	l.raw = raw
	ctx := t.Context()
	key, err := logkey.Open(ctx, l.db, keys.Row{}, day0)
	if err != nil {
		t.Fatal(err)
	}
	l.db.SignCheckpoints(func(c merkle.Checkpoint) ([]byte, error) { return merkle.SignCheckpoint(c, key) })
	for from := 0; from < logSize; from += 10 {
		l.append(from, 10)
	}
	err = l.db.View(ctx, func(r store.Reader) (err error) {
		if l.log, err = r.Log(ctx); err != nil {
			return err
		}
		c, err := r.LatestCheckpoint(ctx)
		l.signed = c.Signed
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

var day0 = time.Date(2026, 5, 1, 10, 0, 0, 0, time.UTC)

func (l *attackedLog) append(from, n int) {
	l.t.Helper()
	ctx := l.t.Context()
	err := l.db.Update(ctx, func(tx store.Tx) error {
		for i := range n {
			e := audit.NewEntry(day0.Add(time.Duration(from/10)*time.Second), "cas", audit.Actor{Kind: audit.Operator}, audit.Submit, audit.RequestObject(int64(from+i)))
			if err := tx.AppendAudit(ctx, e); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		l.t.Fatal(err)
	}
}

func (l *attackedLog) exec(format string, args ...any) {
	l.t.Helper()
	if _, err := l.raw.ExecContext(l.t.Context(), fmt.Sprintf(format, args...)); err != nil {
		l.t.Fatal(err)
	}
}

func (l *attackedLog) verify(opt LogOptions) (VerifiedLog, []LogFault) {
	l.t.Helper()
	var faults []LogFault
	var log VerifiedLog
	err := l.db.View(l.t.Context(), func(r store.Reader) (err error) {
		log, err = VerifyLog(l.t.Context(), r, opt, func(f LogFault) { faults = append(faults, f) }, nil)
		return err
	})
	if err != nil {
		l.t.Fatal(err)
	}
	return log, faults
}

// octets is a literal of a blob.
func (l *attackedLog) octets(engine string, b []byte) string {
	if engine == "PostgreSQL" {
		return fmt.Sprintf(`'\x%x'::bytea`, b)
	}
	return fmt.Sprintf("x'%x'", b)
}

// rehash makes hashes, tiles and head anew from the entries as they are now, as somebody does who knows how. Of what is below a level tiles are
// as they were; 9 is all of them with the head.
func (l *attackedLog) rehash(engine string, level int) {
	l.t.Helper()
	ctx := l.t.Context()
	var entries []audit.Entry
	err := l.db.View(ctx, func(r store.Reader) error {
		return r.Audit(ctx, audit.Filter{}, func(e audit.Entry) error { entries = append(entries, e); return nil })
	})
	if err != nil {
		l.t.Fatal(err)
	}
	var f merkle.Frontier
	tiles := map[merkle.Tile][]merkle.Hash{}
	for _, e := range entries {
		h := e.LeafHash(l.log.Secret)
		if string(h[:]) != string(e.Hash) {
			l.exec("UPDATE audit_log SET hash = %s WHERE seq = %d", l.octets(engine, h[:]), e.Seq)
		}
		tiles[merkle.Tile{Number: e.Leaf / merkle.TileWidth}] = append(tiles[merkle.Tile{Number: e.Leaf / merkle.TileWidth}], h)
		f.Append(h, func(level int, n int64, h merkle.Hash) {
			tiles[merkle.Tile{Level: level, Number: n / merkle.TileWidth}] = append(tiles[merkle.Tile{Level: level, Number: n / merkle.TileWidth}], h)
		})
	}
	for at, hashes := range tiles {
		if at.Level < level {
			l.exec("UPDATE log_tile SET hashes = %s WHERE level = %d AND number = %d", l.octets(engine, merkle.JoinTile(hashes)), at.Level, at.Number)
		}
	}
	if level == 9 {
		l.exec("UPDATE log SET edge = %s", l.octets(engine, f.Edge()))
	}
}

// Whatever somebody does to the log who can write to the database, verification names it.
func TestLogAttacks(t *testing.T) {
	type names func(LogFault) bool
	leaf := func(kind LogFaultKind, n int64) names {
		return func(f LogFault) bool { return f.Kind == kind && f.Leaf == n && f.To == n }
	}
	within := func(kind LogFaultKind, n, width int64) names {
		return func(f LogFault) bool { return f.Kind == kind && f.Leaf <= n && f.To >= n && f.To-f.Leaf < width }
	}
	for _, test := range []struct {
		name   string
		attack func(l *attackedLog, engine string)
		want   []names
		opt    func(l *attackedLog) LogOptions
	}{
		{"an entry", func(l *attackedLog, _ string) { l.exec("UPDATE audit_log SET detail = 'x' WHERE leaf = 100") }, []names{leaf(LogChanged, 100)}, nil},
		{"an entry of the last tile", func(l *attackedLog, _ string) { l.exec("UPDATE audit_log SET address = 'x' WHERE leaf = 690") }, []names{leaf(LogChanged, 690)}, nil},
		{"its time", func(l *attackedLog, _ string) { l.exec("UPDATE audit_log SET time = time + 1 WHERE leaf = 3") }, []names{leaf(LogChanged, 3)}, nil},
		{"its number", func(l *attackedLog, _ string) { l.exec("UPDATE audit_log SET seq = seq + 1000 WHERE leaf = 699") }, []names{leaf(LogChanged, 699)}, nil},
		{"odd texts", func(l *attackedLog, engine string) {
			if engine == "PostgreSQL" {
				l.exec("UPDATE audit_log SET detail = E'\\u202e\\x01' WHERE leaf = 5")
			} else {
				l.exec("UPDATE audit_log SET detail = CAST(x'ff00fe' AS TEXT) WHERE leaf = 5")
			}
		}, []names{leaf(LogChanged, 5)}, nil},
		{"its hash", func(l *attackedLog, engine string) {
			l.exec("UPDATE audit_log SET hash = %s WHERE leaf = 100", l.octets(engine, make([]byte, 32)))
		}, []names{leaf(LogRehashed, 100)}, nil},
		{"an entry and its hash", func(l *attackedLog, engine string) {
			l.exec("UPDATE audit_log SET detail = 'x' WHERE leaf = 100")
			l.rehash(engine, 0)
		}, []names{leaf(LogRehashed, 100)}, nil},
		{"an entry of the last tile and its hash", func(l *attackedLog, engine string) {
			l.exec("UPDATE audit_log SET detail = 'x' WHERE leaf = 650")
			l.rehash(engine, 0)
		}, []names{within(LogCheckpoint, 650, 10), within(LogHead, 650, 128)}, nil},
		{"an entry, its hash and its tile", func(l *attackedLog, engine string) {
			l.exec("UPDATE audit_log SET detail = 'x' WHERE leaf = 100")
			l.rehash(engine, 1)
		}, []names{within(LogTile, 100, 256), within(LogCheckpoint, 100, 10)}, nil},
		{"an entry and everything after it", func(l *attackedLog, engine string) {
			l.exec("UPDATE audit_log SET detail = 'x' WHERE leaf = 100")
			l.rehash(engine, 9)
		}, []names{within(LogCheckpoint, 100, 10)}, nil},
		{"everything, and no checkpoint is left", func(l *attackedLog, engine string) {
			l.exec("UPDATE audit_log SET detail = 'x' WHERE leaf = 100")
			l.rehash(engine, 9)
			l.exec("DELETE FROM log_checkpoint")
		}, []names{within(LogCheckpoint, 100, logSize)}, func(l *attackedLog) LogOptions { return LogOptions{Against: l.signed} }},
		{"two are exchanged", func(l *attackedLog, _ string) {
			l.exec("UPDATE audit_log SET seq = 100000 WHERE leaf = 20")
			l.exec("UPDATE audit_log SET seq = 21 WHERE leaf = 30")
			l.exec("UPDATE audit_log SET seq = 31 WHERE leaf = 20")
		}, []names{leaf(LogMoved, 20)}, nil},
		{"the last is deleted", func(l *attackedLog, _ string) { l.exec("DELETE FROM audit_log WHERE leaf = 699") }, []names{leaf(LogDeleted, 699)}, nil},
		{"one in the middle is deleted", func(l *attackedLog, _ string) { l.exec("DELETE FROM audit_log WHERE leaf = 300") }, []names{leaf(LogDeleted, 300)}, nil},
		{"the first are deleted", func(l *attackedLog, _ string) { l.exec("DELETE FROM audit_log WHERE leaf < 256") }, []names{within(LogDeleted, 0, 256)}, nil},
		{"it is cut off and goes on", func(l *attackedLog, _ string) {
			l.exec("DELETE FROM audit_log WHERE leaf >= 690")
			l.append(logSize, 10)
		}, []names{within(LogDeleted, 695, 10)}, nil},
		{"it is cut off with its head", func(l *attackedLog, engine string) {
			l.exec("DELETE FROM audit_log WHERE leaf >= 512")
			l.exec("UPDATE log SET size = 512, seq = (SELECT max(seq) FROM audit_log), edge = %s", l.octets(engine, l.log.Edge[:32]))
		}, []names{func(f LogFault) bool {
			return f.Kind == LogCheckpoint && f.Leaf == 512 && strings.Contains(f.Problem, "cut off")
		}}, nil},
		{"the head is set back", func(l *attackedLog, engine string) {
			l.exec("UPDATE log SET size = 512, seq = 512, edge = %s", l.octets(engine, l.log.Edge[:32]))
		}, []names{leaf(LogHead, 600)}, nil},
		{"two checkpoints of one size", func(l *attackedLog, _ string) {
			l.exec("INSERT INTO log_checkpoint (size, time, root, epoch, signed) SELECT c.size, c.time + 1000000 * 1000, a.hash, c.epoch, c.signed FROM log_checkpoint c, audit_log a WHERE c.size = 100 AND a.leaf = 1")
		}, []names{func(f LogFault) bool { return f.Kind == LogCheckpoint && f.Leaf == 100 }}, nil},
		{"an entry without a hash", func(l *attackedLog, _ string) { l.exec("UPDATE audit_log SET hash = NULL WHERE leaf = 7") },
			[]names{func(f LogFault) bool { return f.Kind == LogInserted }, leaf(LogDeleted, 7)}, nil},
		{"the key is another one", func(l *attackedLog, _ string) {}, []names{func(f LogFault) bool { return f.Kind == LogCheckpoint }}, func(l *attackedLog) LogOptions {
			other := ed25519.NewKeyFromSeed(make([]byte, 32)).Public().(ed25519.PublicKey)
			return LogOptions{Key: &merkle.Key{Origin: l.log.Origin, Public: other}}
		}},
	} {
		for _, engine := range engines {
			t.Run(test.name+"/"+engine.name, func(t *testing.T) {
				l := attackable(t, engine.name)
				if log, faults := l.verify(LogOptions{Against: l.signed}); len(faults) > 0 || log.Size != logSize || log.Signed != logSize || log.Checkpoints != logSize/10 {
					t.Fatalf("before: %+v, %+v", log, faults)
				}
				test.attack(l, engine.name)
				opt := LogOptions{}
				if test.opt != nil {
					opt = test.opt(l)
				}
				_, faults := l.verify(opt)
				for i, want := range test.want {
					if !slices.ContainsFunc(faults, want) {
						t.Errorf("fault %d is not named in %+v", i, faults)
					}
				}
				if len(faults) > 250 {
					t.Errorf("%d faults", len(faults))
				}
			})
		}
	}
}

// Verification from a size on takes what was before for granted, and a pruned log is one in order.
func TestLogPruned(t *testing.T) {
	l := attackable(t, "SQLite")
	ctx := context.WithoutCancel(t.Context())
	err := l.db.Update(ctx, func(tx store.Tx) error {
		n, first, err := tx.PruneAudit(ctx, day0.Add(time.Hour), 1000)
		if err != nil || n != 512 || first != 512 {
			t.Errorf("%d pruned, %d, %v", n, first, err)
		}
		return tx.AppendAudit(ctx, audit.NewEntry(day0.Add(time.Hour), "", audit.Actor{Kind: audit.Daemon}, audit.PruneLog, audit.LogObject(first)))
	})
	if err != nil {
		t.Fatal(err)
	}
	log, faults := l.verify(LogOptions{Against: l.signed})
	if len(faults) > 0 || log.Pruned != 512 || log.Entries != logSize-512+1 {
		t.Errorf("%+v, %+v", log, faults)
	}
	log, faults = l.verify(LogOptions{From: 600})
	if len(faults) > 0 || log.Entries != logSize-600+1 || log.From != 600 {
		t.Errorf("%+v, %+v", log, faults)
	}
	l.exec("DELETE FROM audit_log WHERE leaf BETWEEN 512 AND 520")
	if _, faults = l.verify(LogOptions{}); len(faults) != 1 || faults[0].Kind != LogDeleted || faults[0].Leaf != 512 || faults[0].To != 520 {
		t.Errorf("%+v", faults)
	}
}
