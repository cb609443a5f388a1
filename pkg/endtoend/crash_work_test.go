package endtoend

import (
	"bytes"
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"

	"cauase/pkg/client"
	"cauase/pkg/pki"
	"cauase/pkg/store"
	"cauase/pkg/testkit/pkitest"
)

func (c *crashTest) becomeUser() {
	ctx, users := c.t.Context(), c.client(client.CAU)
	request, key := newCSR(c.t, "alice")
	id, err := users.Submit(ctx, request)
	if err != nil {
		c.t.Fatal(err)
	}
	crt, err := users.Certificate(ctx, id)
	if err != nil {
		c.t.Fatal(err)
	}
	c.user = tls.Certificate{Certificate: [][]byte{crt.Raw}, PrivateKey: key, Leaf: crt}
}

func newCSR(t testing.TB, cn string) ([]byte, crypto.Signer) {
	t.Helper()
	key := pkitest.Key(t)
	return pkitest.NamedRequest(t, key, cn), key
}

// load lets clients work until so many operations were acknowledged, and a moment longer,
// then kills the daemon.
func (c *crashTest) load(round, operations int, moment time.Duration) {
	const workers = 4
	acknowledged := make(chan struct{}, 1000)
	ctx, cancel := context.WithTimeout(c.t.Context(), deadline)
	defer cancel()
	var all sync.WaitGroup
	for worker := range workers {
		all.Go(func() { c.work(ctx, fmt.Sprintf("%d-%d", round, worker), round+worker, acknowledged) })
	}
	all.Go(c.watchList)
	for range operations {
		select {
		case <-acknowledged:
		case <-ctx.Done():
			c.t.Error("operations are not acknowledged")
		}
	}
	// Within which step of an operation that is depends on the moment.
	<-time.After(moment)
	c.daemon.kill()
	all.Wait()
}

// watchList fetches the list of services until the daemon is gone.
func (c *crashTest) watchList() {
	for {
		resp, err := http.Get("http://" + c.netloc + "/cas/crl")
		if err != nil {
			return
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil {
			return
		}
		if resp.StatusCode != http.StatusOK {
			c.t.Errorf("GET /cas/crl: %s", resp.Status)
			return
		}
		c.sawList(body)
	}
}

// sawList checks that a number belongs to one list only, and that numbers only grow.
func (c *crashTest) sawList(body []byte) *x509.RevocationList {
	crl, err := pki.ParseCRLPEM(body)
	if err != nil {
		c.t.Errorf("GET /cas/crl: %v", err)
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	number := crl.Number.String()
	if other, seen := c.lists[number]; seen && !bytes.Equal(other, body) {
		c.t.Errorf("there are two revocation lists with the number %s", number)
	}
	if crl.Number.Cmp(c.highest) < 0 {
		c.t.Errorf("the CRL number goes down, from %v to %s", c.highest, number)
	}
	c.lists[number], c.highest = body, crl.Number
	return crl
}

// work does one thing after the other, beginning with the n-th, until the daemon is gone.
func (c *crashTest) work(ctx context.Context, name string, n int, acknowledged chan<- struct{}) {
	service := c.client(client.CAS)
	defer service.Close()
	session, err := service.Connect(ctx, c.user, c.trusted, client.Caucase{})
	if err != nil {
		c.failed(err)
		return
	}
	defer session.Close()
	done := func(err error, record func()) bool {
		if err != nil {
			c.failed(err)
			return false
		}
		c.mu.Lock()
		record()
		c.mu.Unlock()
		select {
		case acknowledged <- struct{}{}:
		default:
		}
		return true
	}
	for ; ; n++ {
		request, key := newCSR(c.t, fmt.Sprintf("host-%s-%d", name, n))
		id, err := service.Submit(ctx, request)
		if !done(err, func() { c.submitted[id] = request }) {
			return
		}
		if n%4 == 3 {
			c.mu.Lock()
			c.rejecting[id] = true
			c.mu.Unlock()
			if !done(session.Reject(ctx, id, nil, ""), func() { c.rejected[id] = true }) {
				return
			}
			continue
		}
		if !done(session.Approve(ctx, id, client.Approval{}), func() { c.signed[id] = true }) {
			return
		}
		crt, err := service.Certificate(ctx, id)
		if err != nil {
			c.failed(err)
			return
		}
		held := holding{crt, key}
		if n%2 == 1 {
			next, err := pki.KeyECDSAP256.Generate()
			if err != nil {
				c.t.Error(err)
				return
			}
			renewed, err := service.Renew(ctx, crt, key, next, c.trusted)
			if !done(err, func() { c.renewed = append(c.renewed, renewed) }) {
				return
			}
			held = holding{renewed, next}
		}
		if !c.giveUp(ctx, n, service, session, held, done) {
			return
		}
	}
}

// giveUp revokes a certificate, each time in another way.
func (c *crashTest) giveUp(ctx context.Context, n int, service *client.Client, session *client.Session, held holding, done func(error, func()) bool) bool {
	record := func() { c.revoked[held.crt.SerialNumber.String()] = true }
	switch n % 3 {
	case 0:
		return done(service.Revoke(ctx, held.crt, held.key, client.Revoking{Reason: store.KeyCompromise}), record)
	case 1:
		return done(session.RevokeSerial(ctx, held.crt.SerialNumber, client.Revoking{}), record)
	}
	return true
}

// failed accepts that a daemon which is being killed does not answer. It does not accept
// that it answers with a refusal.
func (c *crashTest) failed(err error) {
	var refused *client.StatusError
	if errors.As(err, &refused) || errors.Is(err, client.ErrUnknown) || errors.Is(err, client.ErrPending) {
		c.t.Errorf("the daemon refused what is right: %v", err)
	}
}
