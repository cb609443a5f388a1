package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"cauase/pkg/audit"
	"cauase/pkg/merkle"
	"cauase/pkg/store"
)

// calls has one call of every method of store.Tx, so that every query there is gets prepared.
func calls() map[string]func(context.Context, store.Tx) error {
	const a = store.Services
	when, serial := time.Unix(1e9, 0), big.NewInt(7)
	type (
		ctx = context.Context
		tx  = store.Tx
	)
	return map[string]func(ctx, tx) error{
		"CAs":                 func(c ctx, t tx) error { _, err := t.CAs(c, a); return err },
		"IsCAKey":             func(c ctx, t tx) error { _, err := t.IsCAKey(c, nil); return err },
		"Request":             func(c ctx, t tx) error { _, err := t.Request(c, a, 1); return err },
		"RequestByDigest":     func(c ctx, t tx) error { _, err := t.RequestByDigest(c, a, nil); return err },
		"Requests":            func(c ctx, t tx) error { _, err := t.Requests(c, a, 0); return err },
		"CountSubmitters":     func(c ctx, t tx) error { _, err := t.CountSubmitters(c, a); return err },
		"CountRequests":       func(c ctx, t tx) error { _, err := t.CountRequests(c, a); return err },
		"Certificate":         func(c ctx, t tx) error { _, err := t.Certificate(c, a, 1); return err },
		"CertificateBySerial": func(c ctx, t tx) error { _, err := t.CertificateBySerial(c, a, serial); return err },
		"CertificateByCSR":    func(c ctx, t tx) error { _, err := t.CertificateByCSR(c, a, nil); return err },
		"KeyInUse":            func(c ctx, t tx) error { _, err := t.KeyInUse(c, a, nil); return err },
		"Certificates":        func(c ctx, t tx) error { _, err := t.Certificates(c, a, 0, 1); return err },
		"CountCertificates": func(c ctx, t tx) error {
			_, all := t.CountCertificates(c, a, time.Time{})
			_, some := t.CountCertificates(c, a, when)
			return errors.Join(all, some)
		},
		"RenewalByCSR": func(c ctx, t tx) error { _, err := t.RenewalByCSR(c, a, nil, serial); return err },
		"Lineage":      func(c ctx, t tx) error { _, err := t.Lineage(c, a, 1); return err },
		"LineageOf":    func(c ctx, t tx) error { _, err := t.LineageOf(c, a, serial); return err },
		"Lineages": func(c ctx, t tx) error {
			_, first := t.Lineages(c, a, store.LineagePage{}, 1)
			_, next := t.Lineages(c, a, store.LineagePage{CreatedAt: when, ID: 1}, 1)
			return errors.Join(first, next)
		},
		"EndedLineage":        func(c ctx, t tx) error { _, err := t.EndedLineage(c, a, "CN=x", when); return err },
		"LineagesNamed":       func(c ctx, t tx) error { _, err := t.LineagesNamed(c, a, "x", 1); return err },
		"LineagesUnder":       func(c ctx, t tx) error { _, err := t.LineagesUnder(c, a, "x", 1); return err },
		"LineageNames":        func(c ctx, t tx) error { _, err := t.LineageNames(c, a, 1); return err },
		"Unnamed":             func(c ctx, t tx) error { _, err := t.Unnamed(c); return err },
		"NameLineages":        func(c ctx, t tx) error { _, err := t.NameLineages(c, 10); return err },
		"EndingLineages":      func(c ctx, t tx) error { _, err := t.EndingLineages(c, a, 1); return err },
		"CountLineages":       func(c ctx, t tx) error { _, err := t.CountLineages(c, a, when); return err },
		"CountForked":         func(c ctx, t tx) error { _, err := t.CountForked(c, a, when); return err },
		"LineageCertificates": func(c ctx, t tx) error { _, err := t.LineageCertificates(c, a, 1, 1); return err },
		"LineageFaults": func(c ctx, t tx) error {
			return t.LineageFaults(c, when, func(store.LineageFault) error { return nil })
		},
		"AddLineage": func(c ctx, t tx) error {
			return errors.Join(t.AddLineage(c, store.Lineage{Authority: a, Newest: serial}, nil),
				t.AddLineage(c, store.Lineage{Authority: a, ID: 2, Newest: serial}, []store.Name{{Kind: "CN", Text: "x"}}))
		},
		"PutLineage": func(c ctx, t tx) error { return t.PutLineage(c, store.Lineage{Authority: a, Newest: serial}) },
		"Renewable":  func(c ctx, t tx) error { _, err := t.Renewable(c, a, serial, nil); return err },
		"AddRenewal": func(c ctx, t tx) error {
			l, crt := store.Lineage{Authority: a, ID: 9, Newest: serial}, store.Certificate{Authority: a, ID: 9, Serial: big.NewInt(9), CAID: 1, Lineage: 9}
			return errors.Join(t.AddLineage(c, l, nil), t.AddRenewal(c, store.Renewable{Lineage: l}, crt, l))
		},
		"RevokeLineage": func(c ctx, t tx) error {
			_, err := t.RevokeLineage(c, a, 1, when, store.Revocation{}, time.Hour)
			return err
		},
		"Revocation":       func(c ctx, t tx) error { _, err := t.Revocation(c, a, serial); return err },
		"KeyCompromised":   func(c ctx, t tx) error { _, err := t.KeyCompromised(c, nil); return err },
		"Revocations":      func(c ctx, t tx) error { _, err := t.Revocations(c, a, 0, 0); return err },
		"Revoked":          func(c ctx, t tx) error { return t.Revoked(c, a, 0, 0, func(store.Revoked) error { return nil }) },
		"RevokedSpan":      func(c ctx, t tx) error { _, _, err := t.RevokedSpan(c, a); return err },
		"CountRevocations": func(c ctx, t tx) error { _, err := t.CountRevocations(c, a); return err },
		"CRL":              func(c ctx, t tx) error { _, err := t.CRL(c, a, 1); return err },
		"Counter":          func(c ctx, t tx) error { _, err := t.Counter(c, a, "x"); return err },
		"Setting":          func(c ctx, t tx) error { _, err := t.Setting(c, a, "x"); return err },
		"Audit": func(c ctx, t tx) (err error) {
			for _, f := range filters() {
				err = errors.Join(err, t.Audit(c, f, func(audit.Entry) error { return nil }))
			}
			return err
		},
		"AppendAudit":   func(c ctx, t tx) error { return t.AppendAudit(c, audit.Entry{Time: when}) },
		"AddCA":         func(c ctx, t tx) error { _, err := t.AddCA(c, store.CA{Authority: a}); return err },
		"EraseCAKey":    func(c ctx, t tx) error { return t.EraseCAKey(c, a, 1, store.CAErased) },
		"Authorities":   func(c ctx, t tx) error { _, err := t.Authorities(c); return err },
		"Authority":     func(c ctx, t tx) error { _, err := t.Authority(c, a); return err },
		"PutAuthority":  func(c ctx, t tx) error { return t.PutAuthority(c, store.Authority{Name: "a", Role: store.RoleRoot}) },
		"Signoffs":      func(c ctx, t tx) error { _, err := t.Signoffs(c, a); return err },
		"AddSignoff":    func(c ctx, t tx) error { _, err := t.AddSignoff(c, store.Signoff{Authority: "a"}); return err },
		"PutSignoff":    func(c ctx, t tx) error { return t.PutSignoff(c, store.Signoff{Authority: "a", ID: 1}) },
		"DeleteSignoff": func(c ctx, t tx) error { return t.DeleteSignoff(c, a, 1) },
		"AddRequest":    func(c ctx, t tx) error { return t.AddRequest(c, store.Request{Authority: a}) },
		"AddReceived":   func(c ctx, t tx) error { return t.AddReceived(c, store.Request{Authority: a}) },
		"TakeRequest": func(c ctx, t tx) error {
			return errors.Join(t.AddReceived(c, store.Request{Authority: a, ID: 7, Digest: []byte{7}}), t.TakeRequest(c, a, 7))
		},
		"Submittable": func(c ctx, t tx) error { _, err := t.Submittable(c, a, nil, nil); return err },
		"Approvable":  func(c ctx, t tx) error { _, err := t.Approvable(c, a, 1, nil, "", nil, 1); return err },
		"Standing":    func(c ctx, t tx) error { _, err := t.Standing(c, a, nil, 1); return err },
		"AddFirst": func(c ctx, t tx) error {
			l, crt := store.Lineage{Authority: a, ID: 8, Newest: serial}, store.Certificate{Authority: a, ID: 8, Serial: big.NewInt(8), CAID: 1, Lineage: 8}
			return t.AddFirst(c, crt, l, []store.Name{{Kind: "CN", Text: "x"}})
		},
		"DeleteRequest":     func(c ctx, t tx) error { return t.DeleteRequest(c, a, 1) },
		"AddCertificate":    func(c ctx, t tx) error { return t.AddCertificate(c, store.Certificate{Authority: a, Serial: serial}) },
		"PruneCertificates": func(c ctx, t tx) error { _, err := t.PruneCertificates(c, a, when, 1); return err },
		"AddRevocation": func(c ctx, t tx) error {
			_, err := t.AddRevocation(c, store.Revocation{Authority: a, Serial: serial})
			return err
		},
		"PruneRevocations":  func(c ctx, t tx) error { _, err := t.PruneRevocations(c, a, when, 1); return err },
		"PutCRL":            func(c ctx, t tx) error { return t.PutCRL(c, store.CRL{Authority: a}) },
		"AddCounter":        func(c ctx, t tx) error { _, err := t.AddCounter(c, a, "x", 1); return err },
		"PutSetting":        func(c ctx, t tx) error { return t.PutSetting(c, a, "x", "y") },
		"Rows":              func(c ctx, t tx) error { return t.Rows(c, func(store.Row) error { return nil }) },
		"Load":              func(c ctx, t tx) error { return t.Load(c, func(func(store.Row, error) bool) {}) },
		"Invitation":        func(c ctx, t tx) error { _, err := t.Invitation(c, a, "x"); return err },
		"Invitations":       func(c ctx, t tx) error { _, err := t.Invitations(c, a, 0); return err },
		"CountInvitations":  func(c ctx, t tx) error { _, err := t.CountInvitations(c, a); return err },
		"PutInvitation":     func(c ctx, t tx) error { return t.PutInvitation(c, store.Invitation{Authority: a, ID: "x"}) },
		"PruneInvitations":  func(c ctx, t tx) error { _, err := t.PruneInvitations(c, a, when, 1); return err },
		"Rejection":         func(c ctx, t tx) error { _, err := t.Rejection(c, a, 1); return err },
		"RejectionByDigest": func(c ctx, t tx) error { _, err := t.RejectionByDigest(c, a, nil); return err },
		"PutRejection":      func(c ctx, t tx) error { return t.PutRejection(c, store.Rejection{Authority: a}) },
		"PruneRejections":   func(c ctx, t tx) error { _, err := t.PruneRejections(c, a, when, 1, 1); return err },
		"Approvals":         func(c ctx, t tx) error { _, err := t.Approvals(c, a, 1); return err },
		"PutApproval": func(c ctx, t tx) error {
			return errors.Join(t.AddRequest(c, store.Request{Authority: a, ID: 6, Digest: []byte{6}}), t.PutApproval(c, store.Approval{Authority: a, Request: 6}))
		},
		"Adoptions": func(c ctx, t tx) error { _, err := t.Adoptions(c, a, 0, 1); return err },
		"Adoption":  func(c ctx, t tx) error { _, err := t.Adoption(c, a, 1); return err },
		"CountHolders": func(c ctx, t tx) error {
			_, _, err := t.CountHolders(c, a, when, store.Sought{KeyIDs: [][]byte{{1}, {2}}, Since: when}, store.LineagePage{CreatedAt: when, ID: 1}, 1)
			return err
		},
		"Stragglers": func(c ctx, t tx) error {
			_, _, err := t.Stragglers(c, a, when, store.Sought{KeyIDs: [][]byte{{1}}, Since: when}, store.LineagePage{CreatedAt: when, ID: 1}, 1, 1)
			return err
		},
		"PutAdoption": func(c ctx, t tx) error {
			return errors.Join(t.AddLineage(c, store.Lineage{Authority: a, ID: 6, Newest: serial}, nil), t.PutAdoption(c, store.Adoption{Authority: a, Lineage: 6}))
		},
		"Deliveries":       func(c ctx, t tx) error { _, err := t.Deliveries(c, "x", when, 1); return err },
		"CountDeliveries":  func(c ctx, t tx) error { _, err := t.CountDeliveries(c); return err },
		"AddDelivery":      func(c ctx, t tx) error { return t.AddDelivery(c, store.Delivery{}) },
		"PutDelivery":      func(c ctx, t tx) error { return t.PutDelivery(c, store.Delivery{ID: 1}) },
		"DeleteDelivery":   func(c ctx, t tx) error { return t.DeleteDelivery(c, 1) },
		"ActivateCA":       func(c ctx, t tx) error { return t.ActivateCA(c, a, 1, store.AtOnce, when) },
		"KEKs":             func(c ctx, t tx) error { _, err := t.KEKs(c); return err },
		"PutKEK":           func(c ctx, t tx) error { return t.PutKEK(c, store.KEK{}) },
		"PutCAKey":         func(c ctx, t tx) error { return t.PutCAKey(c, a, 1, store.KeyRef{}) },
		"Log":              func(c ctx, t tx) error { _, err := t.Log(c); return err },
		"LogHashes":        func(c ctx, t tx) error { _, err := t.LogHashes(c, nil); return err },
		"LogTile":          func(c ctx, t tx) error { _, err := t.LogTile(c, merkle.Tile{}); return err },
		"LatestCheckpoint": func(c ctx, t tx) error { _, err := t.LatestCheckpoint(c); return err },
		"Checkpoints":      func(c ctx, t tx) error { _, err := t.Checkpoints(c, store.Checkpoint{}, 1); return err },
		"LogEntryByDigest": func(c ctx, t tx) error { _, err := t.LogEntryByDigest(c, []byte{1}); return err },
		"BeginEpoch":       func(c ctx, t tx) error { return t.BeginEpoch(c, when) },
		"Checkpoint":       func(c ctx, t tx) error { return t.Checkpoint(c, when) },
		"PruneAudit":       func(c ctx, t tx) error { _, _, err := t.PruneAudit(c, when, 1); return err },
		"ThinCheckpoints":  func(c ctx, t tx) error { _, _, err := t.ThinCheckpoints(c, when, when, time.Hour, 1); return err },
		"DeleteSetting":    func(c ctx, t tx) error { return t.DeleteSetting(c, a, "x") },
	}
}

