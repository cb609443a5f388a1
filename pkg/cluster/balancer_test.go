package cluster

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"cauase/pkg/pgtest"
	"cauase/pkg/testkit"
)

// balance starts HAProxy at the site's netloc, as docs/scaling.md shows it.
func (s *site) balance(t *testing.T) *daemon {
	t.Helper()
	haproxy := testkit.Need(t, "haproxy", "haproxy")
	page, err := os.ReadFile("../../docs/scaling.md")
	if err != nil {
		t.Fatal(err)
	}
	_, config, _ := strings.Cut(string(page), "```haproxy config\n")
	config, _, found := strings.Cut(config, "```")
	if !found {
		t.Fatal("docs/scaling.md has no configuration for HAProxy")
	}
	_, port, _ := strings.Cut(s.netloc, ":")
	front := &daemon{t: t, site: s}
	if _, err := fmt.Sscan(port, &front.port); err != nil {
		t.Fatal(err)
	}
	replace := []string{"bind :8009", fmt.Sprintf("bind 127.0.0.1:%d", front.port), "bind :8010", fmt.Sprintf("bind 127.0.0.1:%d", front.port+1)}
	for i, d := range s.daemons {
		host := fmt.Sprintf("ca%d.internal:", i+1)
		replace = append(replace,
			host+"8009 check port 8009", fmt.Sprintf("127.0.0.1:%d check port %d", d.port, d.port),
			host+"8010 check port 8009", fmt.Sprintf("127.0.0.1:%d check port %d", d.port+1, d.port))
	}
	path := filepath.Join(t.TempDir(), "haproxy.cfg")
	if err := os.WriteFile(path, []byte(strings.NewReplacer(replace...).Replace(config)), 0o600); err != nil {
		t.Fatal(err)
	}
	log := &testkit.Buffer{}
	cmd := exec.Command(haproxy, "-db", "-f", path)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait() // it was told to end
		if t.Failed() {
			t.Logf("haproxy said:\n%s", log)
		}
	})
	front.exited = make(chan error, 1)
	front.log = log
	front.awaitReady(http.StatusOK)
	return front
}

// TestBalancer runs the topology of the manual: daemons behind HAProxy die, lose the database, and
// all lose it. Who asks the balancer hardly notices.
func TestBalancer(t *testing.T) {
	t.Parallel()
	c := pgtest.Start(t, pgtest.Options{})
	dsn := c.NewDatabase(t)
	way := newLane(t, c)
	s := newSite(t, way.through(dsn), 1, manyRequests...)
	s.dsn = dsn
	s.add()
	s.add()
	for _, d := range s.daemons {
		d.awaitReady(http.StatusOK)
	}
	front := s.balance(t)
	user, _ := becomeUser(t, front)
	if issuer := front.certificate().PeerCertificates[1]; !issuer.Equal(s.daemons[0].certificate().PeerCertificates[1]) {
		t.Error("another HTTPS CA behind the balancer")
	}

	// The load sees the balancer as the one daemon.
	behind := *s
	behind.daemons = []*daemon{front}
	const workers = 4
	l := startLoad(t, &behind, user, workers)
	l.until(60)

	s.daemons[2].stop(syscall.SIGKILL)
	l.until(60)
	s.daemons[2].start()
	s.daemons[2].awaitReady(http.StatusOK)

	// An upgrade: one after the other.
	silent, away := l.silent.Load(), l.away.Load()
	for _, d := range s.daemons {
		d.stop(syscall.SIGTERM)
		d.start()
		d.awaitReady(http.StatusOK)
		l.until(30)
	}
	// What is under way is answered. Only a request that goes out over an idle connection in the
	// moment in which it is closed is not, and there are as many of those as workers.
	silent, away = l.silent.Load()-silent, l.away.Load()-away
	if most := int64(workers+1) * int64(len(s.daemons)); silent > most || away > 0 {
		t.Errorf("while daemons were restarted one by one, %d requests had no answer and %d were told to come back", silent, away)
	}

	way.bad("timeout", "", `{"timeout": 0}`) // the first daemon alone
	s.daemons[0].awaitReady(http.StatusServiceUnavailable)
	until(t, "nobody is sent to the daemon without a database", func() error {
		for range 20 {
			a, err := user.do("GET", front.https()+"/cas/csr", "", nil)
			if err != nil || a.status != http.StatusOK {
				return fmt.Errorf("%d %w", a.status, err)
			}
		}
		return nil
	})
	l.until(60)
	way.good()
	way.cut()
	s.daemons[0].awaitReady(http.StatusOK)

	c.Stop(t)
	for _, d := range s.daemons {
		d.awaitReady(http.StatusServiceUnavailable)
	}
	until(t, "the balancer serves what is in memory", func() error {
		for _, path := range []string{"/cas/crl", "/cau/crl", "/cas/crt/ca.crt.pem", "/cas/crt/ca.crt.json"} {
			if a, err := user.do("GET", front.https()+path, "", nil); err != nil || a.status != http.StatusOK {
				return fmt.Errorf("%s: %d %w", path, a.status, err)
			}
		}
		if a, err := user.do("GET", front.https()+"/cas/csr", "", nil); err != nil || a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") == "" {
			return errors.Join(fmt.Errorf("%d without the database", a.status), err)
		}
		return nil
	})
	begun := time.Now()
	c.Restart(t)
	l.until(60)
	t.Logf("60 operations %v after the database came back", time.Since(begun).Round(time.Millisecond))
	l.stop()
	l.listsGone = 0 // a connection may be cut while a list is fetched, and is not tried again
	l.verify(c, databaseOf(t, dsn))
}
