package storetest

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"

	"cauase/pkg/audit"
	"cauase/pkg/store"
)

var errMine = errors.New("mine")

func testNotFound(t *testing.T, d *db) {
	ask := func(ctx context.Context, r store.Reader) error {
		_, err := r.Request(ctx, store.Services, 1)
		is(t, "Request", err, store.ErrNotFound)
		_, err = r.RequestByDigest(ctx, store.Services, nil)
		is(t, "RequestByDigest", err, store.ErrNotFound)
		_, err = r.Certificate(ctx, store.Services, 1)
		is(t, "Certificate", err, store.ErrNotFound)
		_, err = r.CertificateBySerial(ctx, store.Services, serial(1))
		is(t, "CertificateBySerial", err, store.ErrNotFound)
		_, err = r.CertificateByCSR(ctx, store.Services, nil)
		is(t, "CertificateByCSR", err, store.ErrNotFound)
		_, err = r.RenewalByCSR(ctx, store.Services, id20('d', 1), serial(1))
		is(t, "RenewalByCSR", err, store.ErrNotFound)
		_, err = r.Lineage(ctx, store.Services, 1)
		is(t, "Lineage", err, store.ErrNotFound)
		_, err = r.LineageOf(ctx, store.Services, serial(1))
		is(t, "LineageOf", err, store.ErrNotFound)
		_, err = r.Revocation(ctx, store.Services, serial(1))
		is(t, "Revocation", err, store.ErrNotFound)
		_, err = r.CRL(ctx, store.Services, 1)
		is(t, "CRL", err, store.ErrNotFound)
		_, err = r.Setting(ctx, store.Services, "x")
		is(t, "Setting", err, store.ErrNotFound)
		cas, err := r.CAs(ctx, store.Services)
		same(t, "CAs", len(cas), 0)
		is(t, "CAs", err, nil)
		n, err := r.Counter(ctx, store.Services, "x")
		same(t, "Counter", n, int64(0))
		is(t, "Counter", err, nil)
		return nil
	}
	d.view(ask)
	d.update(func(ctx context.Context, tx store.Tx) error { return ask(ctx, tx) })
}

func testNoAuthority(t *testing.T, d *db) {
	caID := d.ca(store.Services)
	for name, add := range map[string]func(context.Context, store.Tx) error{
		"CA":      func(ctx context.Context, tx store.Tx) error { _, err := tx.AddCA(ctx, newCA("", 1)); return err },
		"request": func(ctx context.Context, tx store.Tx) error { return tx.AddRequest(ctx, newRequest("", 1)) },
		"lineage": func(ctx context.Context, tx store.Tx) error { return tx.AddLineage(ctx, newLineage("", 1), nil) },
		"certificate": func(ctx context.Context, tx store.Tx) error {
			return tx.AddCertificate(ctx, newCertificate("", caID, 1))
		},
		"revocation": func(ctx context.Context, tx store.Tx) error {
			_, err := tx.AddRevocation(ctx, newRevocation("", 1))
			return err
		},
	} {
		if err := d.Update(t.Context(), func(tx store.Tx) error { return add(t.Context(), tx) }); err == nil {
			t.Errorf("a %s without an authority was stored", name)
		}
	}
}

// writeAll changes something of every kind.
func writeAll(ctx context.Context, tx store.Tx) error {
	caID, err := tx.AddCA(ctx, newCA(store.Services, 1))
	if err != nil {
		return err
	}
	if _, err := tx.AddRevocation(ctx, newRevocation(store.Services, 1)); err != nil {
		return err
	}
	if _, err := tx.AddCounter(ctx, store.Services, store.CounterCRLNumber, 1); err != nil {
		return err
	}
	return errors.Join(
		tx.EraseCAKey(ctx, store.Services, caID, store.CAErased),
		tx.AddRequest(ctx, newRequest(store.Services, 1)),
		tx.AddLineage(ctx, newLineage(store.Services, 1), newNames(1)),
		tx.AddCertificate(ctx, newCertificate(store.Services, caID, 1)),
		tx.PutCRL(ctx, store.CRL{Authority: store.Services, CAID: caID}),
		tx.PutSetting(ctx, store.Services, "x", "y"),
		tx.AppendAudit(ctx, newEntry(1)),
	)
}

