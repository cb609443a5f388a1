package cluster

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// TestPooler puts pgbouncer between daemons and database: in session mode all is as without, in the others
// a daemon does not start, and says why.
func TestPooler(t *testing.T) {
	t.Parallel()
	c := postgres(t)
	dsn := c.NewDatabase(t)
	direct := newSite(t, dsn, 1, manyRequests...)
	s := newSite(t, c.PgBouncer(t, "session").Through(t, dsn), 2, manyRequests...)
	user, _ := becomeUser(t, direct.daemons[0])
	l := startLoad(t, s, user, 4)
	l.until(100)
	l.stop()
	l.verify(c, databaseOf(t, dsn))
	user.must(http.StatusNoContent, "PUT", s.daemons[0].https()+"/cas/crt/revoke", "application/json", []byte(`{"payload": "{\"revoke_serial\": 4711}", "digest": null}`))
	for _, d := range append(s.daemons, direct.daemons...) {
		_, list, err := user.crl(d, "cas")
		if err != nil || list.RevokedCertificateEntries[len(list.RevokedCertificateEntries)-1].SerialNumber.Int64() != 4711 {
			t.Errorf("the list of the daemon on port %d lacks the revocation: %v", d.port, err)
		}
	}

	for _, mode := range []string{"transaction", "statement"} {
		wrong := &site{t: t, netloc: s.netloc, dsn: c.PgBouncer(t, mode).Through(t, dsn)}
		d := wrong.add()
		err := <-d.exited
		d.exited = nil
		if err == nil || !strings.Contains(d.log.String(), "pool") {
			t.Errorf("in %s mode: %v", mode, fmt.Sprint(err, "\n", d.log))
		}
	}
}
