package endtoend

import (
	"bytes"
	"database/sql"
	"errors"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"cauase/pkg/audit"
	"cauase/pkg/client"
	"cauase/pkg/pki"
	"cauase/pkg/store"
	"cauase/pkg/store/sqlstore"
)

func (c *crashTest) get(path string) (int, []byte) {
	c.t.Helper()
	resp, err := http.Get("http://" + c.netloc + path)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return resp.StatusCode, body
}

func (c *crashTest) list(authority string) []byte {
	c.t.Helper()
	status, body := c.get("/" + authority + "/crl")
	if status != http.StatusOK {
		c.t.Fatalf("GET /%s/crl: %d", authority, status)
	}
	return body
}

// checkLists makes sure that the list of services holds every revocation that was
// acknowledged, and that the list of users has not changed.
func (c *crashTest) checkLists() {
	c.t.Helper()
	users := c.list("cau")
	if c.users != nil && !bytes.Equal(c.users, users) {
		c.t.Error("the users' revocation list has changed, and nothing has happened there")
	}
	c.users = users
	crl := c.sawList(c.list("cas"))
	if crl == nil {
		return
	}
	listed := map[string]bool{}
	for _, entry := range crl.RevokedCertificateEntries {
		listed[entry.SerialNumber.String()] = true
	}
	for serial := range c.revoked {
		if !listed[serial] {
			c.t.Errorf("revocation of serial %s was acknowledged and is lost", serial)
		}
	}
}

// checkAcknowledged asks the daemon for everything it said it has.
func (c *crashTest) checkAcknowledged() {
	c.t.Helper()
	for id, pem := range c.submitted {
		status, body := c.get("/cas/csr/" + id.String())
		switch {
		case c.rejected[id]:
			if status != http.StatusNotFound {
				c.t.Errorf("request %s was rejected and is back: %d", id, status)
			}
			continue
		case status == http.StatusNotFound && !c.undecided(id):
			c.t.Errorf("request %s was acknowledged and is lost", id)
		case status == http.StatusOK && !bytes.Equal(body, pem):
			c.t.Errorf("request %s has changed", id)
		}
		if !c.signed[id] {
			continue
		}
		if status, body := c.get("/cas/crt/" + id.String()); status != http.StatusOK {
			c.t.Errorf("certificate %s was acknowledged and is lost: %d", id, status)
		} else if _, err := pki.ParseCertificatePEM(body); err != nil {
			c.t.Errorf("certificate %s: %v", id, err)
		}
	}
}

// undecided reports whether the rejection of a request may have been under way when the
// daemon was killed, so that it may be there or not.
func (c *crashTest) undecided(id client.ID) bool { return c.rejecting[id] && !c.rejected[id] }

// checkDatabase checks what a client cannot see: that the file is intact, and that every
// change is in the audit log, once, and that every such entry is about a change.
func (c *crashTest) checkDatabase() {
	path := filepath.Join(c.dir, "cauase.sqlite")
	checkIntegrity(c.t, path)
	db, err := sqlstore.Open(c.t.Context(), path, sqlstore.Options{})
	if err != nil {
		c.t.Fatal(err)
	}
	defer db.Close()
	ctx := c.t.Context()
	var certificates []store.Certificate
	var pending []store.Request
	var revocations []store.Revocation
	logged := map[audit.Action]map[string]int{}
	err = db.View(ctx, func(r store.Reader) (err error) {
		if certificates, err = r.Certificates(ctx, store.Services, 0, 0); err != nil {
			return err
		}
		if pending, err = r.Requests(ctx, store.Services, 0); err != nil {
			return err
		}
		if revocations, err = r.Revocations(ctx, store.Services, 0, 0); err != nil {
			return err
		}
		return r.Audit(ctx, audit.Filter{Authority: string(store.Services)}, func(e audit.Entry) error {
			if logged[e.Action] == nil {
				logged[e.Action] = map[string]int{}
			}
			if e.Result == audit.OK {
				logged[e.Action][e.Object.String()]++
			}
			return nil
		})
	})
	if err != nil {
		c.t.Fatal(err)
	}
	once := func(action audit.Action, object string) {
		if n := logged[action][object]; n != 1 {
			c.t.Errorf("%s %s is %d times in the audit log", action, object, n)
		}
	}
	serials, lineages := map[string]bool{}, map[string]int64{}
	for _, crt := range certificates {
		action := audit.Sign
		if crt.Renews != nil {
			action = audit.Renew
		}
		once(action, audit.CertificateObject(crt.ID, crt.Serial).String())
		serials[crt.Serial.String()] = true
		lineages[crt.Serial.String()] = crt.Lineage
	}
	for _, crt := range c.renewed {
		if !serials[crt.SerialNumber.String()] {
			c.t.Errorf("renewed certificate %v was acknowledged and is lost", crt.SerialNumber)
		}
	}
	revoked := 0
	for _, rev := range revocations {
		object := audit.SerialObject(rev.Serial).String()
		if logged[audit.Revoke][object] == 0 { // it was revoked with its lineage
			once(audit.EndLineage, audit.LineageObject(lineages[rev.Serial.String()]).String())
			continue
		}
		once(audit.Revoke, object)
		revoked++
	}
	for id := range c.submitted {
		once(audit.Submit, "csr "+id.String())
	}
	for id := range c.rejected {
		once(audit.Reject, "csr "+id.String())
	}
	if a, b := len(logged[audit.Sign])+len(logged[audit.Renew]), len(certificates); a != b {
		c.t.Errorf("%d issuances in the audit log, %d certificates on record", a, b)
	}
	if a, b := len(logged[audit.Revoke]), revoked; a != b {
		c.t.Errorf("%d revocations in the audit log, %d on record", a, b)
	}
	if a, b := len(logged[audit.Submit]), len(pending)+len(logged[audit.Sign])+len(logged[audit.Reject]); a != b {
		c.t.Errorf("%d requests in the audit log, %d pending or decided on", a, b)
	}
}

// checkIntegrity has SQLite look at all of a database, with its own tool if that is
// there, which shares no code with us.
func checkIntegrity(t *testing.T, path string) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, pragma := range []string{"integrity_check", "foreign_key_check"} {
		var result string
		err := db.QueryRow("PRAGMA " + pragma).Scan(&result)
		if pragma == "foreign_key_check" && errors.Is(err, sql.ErrNoRows) {
			continue
		}
		if err != nil || result != "ok" {
			t.Errorf("%s: %s %v", pragma, result, err)
		}
	}
	switch have, err := haveTool("sqlite3"); {
	case err != nil:
		t.Error(err)
	case !have:
		t.Log("NOT TESTED: sqlite3 is not installed, so that only our own SQLite has looked at the database")
	default:
		out, err := exec.Command("sqlite3", path, "PRAGMA integrity_check").CombinedOutput()
		if err != nil || strings.TrimSpace(string(out)) != "ok" {
			t.Errorf("sqlite3 integrity_check: %v: %s", err, out)
		}
	}
}
