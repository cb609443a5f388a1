package main

import (
	"encoding/json"
	"math/big"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/store"
	"cauase/pkg/store/sqlstore"
	"cauase/pkg/testkit"
)

func TestManageAuditFilters(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db.sqlite")
	db, err := sqlstore.Open(t.Context(), path, sqlstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	user := audit.Actor{Kind: audit.User, Role: "admin", Serial: big.NewInt(4660), KeyID: []byte{0xab}, Lineage: "l", Address: "192.0.2.1"}
	anonymous := audit.Actor{Kind: audit.Anonymous, Address: "192.0.2.2"}
	err = db.Update(t.Context(), func(tx store.Tx) error {
		for i, e := range []audit.Entry{
			{Actor: anonymous, Action: audit.Submit, Object: audit.RequestObject(7)},
			{Actor: user, Action: audit.Sign, Object: audit.CertificateObject(7, big.NewInt(99))},
			{Actor: user, Action: audit.Reject, Object: audit.RequestObject(8)},
		} {
			e.Time = time.Unix(int64(i), 0)
			if err := tx.AppendAudit(t.Context(), e); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil || db.Close() != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name string
		args []string
		want string // seqs
	}{
		{"all", nil, "1 2 3"},
		{"actor kind", []string{"--actor-kind", "anonymous"}, "1"},
		{"actor serial", []string{"--actor-serial", "4660"}, "2 3"},
		{"actor serial in hexadecimal", []string{"--actor-serial", "0x1234"}, "2 3"},
		{"address", []string{"--address", "192.0.2.2"}, "1"},
		{"object kind", []string{"--object-kind", "csr"}, "1 3"},
		{"object id", []string{"--object-id", "7"}, "1 2"},
		{"object serial", []string{"--object-serial", "99"}, "2"},
		{"several", []string{"--object-id", "7", "--actor-kind", "user"}, "2"},
		{"none", []string{"--object-serial", "98"}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			var seqs []string
			out := manages(t, append([]string{"audit", "--db", path, "--json"}, test.args...)...)
			for line := range strings.Lines(out) {
				testkit.CheckJSON(t, jsonPage, "audit entry", line)
				var e struct {
					Seq json.Number `json:"seq"`
				}
				if err := json.Unmarshal([]byte(line), &e); err != nil {
					t.Fatal(err)
				}
				seqs = append(seqs, e.Seq.String())
			}
			if got := strings.Join(seqs, " "); got != test.want {
				t.Errorf("entries %q, want %q", got, test.want)
			}
		})
	}
	out := manages(t, "audit", "--db", path, "--json", "--object-serial", "99")
	for _, want := range []string{`"actor":"user serial=0x1234 key=ab"`, `"address":"192.0.2.1"`, `"object":"crt 7 serial=0x63"`, `"actor_kind":"user"`,
		`"actor_role":"admin"`, `"actor_serial":"0x1234"`, `"actor_serial_decimal":"4660"`, `"actor_key_id":"ab"`, `"lineage":"l"`, `"object_kind":"crt"`, `"object_id":"7"`, `"object_serial":"0x63"`, `"object_serial_decimal":"99"`} {
		if !strings.Contains(out, want) {
			t.Errorf("%s lacks %s", out, want)
		}
	}
}
