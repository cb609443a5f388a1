package cluster

import (
	"net/http"
	"syscall"
	"testing"
)

// TestDaemonsDie kills daemons under load, one after the other and all at once: what they had
// acknowledged is there, and what they held keeps nobody waiting.
func TestDaemonsDie(t *testing.T) {
	t.Parallel()
	c := postgres(t)
	dsn := c.NewDatabase(t)
	s := newSite(t, dsn, 3, manyRequests...)
	user, _ := becomeUser(t, s.daemons[0])
	l := startLoad(t, s, user, 6)
	for i := range 9 * int(soak()) {
		d := s.daemons[i%3]
		l.until(10)
		d.stop(syscall.SIGKILL)
		l.until(10)
		d.start()
		d.awaitReady(http.StatusOK)
	}
	for range 2 * soak() {
		l.until(10)
		s.each(func(_ int, d *daemon) { d.stop(syscall.SIGKILL) })
		for _, d := range s.daemons {
			d.start()
		}
		for _, d := range s.daemons {
			d.awaitReady(http.StatusOK)
		}
	}
	l.until(30)
	l.stop()
	l.listsGone = 0 // a dead daemon serves none
	l.verify(c, databaseOf(t, dsn))
}
