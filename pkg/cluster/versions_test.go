package cluster

import (
	"fmt"
	"net/http"
	"strings"
	"syscall"
	"testing"
)

// TestNewerVersionBeside: while daemons are upgraded one by one, those of the version before go on
// working on a layout to which the next has added something. They do not start on it.
func TestNewerVersionBeside(t *testing.T) {
	t.Parallel()
	c := postgres(t)
	dsn := c.NewDatabase(t)
	s := newSite(t, dsn, 2)
	user, userCrt := becomeUser(t, s.daemons[0])

	// What a later version may do, see docs/scaling.md.
	c.ExecIn(t, databaseOf(t, dsn), `
		ALTER TABLE certificate ADD COLUMN later_text TEXT, ADD COLUMN later_number BIGINT NOT NULL DEFAULT 0;
		ALTER TABLE request ADD COLUMN later_text TEXT;
		ALTER TABLE ca_certificate ADD COLUMN later_text TEXT;
		ALTER TABLE revocation ADD COLUMN later_text TEXT;
		ALTER TABLE audit_log ADD COLUMN later_text TEXT;
		CREATE TABLE later (id BIGINT PRIMARY KEY);
		CREATE INDEX later_index ON certificate (issued_at);
		INSERT INTO goose_db_version (version_id, is_applied) VALUES (99999, true)`)

	for i, d := range s.daemons {
		key := newKey(t)
		id := user.must(http.StatusCreated, "PUT", d.http()+"/cas/csr", "", newCSR(t, key, fmt.Sprint("host", i))).header.Get("Location")
		user.must(http.StatusNoContent, "PUT", d.https()+"/cas/crt/"+id, "", nil)
		crt := parse(t, user.must(http.StatusOK, "GET", d.http()+"/cas/crt/"+id, "", nil).body)
		next := newKey(t)
		user.must(http.StatusOK, "PUT", d.http()+"/cas/crt/renew", "application/json", renewal(t, crt, key, newCSR(t, next, "host")))
		user.must(http.StatusNoContent, "PUT", d.http()+"/cas/crt/revoke", "application/json", revocation(t, crt, key))
		if _, _, err := user.crl(d, "cas"); err != nil {
			t.Error(err)
		}
		d.awaitReady(http.StatusOK)
	}
	user.must(http.StatusNoContent, "PUT", s.daemons[1].https()+"/cau/crt/revoke", "application/json", revokeSerial(userCrt.SerialNumber))

	old := s.daemons[0]
	old.stop(syscall.SIGTERM)
	old.start()
	if err := <-old.exited; err == nil || !strings.Contains(old.log.String(), "newer version of cauase") {
		t.Errorf("it starts on a newer layout: %v\n%s", err, old.log)
	}
	old.exited = nil
}
