package sqlstore

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"math/big"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/store"
)

func layout1() releasedLayout {
	const size = 50
	beside := func(t *testing.T, r released) {
		if err := runStep(t.Context(), r.dialect, r.db, "audit_entry"); err != nil {
			t.Fatal(err)
		}
	}
	carry := func(t *testing.T, r released, batches int, commit bool) {
		beside(t, r)
		var last int64
		for range batches {
			r.in(t, commit, func(ctx context.Context, tx *sql.Tx) (err error) {
				if last, err = carryBatch(ctx, r.dialect, tx, last, size); last == 0 {
					t.Fatal("there are not so many entries")
				}
				return err
			})
		}
	}
	return releasedLayout{
		name: "layout1",
		tables: map[string]string{
			"ca_certificate": "id", "crl": "ca_id", "request": "seq", "certificate": "seq", "revocation": "authority, seq",
			"revocation_seq": "authority", "counter": "authority, name", "setting": "authority, name", "audit_log": "seq",
		},
		check: checkLayout1,
		interrupted: map[string]func(*testing.T, released){
			"before the first batch": beside,
			"within a batch":         func(t *testing.T, r released) { carry(t, r, 1, false) },
			"after a batch":          func(t *testing.T, r released) { carry(t, r, 1, true) },
			"after three batches":    func(t *testing.T, r released) { carry(t, r, 3, true) },
			"after the last batch": func(t *testing.T, r released) {
				beside(t, r)
				if err := carryAudit(t.Context(), r.dialect, r.db, slog.New(slog.DiscardHandler)); err != nil {
					t.Fatal(err)
				}
			},
			"after some certificates know their lineage": func(t *testing.T, r released) {
				r.in(t, true, func(ctx context.Context, tx *sql.Tx) error {
					if err := addLineageColumn(ctx, r.dialect, tx); err != nil {
						return err
					}
					last, err := carryIn(tx).batch(ctx, 0, 5)
					if last == 0 {
						t.Error("there are no certificates")
					}
					return err
				})
			},
			"after all certificates know their lineage": func(t *testing.T, r released) {
				if _, err := prepareLineages(t.Context(), r.dialect, r.db, slog.New(slog.DiscardHandler)); err != nil {
					t.Fatal(err)
				}
			},
			"between layouts 2 and 3": func(t *testing.T, r released) {
				beside(t, r)
				p, err := migrations(r.dialect, r.db, new(prepared))
				if err == nil {
					_, err = p.UpTo(t.Context(), layoutRows)
				}
				if err != nil {
					t.Fatal(err)
				}
			},
			"before the commit": func(t *testing.T, r released) {
				r.in(t, false, func(ctx context.Context, tx *sql.Tx) error { return changeToRows(ctx, r.dialect, tx) })
			},
		},
		meanwhile: map[string]func(*testing.T, released){
			"beside a daemon": besideLayout1,
			"after what happens rarely": func(t *testing.T, r released) {
				// What only a daemon on PostgreSQL, with backups, and one whose clock went wrong, leaves behind.
				for _, statement := range []string{
					`INSERT INTO setting (authority, name, value) VALUES ('cau', 'cors_keys', '[]'), ('cau', 'backup_claim', '{}'),
				('cau', 'backup_last', '{}'), ('cas', 'cors_keys', 'not that one')`,
					`UPDATE ca_certificate SET private_key = NULL WHERE id = (SELECT max(id) FROM ca_certificate WHERE authority = 'cas')`,
				} {
					if _, err := r.db.ExecContext(t.Context(), statement); err != nil {
						t.Fatal(err)
					}
				}
			},
		},
	}
}

// expected makes of rows of the released layout what they have to be in this one.
func expected(t *testing.T, old map[string][]record) map[string][]record {
	now := time.Now().UnixMicro()
	out := map[string][]record{}
	for table, rows := range old {
		for _, row := range rows {
			one := record{}
			for name, value := range row {
				one[name] = value
			}
			switch table {
			case "ca_certificate":
				delete(one, "private_key")
				one["key_ref"], one["custody"], one["state"] = row["private_key"], "row", "usable"
				one["parent_authority"], one["parent_ca"], one["anchor"], one["parent_link"] = "", int64(0), nil, nil
				one["activation"], one["activated_at"] = "", nil
				if row["private_key"] == nil {
					one["custody"], one["state"] = "", "disowned"
					if row["not_after"].(int64) < now {
						one["state"] = "erased"
					}
				}
			case "request":
				one["profile"], one["asked"], one["address"] = "", "", strings.TrimPrefix(row["submitter"].(string), "anonymous ")
			case "certificate":
				one["profile"], one["validity"] = "", int64(0)
				one["asked"], one["rule"], one["rule_digest"] = "", "", nil
				one["lineage"] = firstOf(rows, row)
			case "setting":
				if row["authority"] == "cau" && slices.Contains([]any{"cors_keys", "backup_claim", "backup_last"}, row["name"]) {
					one["authority"] = ""
				}
			case "counter":
				if row["authority"] == "cas" && row["name"] == "ping" {
					one["authority"] = ""
				}
			}
			out[table] = append(out[table], one)
		}
	}
	for _, table := range []string{"setting", "counter"} {
		slices.SortFunc(out[table], func(a, b record) int {
			return strings.Compare(fmt.Sprint(a["authority"], "/", a["name"]), fmt.Sprint(b["authority"], "/", b["name"]))
		})
	}
	delete(out, "audit_log")
	return out
}

