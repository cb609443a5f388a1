package sqlstore_test

import (
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/ca"
	"cauase/pkg/ca/catest"
	"cauase/pkg/clock"
	"cauase/pkg/pgtest"
	"cauase/pkg/pki"
	"cauase/pkg/rollover"
	"cauase/pkg/store"
	"cauase/pkg/store/sqlstore"
	"cauase/pkg/testkit/envelopetest"
	"cauase/pkg/testkit/pkitest"
)

// A cost is what an operation asks of a database.
type cost struct {
	Transactions int // begun
	Reads        int // statements that read, or ask whether there is something
	Writes       int // statements that write
	Others       int // that begin and end transactions and savepoints, or mark commits
	Trips        int // to the server
}

// A counter counts what operations cost.
type counter struct {
	mu  sync.Mutex
	all []string
	sum cost
}

func count(db *sqlstore.DB) *counter {
	c := &counter{}
	db.Trace(func(statements ...string) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.sum.Trips++
		for _, s := range statements {
			s = strings.Join(strings.Fields(s), " ")
			c.all = append(c.all, s)
			verb, _, _ := strings.Cut(s, " ")
			switch {
			case verb == "BEGIN":
				c.sum.Transactions++
				c.sum.Others++
			case slices.Contains([]string{"COMMIT", "ROLLBACK", "SAVEPOINT", "RELEASE", "LOCK", "SET"}, verb), strings.Contains(s, "commit_mark"), strings.Contains(s, "pg_notify"):
				c.sum.Others++
			case verb == "SELECT":
				c.sum.Reads++
			default:
				c.sum.Writes++
			}
		}
	})
	return c
}

// take returns what operations have cost since the last time, and the statements.
func (c *counter) take() (sum cost, all []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	sum, all = c.sum, c.all
	c.sum, c.all = cost{}, nil
	return sum, all
}

// A budget is what an operation costs on SQLite and on PostgreSQL. Whoever makes it cheaper lowers the numbers.
type budget struct{ sqlite, postgres cost }

func budgets() map[string]budget {
	return map[string]budget{ // transactions, reads, writes, others, trips
		"submission":                     {cost{1, 2, 4, 2, 8}, cost{1, 2, 4, 4, 3}},
		"signature":                      {cost{1, 3, 6, 2, 11}, cost{1, 3, 6, 4, 4}},
		"fetching a certificate":         {cost{0, 1, 0, 0, 1}, cost{0, 1, 0, 0, 1}},
		"renewal":                        {cost{1, 2, 4, 2, 8}, cost{1, 3, 4, 4, 3}},
		"the same renewal again":         {cost{1, 4, 0, 2, 6}, cost{1, 4, 0, 2, 5}},
		"fetching a list":                {cost{1, 2, 0, 2, 4}, cost{1, 2, 0, 2, 3}},
		"revocation":                     {cost{1, 3, 7, 2, 12}, cost{1, 3, 7, 5, 8}},
		"the list after a revocation":    {cost{3, 14, 3, 6, 23}, cost{3, 14, 3, 8, 17}},
		"fetching that list":             {cost{1, 2, 0, 2, 4}, cost{1, 2, 0, 2, 3}},
		"opening an authority":           {cost{4, 6, 0, 8, 14}, cost{4, 7, 0, 10, 10}},
		"the first list after that":      {cost{4, 15, 0, 8, 23}, cost{4, 15, 0, 8, 19}},
		"who has the names of a request": {cost{1, 3, 0, 2, 5}, cost{1, 3, 0, 2, 2}},
	}
}

