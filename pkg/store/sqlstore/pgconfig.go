package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgconn/ctxwatch"

	"cauase/pkg/store"
)

// How long things may take when the URL does not say otherwise. The server's bounds are shorter
// than ours, so that it is the one that ends what takes too long. An idle transaction holds the
// lock that everybody waits for: it ends before they give up.
const (
	connectTimeout   = 3 * time.Second
	statementTimeout = 5 * time.Second
	answerMargin     = time.Second // by which we wait longer for an answer
	cancelDelay      = 50 * time.Millisecond
)

// pgSettings are made on every connection, after it is established: a pooler refuses some of them
// before. What the URL sets comes last.
func pgSettings(reads bool) [][2]string {
	idle := "3s"
	if reads {
		// Somebody may read page after page what a View shows.
		idle = "1h"
	}
	return [][2]string{
		{"client_encoding", "UTF8"},
		{"statement_timeout", "5s"},
		{"lock_timeout", "4s"},
		{"idle_in_transaction_session_timeout", idle},
		// Our queries are made for their indices. Whatever statistics say of a table that is new or
		// has just been filled, there is no better way.
		{"enable_seqscan", "off"},
		{"plan_cache_mode", "force_generic_plan"},
		{"jit", "off"},
		// A daemon whose host is gone gives back what it holds.
		{"tcp_keepalives_idle", "5"},
		{"tcp_keepalives_interval", "2"},
		{"tcp_keepalives_count", "3"},
	}
}

// A pgConfig is a URL that was understood.
type pgConfig struct {
	dsn        string
	conn       *pgx.ConnConfig
	settings   [][2]string // that the URL asks for
	maxReaders int
	bound      time.Duration // of the wait for an answer
}

// parsePostgres reads a URL, and the environment variables and files that libpq knows. Its errors
// do not show passwords.
func parsePostgres(dsn string) (*pgConfig, error) {
	conn, err := pgx.ParseConfig(dsn)
	if err != nil {
		return nil, parseError(dsn, err)
	}
	for _, host := range hosts(conn) {
		if strings.Contains(host, "@") && host[0] != '@' && host[0] != '/' { // an abstract socket, or one in a folder
			return nil, errGarbled // the end of a password, which messages would show
		}
	}
	c := &pgConfig{dsn: dsn, conn: conn, maxReaders: maxReaders, bound: statementTimeout + answerMargin}
	if conn.ConnectTimeout == 0 {
		conn.ConnectTimeout = connectTimeout
	}
	conn.DialFunc = (&net.Dialer{KeepAliveConfig: net.KeepAliveConfig{
		Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3,
	}}).DialContext
	conn.DefaultQueryExecMode, conn.StatementCacheCapacity = pgx.QueryExecModeCacheStatement, 512
	for name, value := range conn.RuntimeParams {
		switch name {
		case "application_name", "options":
			continue
		case "pool_max_conns":
			if c.maxReaders, err = strconv.Atoi(value); err != nil || c.maxReaders < 1 || c.maxReaders > 1000 {
				return nil, fmt.Errorf("pool_max_conns is not a number from 1 to 1000")
			}
		case "statement_timeout":
			c.bound, err = pgDuration(value)
			if err != nil {
				return nil, fmt.Errorf("statement_timeout: %w", err)
			}
			c.settings = append(c.settings, [2]string{name, value})
		default:
			c.settings = append(c.settings, [2]string{name, value})
		}
		delete(conn.RuntimeParams, name)
	}
	if conn.RuntimeParams["application_name"] == "" {
		conn.RuntimeParams["application_name"] = "cauased"
	}
	return c, nil
}

// parseError says what is wrong with a URL, unless that may be a part of a password.
func parseError(dsn string, err error) error {
	var e *pgconn.ParseConfigError
	if errors.As(err, &e) && !strings.HasSuffix(Redact(dsn), "…") {
		text := e.Error()
		if i := strings.LastIndex(text, "`: "); i >= 0 {
			text = text[i+3:]
		}
		if !strings.Contains(text, "://") {
			return errors.New(text)
		}
	}
	return errGarbled
}

var errGarbled = errors.New("its URL cannot be understood; special characters in a password have to be escaped, such as %40 for @")

// hosts lists where a configuration may connect to.
func hosts(conn *pgx.ConnConfig) []string {
	all := []string{conn.Host}
	for _, f := range conn.Fallbacks {
		all = append(all, f.Host)
	}
	return all
}

// pgDuration reads a time as PostgreSQL writes it, such as 10s, 1min or 500 for milliseconds, and
// returns how long to wait for an answer then. 0 means always.
func pgDuration(s string) (time.Duration, error) {
	digits := strings.TrimRight(s, "abcdefghijklmnopqrstuvwxyz ")
	unit, known := map[string]time.Duration{
		"": time.Millisecond, "ms": time.Millisecond, "s": time.Second, "min": time.Minute, "h": time.Hour,
	}[strings.TrimSpace(s[len(digits):])]
	n, err := strconv.ParseInt(digits, 10, 32)
	switch {
	case err != nil || n < 0 || !known:
		return 0, fmt.Errorf("%q is not a time such as 500ms, 10s or 1min", s)
	case n == 0:
		return 24 * time.Hour, nil
	}
	return time.Duration(n)*unit + answerMargin, nil
}

