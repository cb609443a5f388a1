package flood

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/ca"
	"cauase/pkg/ca/catest"
	"cauase/pkg/clock"
	"cauase/pkg/pki"
	"cauase/pkg/rollover"
	"cauase/pkg/store"
	"cauase/pkg/store/sqlstore"
	"cauase/pkg/testkit/pkitest"
)

const day = 24 * time.Hour

// A past is a database with a user, and revocations, of an authority that has two valid CAs.
type past struct {
	dir  string
	list int64 // size of a revocation list, DER
	user *tls.Certificate
}

func newPast(t *testing.T, revoked int) past {
	t.Helper()
	p := past{dir: t.TempDir()}
	db, err := sqlstore.Open(t.Context(), filepath.Join(p.dir, "cauase.sqlite"), sqlstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	clk := clock.NewFake(time.Now().Add(-200 * day))
	open := func(name store.AuthorityName) *ca.Authority {
		a, err := catest.Open(t.Context(), db, clk, catest.Config{
			Name: name, Netloc: "127.0.0.1:8009", KeyType: pki.KeyECDSAP256, Spans: rollover.Spans{Leaf: 93 * day, Life: 4}, MaxPending: 50,
		})
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	services := open(store.Services)
	clk.Set(time.Now())
	users := open(store.Users)
	if err := services.Maintain(t.Context()); err != nil {
		t.Fatal(err)
	}
	for done := 0; done < revoked; done += 10_000 {
		err := db.Update(t.Context(), func(tx store.Tx) error { return revokeSome(t.Context(), tx, done, min(10_000, revoked-done)) })
		if err != nil {
			t.Fatal(err)
		}
	}
	lists, err := services.CRLs(t.Context())
	if err != nil || len(lists) != 2 {
		t.Fatalf("%d lists, %v", len(lists), err)
	}
	p.list = lists[0].Octets.Size()

	operator, key := audit.Actor{Kind: audit.Operator}, pkitest.Key(t)
	id, err := catest.Wired(users).Submit(t.Context(), operator, pkitest.NamedRequest(t, key, "alice"))
	if err != nil {
		t.Fatal(err)
	}
	issued, err := users.Approve(t.Context(), operator, id, ca.Approval{})
	if err != nil {
		t.Fatal(err)
	}
	p.user = &tls.Certificate{Certificate: [][]byte{issued.Certificate.Raw}, PrivateKey: key}
	return p
}

func revokeSome(ctx context.Context, tx store.Tx, from, count int) error {
	for n := range count {
		serial := new(big.Int).Add(new(big.Int).Lsh(big.NewInt(1), 158), big.NewInt(int64(from+n)))
		_, err := tx.AddRevocation(ctx, store.Revocation{Authority: store.Services, Serial: serial,
			RevokedAt: time.Now().Add(-time.Hour), KeepUntil: time.Now().Add(300 * day)})
		if err != nil {
			return err
		}
	}
	_, err := tx.AddCounter(ctx, store.Services, store.CounterCRLNumber, 1)
	return err
}

// asks is a user who lists requests, over a new connection each time.
func (d *target) asks(user *tls.Certificate) *honest {
	c := client("127.0.0.8")
	c.Transport.(*http.Transport).TLSClientConfig.Certificates = []tls.Certificate{*user}
	return d.honest(func() error {
		response, err := c.Get("https://" + d.https + "/cas/csr")
		if err != nil {
			return err
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return fmt.Errorf("status %d", response.StatusCode)
		}
		_, err = io.Copy(io.Discard, response.Body)
		return err
	})
}

// TestListsOfTwoCAs: any number of streams that want long lists, and do not take them, cost as much as one list.
func TestListsOfTwoCAs(t *testing.T) {
	p := newPast(t, 60_000*scale())
	d := start(t, p.dir, 0)
	user, honest := d.asks(p.user), d.stranger()
	m := newMob(t)
	each(200*scale(), func(n int) {
		if err := d.stall(m, crowd(n%100), 64, 100_000, "/cas/crl"); err != nil {
			return // it is up to the daemon
		}
	})
	d.settle()
	t.Logf("a list has %.1f MiB", mib(p.list))
	user.served(t, "a user")
	honest.served(t, "a stranger")
	d.stayedSmall(p.list)
}

// TestUserAmongACrowd: a user is served while a crowd from many addresses has taken all that strangers can have.
func TestUserAmongACrowd(t *testing.T) {
	p := newPast(t, 10)
	d := start(t, p.dir, 1024)
	m := newMob(t)
	each(600, func(n int) {
		if err := d.half(m, crowd(n), putHeader(100_000)+"x"); err != nil {
			return // it is up to the daemon
		}
	})
	user := d.asks(p.user)
	m.trickle(t)
	each(100, func(n int) {
		if err := d.stall(m, crowd(1000+n), 16, 0, "/cas/crt/ca.crt.json"); err != nil {
			return // it is up to the daemon
		}
	})
	d.settle()
	user.served(t, "a user")
	d.stayedSmall(p.list)
}
