package cluster

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/Shopify/toxiproxy/v2"

	"cauase/pkg/pgtest"
	"cauase/pkg/testkit"
)

// A lane is a way to the database that can be made bad.
type lane struct {
	t     testing.TB
	proxy *toxiproxy.Proxy
}

func newLane(t testing.TB, c *pgtest.Cluster) *lane {
	t.Helper()
	server := quiet(toxiproxy.NewServer, toxiproxy.NewMetricsContainer(nil))
	p := toxiproxy.NewProxy(server, "database", fmt.Sprintf("127.0.0.1:%d", testkit.FreePorts(t, 1)), c.Address())
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Stop)
	return &lane{t, p}
}

// quiet makes a proxy's server whose logger, of a package that is none of ours, says nothing.
func quiet[M, L any](newServer func(M, L) *toxiproxy.ApiServer, m M) *toxiproxy.ApiServer {
	var silent L
	return newServer(m, silent)
}

// through is the address of a database by this way.
func (l *lane) through(dsn string) string {
	l.t.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		l.t.Fatal(err)
	}
	u.Host = l.proxy.Listen
	return u.String()
}

// bad makes the way bad, for one direction or both ("").
func (l *lane) bad(kind, stream, attributes string) {
	l.t.Helper()
	for _, s := range []string{"upstream", "downstream"} {
		if stream != "" && stream != s {
			continue
		}
		_, err := l.proxy.Toxics.AddToxicJson(strings.NewReader(
			fmt.Sprintf(`{"name": "%s_%s", "type": "%[1]s", "stream": "%[2]s", "attributes": %s}`, kind, s, attributes)))
		if err != nil {
			l.t.Fatal(err)
		}
	}
}

func (l *lane) good() { l.proxy.Toxics.ResetToxics(l.t.Context()) }

// cut ends every connection at once, at whatever point each is.
func (l *lane) cut() {
	l.t.Helper()
	l.proxy.Stop()
	if err := l.proxy.Start(); err != nil {
		l.t.Fatal(err)
	}
}

// TestBadNetwork: connections that are cut anywhere, slow, or half-open cost no acknowledged
// operation, and repeat none.
func TestBadNetwork(t *testing.T) {
	t.Parallel()
	c := pgtest.Start(t, pgtest.Options{})
	dsn := c.NewDatabase(t)
	way := newLane(t, c)
	s := newSite(t, way.through(dsn), 2, manyRequests...)
	s.dsn = dsn
	s.add().awaitReady(http.StatusOK) // one with a good network
	user, _ := becomeUser(t, s.daemons[0])
	l := startLoad(t, s, user, 6)
	l.until(60)
	recovered := func(what string) {
		t.Helper()
		begun := time.Now()
		for _, d := range s.daemons {
			d.awaitReady(http.StatusOK)
		}
		t.Logf("%s: all ready again after %v", what, time.Since(begun).Round(time.Millisecond))
		l.until(60)
	}
	t.Run("cut", func(t *testing.T) {
		for range 25 * soak() {
			way.cut()
			l.until(6)
		}
		recovered("cut")
	})
	t.Run("cut within messages", func(t *testing.T) {
		for i := range 12 * soak() {
			stream := []string{"upstream", "downstream"}[i%2]
			way.bad("limit_data", stream, fmt.Sprintf(`{"bytes": %d}`, 2000+1777*i)) // then it closes
			l.until(6)
			way.good()
		}
		recovered("cut within messages")
	})
	t.Run("slow", func(t *testing.T) {
		way.bad("latency", "", `{"latency": 20, "jitter": 20}`)
		l.until(60)
		way.good()
		recovered("slow")
	})
	t.Run("half-open", func(t *testing.T) {
		way.bad("timeout", "downstream", `{"timeout": 0}`) // what the database says does not arrive
		for _, d := range s.daemons[:2] {
			d.awaitReady(http.StatusServiceUnavailable)
		}
		l.until(30) // by the one with the good network: the others hold no lock for long
		way.good()
		way.cut()
		recovered("half-open")
	})
	t.Run("black hole", func(t *testing.T) {
		way.bad("timeout", "upstream", `{"timeout": 0}`) // what we say does not arrive
		for _, d := range s.daemons[:2] {
			d.awaitReady(http.StatusServiceUnavailable)
		}
		l.until(30)
		way.good()
		way.cut()
		recovered("black hole")
	})
	t.Run("frozen", func(t *testing.T) {
		for range 3 * soak() {
			frozen := s.daemons[0].cmd.Process
			if err := frozen.Signal(syscall.SIGSTOP); err != nil {
				t.Fatal(err)
			}
			<-time.After(4 * time.Second) // longer than the database lets it hold the lock that all wait for
			if err := frozen.Signal(syscall.SIGCONT); err != nil {
				t.Fatal(err)
			}
			l.until(20)
		}
		recovered("frozen")
	})
	l.stop()
	l.verify(c, databaseOf(t, dsn))
	if l.slowest > hung {
		t.Errorf("an answer took %v", l.slowest)
	}
}
