package sqlstore

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"

	"cauase/pkg/store"
)

// minServer is the oldest version of PostgreSQL that we are tested with.
const minServer = 15

// viewPatience is how long a View waits for a connection when all are in use.
const viewPatience = 5 * time.Second

// openPostgres connects to a database and brings its layout up to date.
func openPostgres(ctx context.Context, dsn string, opt Options) (_ *DB, err error) {
	cfg, err := parsePostgres(dsn)
	if err != nil {
		return nil, err
	}
	d := pgDialect()
	conn, err := cfg.dialer(d, target{})(ctx)
	if err != nil {
		return nil, err
	}
	info, err := inspectServer(ctx, conn)
	if err == nil && info.pooled {
		err = checkPooler(ctx, conn, cfg.dialer(d, target{}))
	}
	if err == nil {
		err = migratePostgres(ctx, d, cfg, conn, opt)
	}
	if err == nil {
		_, err = conn.Exec(ctx, `DELETE FROM commit_mark WHERE made_at < now() - interval '7 days'`) // of processes that were killed
	}
	if e := conn.Close(ctx); err == nil {
		err = e
	}
	if err != nil {
		return nil, d.wrap(err)
	}
	warnOf(ctx, cfg, info, opt)
	return newPostgresDB(d, cfg, info, opt), nil
}

