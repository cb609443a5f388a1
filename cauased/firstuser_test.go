package main

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/ca"
	"cauase/pkg/ca/catest"
	"cauase/pkg/pki"
	"cauase/pkg/store"
	"cauase/pkg/testkit"
	"cauase/pkg/testkit/pkitest"
)

func userRequest(t *testing.T, cn string) *pki.Request {
	t.Helper()
	return pkitest.ParsedRequest(t, pkitest.Key(t), &x509.CertificateRequest{Subject: pkix.Name{CommonName: cn}})
}

// poll submits a request, as whoever wants to be first would do again and again, and reports whether it was signed.
func poll(t *testing.T, users *ca.Authority, req *pki.Request) (id int64, signed bool) {
	t.Helper()
	got, err := users.Submit(t.Context(), audit.Actor{Kind: audit.Anonymous, Address: "192.0.2.66"}, req, ca.Asked{})
	if err != nil && !errors.Is(err, ca.ErrTooManyPending) {
		t.Fatal(err)
	}
	return got.ID, got.Issued != nil
}

// By default nobody is approved for having come first.
func TestAStrangerWhoPollsGetsTheFirstUsersApproval(t *testing.T) {
	dir := t.TempDir()
	r := launch(t, testConfig(t, dir), testTime())
	users := catest.Named(t, r, store.Users)
	for n := range 60 {
		if _, signed := poll(t, users, userRequest(t, fmt.Sprint("mallory", n))); signed {
			t.Fatal("a stranger is the first user")
		}
	}
	// As full as the list is of strangers' requests, the invitation makes the first user.
	if names := testkit.Files(t, dir); !strings.Contains(strings.Join(names, " "), firstUserFile) {
		t.Errorf("no invitation: %v", names)
	}
}

// Whoever polls while nobody can log in does not become a user by what the operator does about that.
func TestAStrangerWhoPollsGetsTheRecoverysApproval(t *testing.T) {
	db := lived(t)
	r := launch(t, testConfig(t, filepath.Dir(db)), time.Now()) // of which the only user has lost the key
	users := catest.Named(t, r, store.Users)
	strangers := map[int64]*pki.Request{}
	sweep := func() {
		t.Helper()
		for n := range 3 {
			req := userRequest(t, fmt.Sprint("mallory", n))
			id, signed := poll(t, users, req)
			if signed {
				t.Fatal("a stranger is a user")
			}
			strangers[id] = req
		}
		for _, req := range strangers {
			if _, signed := poll(t, users, req); signed {
				t.Fatal("a stranger is a user")
			}
		}
	}
	sweep()
	bob := userRequest(t, "bob")
	id, _ := poll(t, users, bob)
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	testkit.CheckJSON(t, jsonPage, "list of request for operators", manages(t, "approve", "--json", "--db", db))
	if out := manages(t, "approve", "--db", db, fmt.Sprint(id)); !strings.Contains(out, "cau: signed") || !strings.Contains(out, "CN=bob") {
		t.Error(out)
	}
	made := manages(t, "invite", "--json", "--db", db, "--authority", "cau", "--cn", "carol", "--ttl", "1h")
	testkit.CheckJSON(t, jsonPage, "invitation of an operator", made)
	var invitation invitationJSON
	if err := json.Unmarshal([]byte(made), &invitation); err != nil || !strings.HasPrefix(invitation.Invitation, "cauase") {
		t.Errorf("%v: %s", err, made)
	}
	testkit.CheckJSON(t, jsonPage, "list of recorded invitation", manages(t, "invite", "--json", "--list", "--db", db, "--authority", "cau"))
	testkit.CheckJSON(t, jsonPage, "list of withdrawn invitation", manages(t, "invite", "--json", "--void", invitation.ID, "--db", db, "--authority", "cau"))
	manages(t, "invite", "--db", db, "--authority", "cau", "--cn", "carol", "--ttl", "1h")
	r = launch(t, testConfig(t, filepath.Dir(db)), time.Now())
	users = catest.Named(t, r, store.Users)
	sweep()
	if _, signed := poll(t, users, bob); !signed {
		t.Error("the operator's own is not signed")
	}
}

// The operator's approval counts like a user's: it leaves nobody without a place in the backups either.
func TestManageApproveKeepsToTheNumberOfUsers(t *testing.T) {
	dir := t.TempDir()
	db := filepath.Join(dir, "db.sqlite")
	r := launch(t, testConfig(t, dir, "--user-max", "1"), time.Now())
	users := catest.Named(t, r, store.Users)
	first, _ := poll(t, users, userRequest(t, "alice"))
	second, _ := poll(t, users, userRequest(t, "bob"))
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	testkit.CheckJSON(t, jsonPage, "request for operators", manages(t, "approve", "--json", "--db", db, fmt.Sprint(first)))
	if stdout, stderr, code := manageCommand(t.Context(), "approve", "--db", db, fmt.Sprint(second)); code != 1 || !strings.Contains(stderr, "as many users as may be") {
		t.Error(code, stdout, stderr)
	}
}