// filters has every combination of what bounds a filter and what most entries may have in common, each
// with every thing of which few entries may be.
func filters() (all []audit.Filter) {
	for bits := range 32 {
		var f audit.Filter
		if bits&1 != 0 {
			f.Since = time.Unix(1, 0)
		}
		if bits&2 != 0 {
			f.Until = time.Unix(1e10, 0)
		}
		if bits&4 != 0 {
			f.Authority = "cas"
		}
		if bits&8 != 0 {
			f.Action = audit.Renew
		}
		f.Newest = bits&16 != 0
		for _, set := range []func(*audit.Filter){
			func(*audit.Filter) {},
			func(f *audit.Filter) { f.ActorKind = audit.User },
			func(f *audit.Filter) { f.ActorSerial = big.NewInt(1) },
			func(f *audit.Filter) { f.Address = "192.0.2.1" },
			func(f *audit.Filter) { f.ObjectKind = audit.KindCertificate },
			func(f *audit.Filter) { f.ObjectKind, f.ObjectID = audit.KindCertificate, "1" },
			func(f *audit.Filter) { f.ObjectSerial = big.NewInt(1) },
			func(f *audit.Filter) { f.Lineage = "1" },
		} {
			f := f
			set(&f)
			all = append(all, f)
		}
	}
	return all
}