// target is what the settings of a connection are for.
type target struct {
	reads    bool // a caller's context interrupts what it waits for
	patient  bool // it may take its time, though not that of others
	onNotice pgconn.NoticeHandler
}

// dialer returns a function that connects to the first host that can write.
func (c *pgConfig) dialer(d *dialect, t target) func(context.Context) (*pgx.Conn, error) {
	return func(ctx context.Context) (*pgx.Conn, error) {
		cfg := c.anew().config(t)
		hosts := time.Duration(1 + len(cfg.Fallbacks))
		ctx, cancel := context.WithTimeout(ctx, hosts*cfg.ConnectTimeout+answerMargin)
		defer cancel()
		conn, err := pgx.ConnectConfig(ctx, cfg)
		if err != nil {
			return nil, connectError(d, err)
		}
		return conn, nil
	}
}

// anew reads the files again that the URL and the environment name: passwords change, and certificates
// are renewed while a daemon runs. If that fails, as when one is just being replaced, c has to do.
func (c *pgConfig) anew() *pgConfig {
	if fresh, err := parsePostgres(c.dsn); err == nil {
		return fresh
	}
	return c
}

func (c *pgConfig) config(t target) *pgx.ConnConfig {
	cfg := c.conn.Copy()
	cfg.OnNotice = t.onNotice
	setup := c.setup(t)
	cfg.ValidateConnect = func(ctx context.Context, conn *pgconn.PgConn) error { return prepareServer(ctx, conn, setup) }
	if t.reads {
		cfg.BuildContextWatcherHandler = func(conn *pgconn.PgConn) ctxwatch.Handler {
			return &pgconn.CancelRequestContextWatcherHandler{Conn: conn, CancelRequestDelay: cancelDelay, DeadlineDelay: time.Second}
		}
	}
	return cfg
}

// setup is everything that a new connection needs, in one message. A commit that is not durable is
// none, nor one that waits for no standby where there is one to wait for: only who says so in the URL
// gets synchronous_commit=off or local.
func (c *pgConfig) setup(t target) string {
	settings := append(pgSettings(t.reads), c.settings...)
	if t.patient {
		settings = append(settings, [][2]string{
			// A change to the layout that waits for a table holds up everybody who comes after it.
			{"statement_timeout", "0"}, {"lock_timeout", "10s"}, {"idle_in_transaction_session_timeout", "0"},
		}...)
	}
	var b strings.Builder
	b.WriteString(`SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') IN ('off', 'local');`)
	for _, s := range settings {
		fmt.Fprintf(&b, "SELECT set_config(%s, %s, false);", literal(s[0]), literal(s[1]))
	}
	// Only a warning says that a commit is on no standby.
	b.WriteString(`SELECT set_config('client_min_messages', 'warning', false);`)
	b.WriteString("SELECT pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean")
	return b.String()
}

// literal quotes a text for SQL, whatever standard_conforming_strings may be.
func literal(s string) string {
	s = strings.ReplaceAll(strings.ReplaceAll(s, `\`, `\\`), `'`, `''`)
	return " E'" + s + "'"
}

// errStandby is the answer of a server that only reads: what it shows may be old.
var errStandby = errors.New("the server is read-only, as a standby is")

func prepareServer(ctx context.Context, conn *pgconn.PgConn, setup string) error {
	results, err := conn.Exec(ctx, setup).ReadAll()
	if err != nil {
		return err
	}
	last := results[len(results)-1]
	if len(last.Rows) != 1 || string(last.Rows[0][0]) != "f" {
		return errStandby
	}
	return nil
}

// connectError puts on one line why no connection could be made, to each of the hosts.
func connectError(d *dialect, err error) error {
	text := err.Error()
	var e *pgconn.ConnectError
	if errors.As(err, &e) {
		text = e.Unwrap().Error()
	}
	var reasons []string
	seen := map[string]bool{}
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" && !seen[line] {
			seen[line] = true
			reasons = append(reasons, line)
		}
	}
	c := d.classify(err)
	reason := strings.Join(reasons, "; ")
	if c.text != "" {
		reason = c.text + ": " + reason
	}
	return &unreachable{reason, err}
}

// unreachable is why there is no connection.
type unreachable struct {
	text  string
	cause error
}

func (e *unreachable) Error() string   { return store.ErrUnavailable.Error() + ": " + e.text }
func (e *unreachable) Unwrap() []error { return []error{store.ErrUnavailable, e.cause} }