// contents puts into words how much there is, to compare before and after.
func (d *db) contents() (words string) {
	d.t.Helper()
	d.view(func(ctx context.Context, r store.Reader) error {
		cas, err1 := r.CAs(ctx, store.Services)
		requests, err2 := r.CountRequests(ctx, store.Services)
		lineages, err7 := r.Lineages(ctx, store.Services, store.LineagePage{}, 0)
		certificates, err3 := r.Certificates(ctx, store.Services, 0, 1000)
		revocations, err4 := r.CountRevocations(ctx, store.Services)
		counter, err5 := r.Counter(ctx, store.Services, store.CounterCRLNumber)
		setting, _ := r.Setting(ctx, store.Services, "x")
		entries := 0
		err6 := r.Audit(ctx, audit.Filter{}, func(audit.Entry) error { entries++; return nil })
		words = fmt.Sprintf("%d lineages, %d CAs, %d requests, %d certificates, %d revocations, counter %d, setting %q, %d entries",
			len(lineages), len(cas), requests, len(certificates), revocations, counter, setting, entries)
		return errors.Join(err1, err2, err3, err4, err5, err6, err7)
	})
	return words
}

func testRollback(t *testing.T, d *db) {
	before := d.contents()
	err := d.Update(t.Context(), func(tx store.Tx) error {
		return errors.Join(writeAll(t.Context(), tx), errMine)
	})
	is(t, "Update", err, errMine)
	same(t, "contents", d.contents(), before)
	d.update(writeAll)
	if d.contents() == before {
		t.Error("writeAll writes nothing")
	}
}

func testPanic(t *testing.T, d *db) {
	before := d.contents()
	for name, fn := range map[string]func(){
		"a value":     func() { panic("oops") },
		"a nil deref": func() { var p *store.CA; _ = p.ID },
		"nil":         func() { panic(nil) },
	} {
		err := d.Update(t.Context(), func(tx store.Tx) error {
			if err := writeAll(t.Context(), tx); err != nil {
				return err
			}
			fn()
			return nil
		})
		if err == nil {
			t.Errorf("Update after panic with %s: no error", name)
		}
		if err := d.View(t.Context(), func(store.Reader) error { fn(); return nil }); err == nil {
			t.Errorf("View after panic with %s: no error", name)
		}
		same(t, "contents", d.contents(), before)
	}
	// One that ends its goroutine, as FailNow of package testing does.
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = d.Update(t.Context(), func(tx store.Tx) error {
			_ = writeAll(t.Context(), tx)
			runtime.Goexit()
			return nil
		})
	}()
	<-ended
	same(t, "contents", d.contents(), before)
	d.update(writeAll)
}

// An error that fn can deal with must not spoil what else it does.
func testGoOn(t *testing.T, d *db) {
	d.update(writeAll)
	d.update(func(ctx context.Context, tx store.Tx) error {
		caID := int64(1)
		if cas, err := tx.CAs(ctx, store.Services); err == nil {
			caID = cas[0].ID
		}
		is(t, "request", tx.AddRequest(ctx, newRequest(store.Services, 1)), store.ErrExists)
		is(t, "certificate", tx.AddCertificate(ctx, newCertificate(store.Services, caID, 1)), store.ErrExists)
		_, err := tx.AddRevocation(ctx, newRevocation(store.Services, 1))
		is(t, "revocation", err, store.ErrExists)
		is(t, "deletion", tx.DeleteRequest(ctx, store.Services, 99), store.ErrNotFound)
		return tx.AppendAudit(ctx, newEntry(2))
	})
	if got := d.contents(); !strings.HasSuffix(got, "1 revocations, counter 1, setting \"y\", 2 entries") {
		t.Error(got)
	}
}