// Operations cost no more statements, transactions and trips than they did. A list that has not changed costs nothing but a look at what it depends on.
func TestStatements(t *testing.T) {
	budgets := budgets()
	for engine, dsn := range map[string]func(*testing.T) string{
		"sqlite":   func(t *testing.T) string { return filepath.Join(t.TempDir(), "db.sqlite") },
		"postgres": func(t *testing.T) string { return pgtest.Start(t, pgtest.Options{}).NewDatabase(t) },
	} {
		t.Run(engine, func(t *testing.T) {
			db := open(t, dsn(t))
			for _, op := range operations(t, db) {
				got, statements := op.cost, op.statements
				want := budgets[op.name].sqlite
				if engine == "postgres" {
					want = budgets[op.name].postgres
				}
				if op.name == "renewal" && strings.Contains(strings.Join(op.statements, " "), "lineage_name") {
					t.Error("a renewal, which keeps its names, asks for them or writes them")
				}
				if got != want {
					t.Errorf("%s costs %+v, and not %+v:\n\t%s", op.name, got, want, strings.Join(statements, "\n\t"))
				}
			}
		})
	}
}

// An operation is what was done, and what it has cost.
type operation struct {
	name       string
	cost       cost
	statements []string
}

// operations has a user and a host do what users and hosts do.
func operations(t *testing.T, db *sqlstore.DB) (done []operation) {
	t.Helper()
	ctx, clk := t.Context(), clock.NewFake(time.Date(2026, 5, 1, 10, 0, 0, 0, time.UTC))
	authority := func(name store.AuthorityName) *ca.Authority {
		a, err := catest.Open(ctx, db, clk, catest.Config{Name: name, Netloc: "ca.example:8009", KeyType: pki.KeyECDSAP256, MaxPending: 50,
			Spans: rollover.Spans{Leaf: 93 * 24 * time.Hour, Life: 4}, Backdate: time.Minute, Retention: 30 * 24 * time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	users, a := authority(store.Users), authority(store.Services)
	crt, _ := catest.Issue(t, users, pkitest.NamedRequest(t, pkitest.Key(t), "alice"))
	user := audit.Actor{Kind: audit.User, Authority: string(store.Users), Serial: crt.SerialNumber, Address: "192.0.2.8"}
	host := audit.Actor{Kind: audit.Anonymous, Address: "192.0.2.7"}
	wire := catest.Wired(a)
	// All that is made once, and prepared, is there.
	catest.Issue(t, a, pkitest.NamedRequest(t, pkitest.Key(t), "first", "first.example"))
	if _, err := wire.CRLs(ctx); err != nil {
		t.Fatal(err)
	}

	counted := count(db)
	do := func(name string, operate func() error) {
		t.Helper()
		clk.Advance(time.Second)
		counted.take()
		if err := operate(); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		sum, all := counted.take()
		done = append(done, operation{name, sum, all})
	}
	key := pkitest.Key(t)
	request := pkitest.NamedRequest(t, key, "web", "web.example", "*.web.example")
	var id int64
	do("submission", func() error {
		outline, err := pki.ParseOutline(request)
		if err != nil {
			return err
		}
		if _, err := a.Foresee(ctx, host, outline, ""); err != nil {
			return err
		}
		id, err = wire.Submit(ctx, host, request)
		return err
	})
	do("signature", func() error { return wire.Sign(ctx, user, id) })
	do("fetching a certificate", func() error { _, err := wire.Certificate(ctx, id); return err })
	issued, err := a.Certificate(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	next := pkitest.Key(t)
	renewal := envelopetest.Parse(t, envelopetest.Renewal(t, issued.Certificate, key, pkitest.NamedRequest(t, next, "web")))
	do("renewal", func() error { _, err := wire.Renew(ctx, host, renewal); return err })
	do("the same renewal again", func() error { _, err := wire.Renew(ctx, host, renewal); return err })
	do("fetching a list", func() error { _, err := wire.CRLs(ctx); return err })
	do("revocation", func() error { return a.EndLineage(ctx, user, id, 0) })
	do("the list after a revocation", func() error { _, err := wire.CRLs(ctx); return err })
	do("fetching that list", func() error { _, err := wire.CRLs(ctx); return err })
	do("opening an authority", func() error { a = authority(store.Services); return nil })
	do("the first list after that", func() error { _, err := a.CRLs(ctx); return err })
	asked := []ca.Submitted{{Text: pkitest.NamedRequest(t, pkitest.Key(t), "web", "web.example"), Pending: true}}
	do("who has the names of a request", func() error { _, err := a.Namesakes(ctx, asked); return err })
	return done
}