// ofOneLineage is how queries of the log of one lineage begin, which sort three pages.
const ofOneLineage = "FROM audit_log WHERE seq IN ("

// No query reads a table that grows from end to end, nor sorts what it has found, except those that
// are there to read all, or the first row of each, and where sorts says that few rows can come together.
func TestPlans(t *testing.T) {
	sorts := map[string]bool{"csr_digest = ?": true, ofOneLineage: true} // certificates of one request, three pages
	scans := map[string]bool{anyRow(): true, sqliteDialect().indices: true, authorities.query + "ORDER BY name": true}
	scans[countDeliveries] = true // which are few
	scans[keks.query+"ORDER BY authority"] = true
	scans[anyUnnamed] = true // whose index is empty, as a rule
	sorts[sqliteDialect().indices] = true
	for _, query := range append(faults, unlisted) { // which look at all there is
		scans[query], sorts[query] = true, true
	}
	sorts["row_number() OVER"], scans[revokeLineage] = true, true // what is valid of one lineage
	for _, kind := range store.Kinds() {
		scans[newTable(kind).all()] = true
	}

	db := mustOpen(t, filepath.Join(t.TempDir(), "db.sqlite"))
	var queries []string
	exercise(t, db, func(h tx) { queries = slices.Collect(maps.Keys(h.s.(*sqliteWriter).stmts)) })
	for _, query := range queries {
		if strings.HasPrefix(query, "CREATE INDEX") || strings.HasPrefix(query, "DROP INDEX") {
			continue // of Load, and has no plan
		}
		update(t, db, func(ctx context.Context, h tx) error {
			return h.each(ctx, func(row scanner) error {
				var id, parent, unused int
				var step string
				if err := row.Scan(&id, &parent, &unused, &step); err != nil {
					return err
				}
				scan := strings.HasPrefix(step, "SCAN ") && step != "SCAN CONSTANT ROW" && step != "SCAN part" && step != "SCAN authority" && !scans[query] // there are few authorities
				sort := strings.Contains(step, "TEMP B-TREE")
				for part := range sorts {
					sort = sort && !strings.Contains(query, part)
				}
				if scan || sort {
					t.Errorf("%s: %s", step, query)
				}
				return nil
			}, "EXPLAIN QUERY PLAN "+query, make([]any, strings.Count(query, "?"))...)
		})
	}
}