func testOwnWrites(t *testing.T, d *db) {
	d.update(func(ctx context.Context, tx store.Tx) error {
		if err := writeAll(ctx, tx); err != nil {
			return err
		}
		_, err := tx.CertificateBySerial(ctx, store.Services, serial(1))
		is(t, "its certificate", err, nil)
		inUse, err := tx.KeyInUse(ctx, store.Services, id20('q', 1))
		same(t, "its key", inUse, true)
		// Nobody else does.
		d.view(func(ctx context.Context, r store.Reader) error {
			_, err := r.CertificateBySerial(ctx, store.Services, serial(1))
			is(t, "its certificate, seen by others", err, store.ErrNotFound)
			return nil
		})
		return err
	})
}

func testSnapshot(t *testing.T, d *db) {
	d.view(func(ctx context.Context, r store.Reader) error {
		before, err := r.Counter(ctx, store.Services, store.CounterCRLNumber)
		if err != nil {
			return err
		}
		d.update(writeAll) // neither waits for the other
		after, err := r.Counter(ctx, store.Services, store.CounterCRLNumber)
		if err != nil {
			return err
		}
		same(t, "a counter, read again", after, before)
		n, err := r.CountRevocations(ctx, store.Services)
		same(t, "revocations that came later", n, 0)
		return err
	})
	d.view(func(ctx context.Context, r store.Reader) error {
		n, err := r.CountRevocations(ctx, store.Services)
		same(t, "revocations seen by the next View", n, 1)
		return err
	})
}

// Each Update reads a counter and sets it to one more: if two overlapped, some would be lost.
// Readers meanwhile see counter and setting change together or not at all.
func testSerial(t *testing.T, d *db) {
	const writers, readers, rounds = 8, 4, 25
	ctx := t.Context()
	var group, reading sync.WaitGroup
	done := make(chan struct{})
	for range writers {
		group.Go(func() {
			for range rounds {
				err := d.Update(ctx, func(tx store.Tx) error {
					n, err := tx.Counter(ctx, store.Services, "n")
					if err != nil {
						return err
					}
					if _, err = tx.AddCounter(ctx, store.Services, "n", 1); err != nil {
						return err
					}
					return tx.PutSetting(ctx, store.Services, "n", fmt.Sprint(n+1))
				})
				if err != nil {
					t.Errorf("Update: %v", err)
				}
			}
		})
	}
	for range readers {
		reading.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				err := d.View(ctx, func(r store.Reader) error {
					n, err := r.Counter(ctx, store.Services, "n")
					if err != nil || n == 0 {
						return err
					}
					s, err := r.Setting(ctx, store.Services, "n")
					same(t, "setting", s, fmt.Sprint(n))
					return err
				})
				if err != nil {
					t.Errorf("View: %v", err)
				}
			}
		})
	}
	group.Wait()
	close(done)
	reading.Wait()
	d.view(func(ctx context.Context, r store.Reader) error {
		n, err := r.Counter(ctx, store.Services, "n")
		same(t, "counter", n, int64(writers*rounds))
		return err
	})
}

// Updates run side by side; every third fails in one way or the other after it has written.
func testNeighbours(t *testing.T, d *db) {
	const count = 60
	ctx := t.Context()
	caID := d.ca(store.Services)
	var group sync.WaitGroup
	for n := range count {
		group.Go(func() {
			err := d.Update(ctx, func(tx store.Tx) error {
				if err := tx.AddCertificate(ctx, newCertificate(store.Services, caID, n)); err != nil {
					return err
				}
				switch n % 6 {
				case 0:
					return errMine
				case 3:
					panic("oops")
				}
				return nil
			})
			if (err != nil) != (n%3 == 0) {
				t.Errorf("Update %d: %v", n, err)
			}
		})
	}
	group.Wait()
	d.view(func(ctx context.Context, r store.Reader) error {
		for n := range count {
			_, err := r.CertificateBySerial(ctx, store.Services, serial(n))
			if found := err == nil; found != (n%3 != 0) {
				t.Errorf("certificate %d: %v", n, err)
			}
		}
		return nil
	})
}