func newPostgresDB(d *dialect, cfg *pgConfig, info serverInfo, opt Options) *DB {
	g := newGate(cfg.dialer(d, target{}))
	session := func(t target, start ...string) pgSession {
		return pgSession{
			dialect: d, connect: g.through(cfg.dialer(d, t)), start: start, bound: cfg.bound, reads: t.reads,
			queries: make(map[string]string),
		}
	}
	w := &pgWriter{refused: g.refused, channel: info.channel(), instance: instance()}
	w.pgSession = session(target{onNotice: func(_ *pgconn.PgConn, n *pgconn.Notice) {
		if n.SeverityUnlocalized == "WARNING" {
			w.warned.Store(true)
		}
	}}, "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE", "LOCK TABLE update_lock IN EXCLUSIVE MODE")
	db := &DB{
		dialect: d,
		log:     opt.Log,
		readers: newPool(cfg.maxReaders, viewPatience, func(context.Context) (readSession, error) {
			// It connects when it is used.
			s := session(target{reads: true}, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
			return &s, nil
		}),
		release: func() error { g.end(); return nil },
		scrub:   func(ctx context.Context) error { return scrubPostgres(ctx, d, cfg.dialer(d, target{patient: true})) },
		watcher: &watcher{connect: cfg.dialer(d, target{patient: true}), channel: info.channel()},
	}
	db.glance = func(ctx context.Context, ask func(store.Reader) error) error {
		return glanceByReader(ctx, d, db.readers, ask)
	}
	db.writer = newGroupWriter(w, d, opt.Log)
	w.drain = db.writer.drain
	return db
}

func instance() []byte {
	id := make([]byte, 16)
	_, _ = rand.Read(id) // never fails
	return id
}

// serverInfo is what a connection tells about its server.
type serverInfo struct {
	version  int // such as 150004
	encoding string
	schema   *string // nil: none of the search path is there
	oid      uint32  // of the schema
	fsync    string
	durable  string // synchronous_commit
	pooled   bool   // somebody stands between us
}

// channel is that of our notifications: others in the database may have their own CA.
func (i serverInfo) channel() string { return fmt.Sprintf("cauase_%d", i.oid) }

// inspectServer looks whether the server is one that we can use. It changes nothing.
func inspectServer(ctx context.Context, conn *pgx.Conn) (i serverInfo, err error) {
	var pid uint32
	err = conn.QueryRow(ctx, `
		SELECT current_setting('server_version_num')::int, current_setting('server_encoding'), current_schema()::text,
			coalesce((SELECT oid FROM pg_namespace WHERE nspname = current_schema()), 0),
			current_setting('fsync'), current_setting('synchronous_commit'), pg_backend_pid()`,
		pgx.QueryExecModeSimpleProtocol).
		Scan(&i.version, &i.encoding, &i.schema, &i.oid, &i.fsync, &i.durable, &pid)
	switch {
	case err != nil:
		return i, err
	case i.version < minServer*10000:
		return i, fmt.Errorf("the server is PostgreSQL %d; cauase needs version %d or later", i.version/10000, minServer)
	case i.encoding != "UTF8":
		return i, fmt.Errorf("its encoding is %s; cauase needs a database with ENCODING 'UTF8'", i.encoding)
	case i.schema == nil:
		return i, errors.New("none of the schemas in its search_path is there, or our role may not use any")
	}
	i.pooled = pid != conn.PgConn().PID()
	return i, nil
}

// errPooler is the answer to a pooler that takes the server connection away after each transaction,
// and with it everything that was set up and prepared.
var errPooler = errors.New("a connection pooler lends server connections for a transaction at a time; " +
	"cauase needs them for as long as it is connected (pgbouncer: pool_mode = session)")

// checkPooler finds out whether two connections to a pooler share one to the server, or whether
// one of ours changes servers while another one is busy.
func checkPooler(ctx context.Context, first *pgx.Conn, dial func(context.Context) (*pgx.Conn, error)) error {
	second, err := dial(ctx)
	if err != nil {
		return fmt.Errorf("a second connection through the pooler: %w", err)
	}
	defer second.Close(context.WithoutCancel(ctx))
	home, err := backend(ctx, first)
	if err != nil {
		return err
	}
	for range 5 {
		if _, err := second.Exec(ctx, "BEGIN", pgx.QueryExecModeSimpleProtocol); err != nil {
			return err
		}
		other, err1 := backend(ctx, second) // has it for itself until it ends its transaction
		again, err2 := backend(ctx, first)
		_, err3 := second.Exec(ctx, "ROLLBACK", pgx.QueryExecModeSimpleProtocol)
		if err := errors.Join(err1, err2, err3); err != nil {
			return err
		}
		if other == home || again != home {
			return errPooler
		}
	}
	return nil
}

// backend is the process that serves a connection now.
func backend(ctx context.Context, conn *pgx.Conn) (pid uint32, err error) {
	err = conn.QueryRow(ctx, "SELECT pg_backend_pid()", pgx.QueryExecModeSimpleProtocol).Scan(&pid)
	return pid, err
}

// warnOf logs what works but puts keys or acknowledged operations at risk.
func warnOf(ctx context.Context, cfg *pgConfig, info serverInfo, opt Options) {
	host := cfg.conn.Host
	ip := net.ParseIP(host)
	local := host == "localhost" || len(host) > 0 && (host[0] == '/' || host[0] == '@') || ip != nil && ip.IsLoopback()
	if !local && (cfg.conn.TLSConfig == nil || cfg.conn.TLSConfig.InsecureSkipVerify && cfg.conn.TLSConfig.VerifyPeerCertificate == nil && cfg.conn.TLSConfig.VerifyConnection == nil) {
		opt.Log.WarnContext(ctx, "private keys may travel to the database in the clear or to an impostor; sslmode=verify-full prevents that", "host", host)
	}
	if info.fsync != "on" || info.durable == "off" {
		opt.Log.WarnContext(ctx, "the database may lose what it has acknowledged when its host crashes",
			"fsync", info.fsync, "synchronous_commit", info.durable)
	}
	if info.durable == "local" {
		opt.Log.WarnContext(ctx, "a failover may lose what the database has acknowledged: its address asks not to wait for standbys",
			"synchronous_commit", info.durable)
	}
}

// migratePostgres brings the layout up to date. A layout that is needs no privilege to be changed.
func migratePostgres(ctx context.Context, d *dialect, cfg *pgConfig, conn *pgx.Conn, opt Options) error {
	current, err := pgVersion(ctx, conn)
	if err != nil {
		return err
	}
	const known = layoutNow
	switch {
	case current > known:
		return newerSchema(current, known)
	case current == known:
		return nil
	case opt.AsIs && current > 0:
		return olderSchema(current, known)
	}
	may := false
	err = conn.QueryRow(ctx, `SELECT has_schema_privilege(current_schema(), 'CREATE')`, pgx.QueryExecModeSimpleProtocol).Scan(&may)
	if err == nil && may {
		db := stdlib.OpenDB(*cfg.config(target{patient: true}))
		err = d.wrap(upgrade(ctx, d, db, opt.Log))
		if e := db.Close(); err == nil {
			err = e
		}
	}
	var refusal *pgconn.PgError
	if errors.As(err, &refusal) && refusal.Code == "42501" || err == nil && !may {
		return &ownerNeeded{current, known}
	}
	return err
}

// ownerNeeded is the answer to a role that may use the layout, when that is not up to date.
type ownerNeeded struct{ current, known int64 }

func (e *ownerNeeded) Error() string {
	return fmt.Sprintf("its layout is %d, this version needs %d, and our role may not change it; its owner can: cauased manage migrate", e.current, e.known)
}

// Unwrap says that it can be repaired.
func (e *ownerNeeded) Unwrap() error { return store.ErrUnavailable }

// pgVersion is the version of the layout in our schema, 0 when there is none.
func pgVersion(ctx context.Context, conn *pgx.Conn) (version int64, err error) {
	var table *string
	err = conn.QueryRow(ctx, `SELECT to_regclass(quote_ident(current_schema()) || '.goose_db_version')::text`,
		pgx.QueryExecModeSimpleProtocol).Scan(&table)
	if err != nil || table == nil {
		return 0, err
	}
	err = conn.QueryRow(ctx, `SELECT coalesce(max(version_id), 0) FROM `+*table+` WHERE is_applied`,
		pgx.QueryExecModeSimpleProtocol).Scan(&version)
	return version, err
}
