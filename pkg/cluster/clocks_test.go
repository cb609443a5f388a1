package cluster

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cauase/pkg/testkit"
)

// TestClocks sets the clock of one of two daemons, which are real processes with PostgreSQL in between: what docs/scaling.md
// tolerates is tolerated. With more, that daemon signs nothing and says why, the other goes on, and all is well again once
// the clock is right.
func TestClocks(t *testing.T) {
	t.Parallel()
	s := newSite(t, postgres(t).NewDatabase(t), 1)
	right := s.daemons[0]
	wrong := &daemon{t: t, site: s, dsn: s.dsn, port: testkit.FreePorts(t, 2), dir: t.TempDir(), clock: filepath.Join(t.TempDir(), "offset")}
	set := func(by time.Duration) {
		t.Helper()
		if err := os.WriteFile(wrong.clock+".new", []byte(by.String()), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(wrong.clock+".new", wrong.clock); err != nil {
			t.Fatal(err)
		}
	}
	set(0)
	s.daemons = append(s.daemons, wrong)
	wrong.start()
	wrong.awaitReady(http.StatusOK)
	user, _ := becomeUser(t, right)
	// A hundredth of 93 days is 22 hours and 19 minutes.
	set(22 * time.Hour)
	wrong.awaitReady(http.StatusOK)
	signs(t, user, wrong, http.StatusCreated)
	set(23 * time.Hour)
	wrong.awaitReady(http.StatusServiceUnavailable)
	if a, err := user.do("GET", wrong.http()+"/readyz", "", nil); err != nil || !bytes.Contains(a.body, []byte("clock failed")) {
		t.Errorf("/readyz says %s, %v", a.body, err)
	}
	signs(t, user, wrong, http.StatusServiceUnavailable)
	signs(t, user, right, http.StatusCreated)
	right.awaitReady(http.StatusOK)
	set(0)
	wrong.awaitReady(http.StatusOK)
	signs(t, user, wrong, http.StatusCreated)
	// One that is behind cannot be asked, as connections end by the machine's clock, but says so.
	says := func(text string, times int) {
		t.Helper()
		until(t, text, func() error {
			if n := strings.Count(wrong.log.String(), text); n < times {
				return fmt.Errorf("said %d times", n)
			}
			return nil
		})
	}
	set(-23 * time.Hour)
	says("nothing is signed here until the clocks agree", 2)
	signs(t, user, right, http.StatusCreated)
	set(0)
	says("the clocks agree again", 2)
	wrong.awaitReady(http.StatusOK)
	signs(t, user, wrong, http.StatusCreated)
}

// signs hands in a request at a daemon, and has it signed if it is taken.
func signs(t *testing.T, user *client, d *daemon, status int) {
	t.Helper()
	a := user.must(status, "PUT", d.http()+"/cas/csr", "application/pkcs10", newCSR(t, newKey(t), "host"))
	if status == http.StatusCreated {
		user.must(http.StatusNoContent, "PUT", d.https()+"/cas/crt/"+a.header.Get("Location"), "", nil)
	}
}
