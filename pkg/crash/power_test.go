package crash

import (
	"context"
	"crypto/x509"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"cauase/pkg/client"
	"cauase/pkg/pgtest"
	"cauase/pkg/pki"
	"cauase/pkg/testkit/pkitest"
	"cauase/pkg/testkit/powercut"
)

// cuts is how often the power is cut.
func cuts() int {
	if os.Getenv("CAUASE_CRASH") == "all" {
		return 50
	}
	return 3
}

// TestPowerCuts cuts the power of the disk that has the database, at any moment of a mixed load: what was written and not
// synced is lost in part. The daemon starts, everything that was acknowledged is there, and cauased manage check finds nothing.
func TestPowerCuts(t *testing.T) {
	t.Run("sqlite", func(t *testing.T) {
		at, disk := mounted(t)
		// With its key pair, too.
		outage{T: t, disk: disk, dir: at, database: filepath.Join(at, "cauase.sqlite"), off: func() {}, on: func() {}}.repeat(cuts())
	})
	t.Run("postgres", func(t *testing.T) {
		at, disk := mounted(t)
		c := pgtest.Start(t, pgtest.Options{Durable: true, Data: at})
		dsn := c.NewDatabase(t)
		check(t, disk.Sync()) // initdb syncs nothing
		outage{T: t, disk: disk, dir: t.TempDir(), database: dsn, off: func() { c.Kill(t) }, on: func() { c.Restart(t) }}.repeat(cuts())
	})
}

func mounted(t *testing.T) (at string, disk *powercut.Disk) {
	t.Helper()
	at = t.TempDir()
	for dir := at; len(dir) > len(os.TempDir()); dir = filepath.Dir(dir) {
		check(t, os.Chmod(dir, 0o755)) // PostgreSQL is run by somebody else
	}
	disk, err := powercut.Mount(at)
	switch {
	case err == nil:
		t.Cleanup(func() {
			if err := disk.Close(); err != nil {
				t.Error(err)
			}
		})
	case os.Getenv("CAUASE_REQUIRE_ALL") == "1" && os.Getenv("CAUASE_CRASH") != "":
		t.Fatalf("no file system can be mounted here: %v", err)
	default:
		t.Skipf("NOT TESTED: no file system can be mounted here (FUSE, as root): %v", err)
	}
	return at, disk
}

// An outage is a daemon whose power is cut.
type outage struct {
	*testing.T
	disk     *powercut.Disk
	dir      string
	database string
	off, on  func() // of the database's server
}

// acknowledged is what a daemon has said is done.
type acknowledged struct {
	mu      sync.Mutex
	issued  []*x509.Certificate
	revoked []*x509.Certificate
	count   chan struct{}
}

func (o outage) repeat(times int) {
	seed := rand.Uint64()
	o.Logf("the seed is %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	w := &world{dir: o.TempDir()}
	d := startDaemon(o, o.dir, o.database, "--service-max-csr", "100000")
	w.settle(o, d)
	done := &acknowledged{count: make(chan struct{}, 10_000)}
	for i := range times {
		ctx, cancel := context.WithCancel(o.Context())
		var workers sync.WaitGroup
		for range 3 {
			workers.Go(func() { o.work(ctx, w, d, done) })
		}
		for range 3 + random.IntN(40) {
			select {
			case <-done.count:
			case <-time.After(patience):
				o.Fatalf("nothing is acknowledged\n%s", d.log)
			}
		}
		time.Sleep(time.Duration(random.IntN(5000)) * time.Microsecond)
		check(o, o.disk.Cut())
		d.kill()
		o.off()
		cancel()
		workers.Wait()
		lost, err := o.disk.Return(random.Uint64())
		check(o, err)
		o.on()
		d.said(o)
		consistent(o, o.dir, o.database)
		d = startDaemon(o, o.dir, o.database, "--service-max-csr", "100000")
		o.verify(w, d, done)
		if o.Failed() {
			o.Fatalf("after %d cuts; %s sectors were lost", i+1, lost)
		}
		o.Logf("cut %d: %s sectors lost, %d certificates and %d revocations are there", i+1, lost, len(done.issued), len(done.revoked))
	}
	check(o, d.stop())
	consistent(o, o.dir, o.database)
}

// work lives lives of hosts until the power is cut.
func (o outage) work(ctx context.Context, w *world, d *daemon, done *acknowledged) {
	services := d.client(o, client.CAS)
	session, err := services.Connect(ctx, w.user, w.trusted, client.Caucase{})
	if err != nil {
		return
	}
	defer session.Close()
	note := func(to *[]*x509.Certificate, crt *x509.Certificate) {
		done.mu.Lock()
		defer done.mu.Unlock()
		*to = append(*to, crt)
		done.count <- struct{}{}
	}
	for n := 0; ; n++ {
		key := pkitest.Key(o)
		id, err := services.Submit(ctx, pkitest.NamedRequest(o, key, fmt.Sprint("host", n)))
		if err != nil || session.Approve(ctx, id, client.Approval{}) != nil {
			return
		}
		crt, err := services.Certificate(ctx, id)
		if err != nil {
			return
		}
		note(&done.issued, crt)
		next := pkitest.Key(o)
		if crt, err = services.Renew(ctx, crt, key, next, w.trusted); err != nil {
			return
		}
		note(&done.issued, crt)
		if n%3 == 0 {
			if services.Revoke(ctx, crt, next, client.Revoking{}) != nil {
				return
			}
			note(&done.revoked, crt)
		}
	}
}

func (o outage) verify(w *world, d *daemon, done *acknowledged) {
	o.Helper()
	for len(done.count) > 0 {
		<-done.count
	}
	session, err := d.client(o, client.CAS).Connect(o.Context(), w.user, w.trusted, client.Caucase{})
	check(o, err)
	defer session.Close()
	for _, crt := range done.issued[max(0, len(done.issued)-200):] {
		if _, _, err := session.OnRecord(o.Context(), crt.SerialNumber); err != nil {
			o.Errorf("certificate %v was acknowledged: %v", crt.SerialNumber, err)
		}
	}
	body, err := fetch(d.url() + "/cas/crl")
	check(o, err)
	list, err := pki.ParseCRLPEM(body)
	check(o, err)
	listed := map[string]bool{}
	for _, e := range list.RevokedCertificateEntries {
		listed[e.SerialNumber.String()] = true
	}
	for _, crt := range done.revoked {
		if !listed[crt.SerialNumber.String()] {
			o.Errorf("the revocation of %v was acknowledged", crt.SerialNumber)
		}
	}
}