func update(t *testing.T, db *DB, fn func(ctx context.Context, h tx) error) {
	t.Helper()
	if err := db.Update(t.Context(), func(s store.Tx) error { return fn(t.Context(), s.(tx)) }); err != nil {
		t.Fatal(err)
	}
}

// exercise has a database run every query there is, and collect look at the session that did.
func exercise(t *testing.T, db *DB, collect func(tx)) {
	t.Helper()
	all := calls()
	for m := range reflect.TypeFor[store.Tx]().Methods() {
		if all[m.Name] == nil {
			t.Errorf("calls lacks %s", m.Name)
		}
	}
	// What Load does to an empty database only.
	update(t, db, func(ctx context.Context, h tx) error {
		return h.Load(ctx, func(yield func(store.Row, error) bool) {
			ca := store.CA{ID: 1, Authority: store.Services}
			_ = yield(ca, nil) && yield(store.Revocation{Authority: store.Services, Seq: 1, Serial: big.NewInt(1)}, nil) &&
				yield(store.Counter{}, nil) && yield(store.AuditEntry{Entry: audit.Entry{Seq: 1, Time: time.Unix(2, 0)}}, nil)
		})
	})
	// One entry, without which Audit finds its range empty and asks for no page.
	update(t, db, func(ctx context.Context, h tx) error { return h.AppendAudit(ctx, audit.Entry{Time: time.Unix(2, 0)}) })
	for name, call := range all {
		// What the queries answer does not matter, as long as the database accepts them.
		err := db.Update(t.Context(), func(s store.Tx) error { return call(t.Context(), s) })
		if errors.Is(err, store.ErrUnavailable) {
			t.Errorf("%s: %v", name, err)
		}
	}
	update(t, db, func(_ context.Context, h tx) error { collect(h); return nil })
}

