package daemon

import (
	"context"
	"math/big"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/ca"
	"cauase/pkg/clock"
	"cauase/pkg/store"
)

// following is a daemon that keeps up, and answers nobody, in a bubble where time passes only while nothing else happens.
func following(t *testing.T) (d *Daemon, services *ca.Authority) {
	t.Helper()
	d, err := Start(t.Context(), testConfig(t, t.TempDir()), clock.System(), discard())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	followed := d.follow(ctx)
	t.Cleanup(func() {
		cancel()
		<-followed
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	services, ok := d.Authority(store.Services)
	if !ok {
		t.Fatal("no authority for services")
	}
	return d, services
}

// newestList returns the number of the newest list on record, and how many have been made.
func (d *Daemon) newestList(t *testing.T) (number int64, made int) {
	t.Helper()
	err := d.store.View(t.Context(), func(r store.Reader) error {
		cas, err := r.CAs(t.Context(), store.Services)
		if err != nil {
			return err
		}
		list, err := r.CRL(t.Context(), store.Services, cas[0].ID)
		number = list.Number
		if err != nil {
			return err
		}
		return r.Audit(t.Context(), audit.Filter{}, func(e audit.Entry) error {
			if e.Action == audit.MakeCRL && e.Authority == string(store.Services) {
				made++
			}
			return nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return number, made
}

func revokeSerial(t *testing.T, a *ca.Authority, serial int64) {
	t.Helper()
	operator := audit.Actor{Kind: audit.Operator}
	if err := a.RevokeSerial(t.Context(), operator, big.NewInt(serial), ca.Revoking{}); err != nil {
		t.Error(err)
	}
}

// The first list is made when the daemon starts, and the next one when something is revoked, although nobody asks for any.
func TestListsAreMadeBeforeAnybodyAsks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, services := following(t)
		synctest.Wait()
		begun := time.Now()
		first, _ := d.newestList(t)
		for i := range int64(5) {
			revokeSerial(t, services, 1000+i)
			synctest.Wait()
			if number, _ := d.newestList(t); number != first+i+1 {
				t.Errorf("list %d is the newest after %d revocations, want %d", number, i+1, first+i+1)
			}
		}
		if waited := time.Since(begun); waited > 0 {
			t.Errorf("the lists were there after %v", waited)
		}
	})
}

// Of thousands of revocations not each has a list made.
func TestListsOfManyRevocations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const many = 300
		d, services := following(t)
		synctest.Wait()
		number, before := d.newestList(t)
		var running sync.WaitGroup
		for i := range int64(many) {
			running.Go(func() { revokeSerial(t, services, 1000+i) })
			if i%10 == 0 {
				synctest.Wait()
			}
		}
		running.Wait()
		synctest.Wait()
		if _, made := d.newestList(t); made-before > 12 {
			t.Errorf("%d lists were made at once for %d revocations", made-before, many)
		}
		time.Sleep(2 * pollInterval)
		if got, _ := d.newestList(t); got != number+many {
			t.Errorf("list %d is the newest after %d revocations, want %d", got, many, number+many)
		}
	})
}