func testKept(t *testing.T, d *db) {
	var kept store.Reader
	var keptTx store.Tx
	d.view(func(_ context.Context, r store.Reader) error { kept = r; return nil })
	d.update(func(_ context.Context, tx store.Tx) error { keptTx = tx; return nil })
	if _, err := kept.Counter(t.Context(), store.Services, "n"); err == nil {
		t.Error("a Reader works after its View")
	}
	if _, err := keptTx.AddCounter(t.Context(), store.Services, "n", 1); err == nil {
		t.Error("a Tx works after its Update")
	}
}

func testContext(t *testing.T, d *db) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	is(t, "Update", d.Update(ctx, func(store.Tx) error { t.Error("fn of Update ran"); return nil }), context.Canceled)
	is(t, "View", d.View(ctx, func(store.Reader) error { t.Error("fn of View ran"); return nil }), context.Canceled)
	is(t, "Ping", d.Ping(ctx), context.Canceled)

	ctx, cancel = context.WithCancel(t.Context())
	err := d.View(ctx, func(r store.Reader) error {
		cancel()
		_, err := r.CAs(ctx, store.Services)
		return err
	})
	is(t, "a View whose context ends", err, context.Canceled)
}

func testContextWaiting(t *testing.T, d *db) {
	err := d.Update(t.Context(), func(store.Tx) error {
		// While this one runs, another one waits, until it gives up.
		ctx, cancel := context.WithCancel(t.Context())
		result := make(chan error)
		go func() {
			result <- d.Update(ctx, func(store.Tx) error { t.Error("it ran"); return nil })
		}()
		cancel()
		is(t, "the one that waits", <-result, context.Canceled)
		return nil
	})
	is(t, "the one that runs", err, nil)
	d.update(writeAll)
}

// Once an Update has begun, its outcome is what it returns, whatever its context.
func testContextHalfway(t *testing.T, d *db) {
	ctx, cancel := context.WithCancel(t.Context())
	err := d.Update(ctx, func(tx store.Tx) error {
		cancel()
		return writeAll(ctx, tx)
	})
	n := 1
	if err != nil {
		is(t, "Update", err, context.Canceled)
		n = 0
	}
	d.view(func(ctx context.Context, r store.Reader) error {
		got, err := r.CountRevocations(ctx, store.Services)
		same(t, "revocations", got, n)
		return err
	})
}

func testPing(t *testing.T, d *db) {
	is(t, "Ping", d.Ping(t.Context()), nil)
}

func testClosed(t *testing.T, d *db) {
	is(t, "Close", d.Close(), nil)
	is(t, "Update", d.Update(t.Context(), func(store.Tx) error { return nil }), store.ErrUnavailable)
	is(t, "View", d.View(t.Context(), func(store.Reader) error { return nil }), store.ErrUnavailable)
	is(t, "Ping", d.Ping(t.Context()), store.ErrUnavailable)
	is(t, "Close again", d.Close(), nil)
}

// Updates that have begun when the store is closed are finished, others are refused.
func testCloseWaits(t *testing.T, d *db) {
	ctx := t.Context()
	running, finish, closed := make(chan struct{}), make(chan struct{}), make(chan error)
	updated := make(chan error)
	go func() {
		updated <- d.Update(ctx, func(tx store.Tx) error {
			close(running)
			<-finish
			return writeAll(ctx, tx)
		})
	}()
	<-running
	go func() { closed <- d.Close() }()
	for d.View(ctx, func(store.Reader) error { return nil }) == nil {
		// Close has not begun.
	}
	select {
	case <-closed:
		t.Error("Close did not wait")
	default:
	}
	close(finish)
	is(t, "Update", <-updated, nil)
	is(t, "Close", <-closed, nil)
}