// PostgreSQL, too, finds everything by an index, although its statistics know of empty tables, and
// sorts nothing that grows, unless it expects few rows and somebody wants to look at them.
func TestPostgresPlans(t *testing.T) {
	dsn := laidOut(t)
	db := mustOpen(t, dsn)
	var queries map[string]string
	exercise(t, db, func(h tx) { queries = maps.Clone(h.s.(*pgWriter).queries) })
	scans := map[string]bool{anyRow(): true, authorities.query + "ORDER BY name": true}
	for _, query := range append(faults, unlisted) {
		scans[query] = true
	}
	for _, kind := range store.Kinds() {
		scans[newTable(kind).all()] = true
	}
	for _, when := range []string{"empty", "analyzed"} {
		planned := 0
		for query, numbered := range queries {
			verb, _, _ := strings.Cut(strings.TrimSpace(query), " ")
			if scans[query] || !slices.Contains([]string{"SELECT", "INSERT", "UPDATE", "DELETE", "WITH"}, verb) ||
				strings.Contains(query, "pg_") || strings.Contains(query, "commit_mark") {
				continue
			}
			planned++
			for _, line := range explain(t, db, numbered, strings.Count(query, "?")) {
				scan := strings.Contains(line, "Seq Scan on") && !strings.Contains(line, "Seq Scan on authority ") // there are few
				few := strings.Contains(query, "csr_digest = ?") || strings.Contains(query, "FROM ca_certificate") || strings.Contains(query, "FROM signoff") || strings.Contains(query, "row_number() OVER") || strings.Contains(query, ofOneLineage)
				sort := strings.Contains(line, "Sort  (") && !few
				if scan || sort {
					t.Errorf("%s: %s: %s", when, strings.TrimSpace(line), query)
				}
			}
		}
		if planned < 30 {
			t.Errorf("only %d queries", planned)
		}
		if when == "empty" {
			fill(t, db)
			run(t, dsn, "ANALYZE adoption, certificate, lineage, lineage_name, request, audit_log, revocation")
		}
	}
}