// inDecimal is an actor or an object as the released versions wrote it, with a decimal serial number.
func inDecimal(v fmt.Stringer) string {
	return regexp.MustCompile(`serial=0x[0-9a-f]+`).ReplaceAllStringFunc(v.String(), func(found string) string {
		serial, _ := new(big.Int).SetString(strings.TrimPrefix(found, "serial=0x"), 16)
		return "serial=" + serial.String()
	})
}

// checkLayout1 looks whether everything is there that layout 1 had, in the form of today.
func checkLayout1(t *testing.T, r released, old map[string][]record) {
	t.Helper()
	found := r.all(t, layout1())
	log := found["audit_log"]
	delete(found, "audit_log")
	if diff := difference(expected(t, old), found); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if len(log) != len(old["audit_log"]) || len(log) == 0 {
		t.Fatalf("%d entries, want %d", len(log), len(old["audit_log"]))
	}
	r.view(t, func(ctx context.Context, s store.Reader) error {
		n := 0
		err := s.Audit(ctx, audit.Filter{}, func(e audit.Entry) error {
			want := old["audit_log"][n]
			got := record{"seq": e.Seq, "time": e.Time.UnixMicro(), "authority": e.Authority, "actor": inDecimal(e.Actor), "address": e.Actor.Address,
				"action": string(e.Action), "object": inDecimal(e.Object), "result": string(e.Result), "detail": e.Detail, "request_id": e.Actor.RequestID}
			if diff := difference(want, got); diff != "" {
				t.Errorf("entry %d (-want +got):\n%s", n, diff)
			}
			n++
			return nil
		})
		if err != nil || n != len(log) {
			return fmt.Errorf("%d entries: %w", n, err)
		}
		checkLineages(ctx, t, s, old["certificate"])
		all, err := s.Authorities(ctx)
		var want []store.Authority
		for _, name := range []store.AuthorityName{store.Services, store.Users, store.HTTPS} {
			var created time.Time
			for _, ca := range old["ca_certificate"] {
				if at := fromMicros(ca["created_at"].(int64)); ca["authority"] == string(name) && (created.IsZero() || at.Before(created)) {
					created = at
				}
			}
			row, _ := store.Standard(name, created)
			want = append(want, row)
		}
		if diff := difference(want, all); diff != "" {
			t.Errorf("authorities (-want +got):\n%s", diff)
		}
		return err
	})
}

// besideLayout1 prepares a migration while a daemon of layout 1 goes on.
func besideLayout1(t *testing.T, r released) {
	if err := runStep(t.Context(), r.dialect, r.db, "audit_entry"); err != nil {
		t.Fatal(err)
	}
	if err := carryAudit(t.Context(), r.dialect, r.db, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	_, err := r.db.ExecContext(t.Context(), `INSERT INTO audit_log (time, authority, actor, address, action, object, result, detail, request_id)
			VALUES (1, 'cas', 'user serial=7 key=0a', '192.0.2.1', 'crt.sign', 'crt 5 serial=6', 'ok', '', ''),
				(2, '', 'somebody else', '', '', '', 'ok', '', ''), (3, '', '', '', '', 'crt serial=007', 'ok', '', '')`)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := prepareLineages(t.Context(), r.dialect, r.db, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	// The newest certificate of each authority is renewed.
	_, err = r.db.ExecContext(t.Context(), `INSERT INTO certificate (authority, id, serial, ca_id, subject, sans, not_before, not_after, key_id, issued_at, issued_by, method, renews, csr, csr_digest, der)
			SELECT authority, id + 1, key_id, ca_id, subject, sans, not_before, not_after, key_id, issued_at, issued_by, 'renewed', serial, csr, csr_digest, der
			FROM certificate WHERE seq IN (SELECT max(seq) FROM certificate GROUP BY authority)`)
	if err != nil {
		t.Fatal(err)
	}
}

// What is written after the migration comes after what was there.
func TestMigratedOrder(t *testing.T) {
	migrated(t, "layout1", func(t *testing.T, r released) {
		entries := r.records(t, "audit_log", "seq")
		// What is written next comes after what was there.
		db := mustOpen(t, r.dsn)
		update(t, db, func(ctx context.Context, h tx) error {
			return h.AppendAudit(ctx, audit.Entry{Time: time.Unix(1, 0), Object: audit.SerialObject(big.NewInt(77))})
		})
		log := r.records(t, "audit_log", "seq")
		if last := log[len(log)-1]["seq"].(int64); last <= entries[len(entries)-1]["seq"].(int64) {
			t.Errorf("an entry got seq %d", last)
		}
	})
}

// The migration leaves no copy of a key behind that nothing erases later.
func TestMigratedKeysAreErased(t *testing.T) {
	migrated(t, "layout1", func(t *testing.T, r released) {
		if r.dialect.wipe == "" {
			t.Skip("PostgreSQL looks after its files itself")
		}
		keys := r.records(t, "ca_certificate", "id")
		_ = r.db.Close()
		db := mustOpen(t, r.dsn)
		for _, ca := range keys {
			update(t, db, func(ctx context.Context, h tx) error {
				return h.EraseCAKey(ctx, store.AuthorityName(ca["authority"].(string)), ca["id"].(int64), store.CAErased)
			})
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(r.dsn)
		if err != nil {
			t.Fatal(err)
		}
		erased := 0
		for _, ca := range keys {
			key, _ := ca["private_key"].([]byte)
			if len(key) == 0 {
				continue
			}
			erased++
			if bytes.Contains(data, key) || bytes.Contains(data, key[len(key)/2:]) {
				t.Errorf("the key of CA %d is still in the file", ca["id"])
			}
		}
		if erased == 0 {
			t.Error("there were no keys")
		}
	})
}