// explain asks for the plan of a query that is prepared, as ours are.
func explain(t *testing.T, db *DB, query string, arguments int) (lines []string) {
	t.Helper()
	update(t, db, func(ctx context.Context, h tx) error {
		conn := h.s.(*pgWriter).conn
		if _, err := conn.Exec(ctx, "PREPARE plan AS "+query, pgx.QueryExecModeSimpleProtocol); err != nil {
			return fmt.Errorf("%s: %w", query, err)
		}
		call := "EXPLAIN EXECUTE plan"
		if arguments > 0 {
			call += "(" + strings.Join(slices.Repeat([]string{"NULL"}, arguments), ", ") + ")"
		}
		rows, err := conn.Query(ctx, call, pgx.QueryExecModeSimpleProtocol)
		if err == nil {
			lines, err = pgx.CollectRows(rows, pgx.RowTo[string])
		}
		if err != nil {
			return fmt.Errorf("%s: %w", query, err)
		}
		_, err = conn.Exec(ctx, "DEALLOCATE plan", pgx.QueryExecModeSimpleProtocol)
		return err
	})
	return lines
}

// fill makes tables that are worth an index.
func fill(t *testing.T, db *DB) {
	t.Helper()
	update(t, db, func(ctx context.Context, h tx) error {
		id, err := h.AddCA(ctx, store.CA{Authority: store.Users})
		if err != nil {
			return err
		}
		for n := range int64(5000) {
			serial := []byte(fmt.Sprintf("s%06d", n))
			if err := errors.Join(
				h.AddCertificate(ctx, store.Certificate{Authority: store.Users, ID: n, Serial: new(big.Int).SetBytes(serial), CAID: id,
					KeyID: serial, CSRDigest: serial, DER: serial, Lineage: n, NotAfter: time.Unix(n, 0)}),
				h.AddLineage(ctx, store.Lineage{Authority: store.Users, ID: n, Newest: new(big.Int).SetBytes(serial)},
					[]store.Name{{Kind: "DNS", Text: fmt.Sprintf("h%d.x", n), Under: fmt.Sprint("x", n%7)}}),
				h.PutAdoption(ctx, store.Adoption{Authority: store.Users, Lineage: n, CAKeyID: serial}),
				h.AddRequest(ctx, store.Request{Authority: store.Users, ID: n, Digest: serial, KeyID: serial, ReceivedAt: time.Unix(n, 0)}),
				h.AppendAudit(ctx, audit.Entry{Time: time.Unix(n, 0), Authority: "cau", Action: audit.Renew}),
			); err != nil {
				return err
			}
		}
		return nil
	})
	newLedger().load(t, db, 100_000, 64, 40)
}
