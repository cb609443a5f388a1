package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"math/big"
	"net/http"
	"slices"
	"time"

	"cauase/pkg/pki"
)

// Kinds of work with revocation lists.
const (
	workSmallList    = "unchanged small list, kept connection"
	workNotModified  = "304 for a small list, kept connection"
	workListAfter    = "list after one more revocation, of " // and the number of entries
	workListRestart  = "first list after a restart, of "
	workReadyRestart = "ready after a restart, list of "
)

// listPath is where the list of a CA is, in DER.
func (d *daemon) listPath() string {
	return "/cas/crl/" + new(big.Int).SetBytes(d.ca.SubjectKeyId).String() + ".crl"
}

// smallLists is the group of rows about a list that does not change.
func (b *bench) smallLists(ctx context.Context) error {
	d, err := b.startIn(ctx, sqliteEngine, pki.KeyECDSAP256)
	if err != nil {
		return err
	}
	defer b.stopAll([]contender{d})
	get := request("GET", d.listPath(), d.host, "", nil)
	first, err := d.public.once(ctx, get, http.StatusOK)
	if err != nil {
		return err
	}
	again := bytes.Replace(get, []byte("\r\n\r\n"), []byte("\r\nIf-None-Match: "+first.etag+"\r\n\r\n"), 1)
	for range b.repeats {
		if err := b.prober.computing(); err != nil {
			return err
		}
		for work, p := range map[string]plan{
			workSmallList:   d.fetching(b.fetches, get, http.StatusOK, first.body),
			workNotModified: d.fetching(b.fetches, again, http.StatusNotModified, nil),
		} {
			m, err := b.load(d.servers()...).run(ctx, p)
			if err != nil {
				return err
			}
			b.results.measured(work, d.label(), m)
			b.say("%s: %.0f/s", work, m.rate)
		}
	}
	return nil
}

// longLists is the group of rows about lists of many entries.
func (b *bench) longLists(ctx context.Context) error {
	for _, size := range b.revocations {
		if err := b.longList(ctx, size); err != nil {
			return fmt.Errorf("%d entries: %w", size, err)
		}
	}
	return nil
}

// filled starts a daemon on a database with more in it than hosts would bring in a day. It has issued count certificates besides.
func (b *bench) filled(ctx context.Context, engine string, count int, f filling) (*daemon, error) {
	d, err := b.startIn(ctx, engine, pki.KeyECDSAP256)
	if err != nil {
		return nil, err
	}
	p, err := d.enrolment(count)
	if err == nil {
		_, err = b.load(d.servers()...).run(ctx, p)
	}
	if err := firstOf(err, d.stop()); err != nil {
		return nil, err
	}
	hosts, err := fill(ctx, d.database, f)
	if err != nil {
		return nil, fmt.Errorf("filling the database: %w", err)
	}
	if len(hosts) > 0 {
		d.hosts = hosts
	}
	return d, b.restart(ctx, d)
}

func firstOf(errs ...error) error {
	if i := slices.IndexFunc(errs, func(err error) bool { return err != nil }); i >= 0 {
		return errs[i]
	}
	return nil
}

// restart starts a daemon again that was stopped, on the same ports.
func (b *bench) restart(ctx context.Context, d *daemon) error {
	again, err := b.startDaemonAt(ctx, d.cmd.Dir, d.port, d.database, d.keyType)
	if err != nil {
		return err
	}
	d.process = again.process
	return nil
}

// longList measures one size of lists.
func (b *bench) longList(ctx context.Context, size int) error {
	d, err := b.filled(ctx, sqliteEngine, b.repeats, filling{unrecorded: size})
	if err != nil {
		return err
	}
	defer func() { b.stopAll([]contender{d}) }()
	head := request("HEAD", d.listPath(), d.host, "", nil)
	if _, err := d.public.once(ctx, head, http.StatusOK); err != nil { // it is made and recorded
		return err
	}
	count := fmt.Sprint(size)
	for i := range b.repeats {
		if err := d.stop(); err != nil {
			return err
		}
		ready, err := took(func() error { return b.restart(ctx, d) })
		if err != nil {
			return err
		}
		first, err := took(func() error {
			_, err := d.public.once(ctx, head, http.StatusOK)
			return err
		})
		if err != nil {
			return err
		}
		b.results.add(workReadyRestart+count, d.label(), milliseconds, ms(ready))
		b.results.add(workListRestart+count, d.label(), milliseconds, ms(ready+first)) // ready may mean that it is there
		l, err := b.oneMore(ctx, d, d.hosts[i])
		if err != nil {
			return err
		}
		if err := b.compareList(workListAfter+count, d.label(), l); err != nil {
			return err
		}
		if i == b.repeats-1 {
			return checkList(l.der, d.ca, d.hosts[i].crt.SerialNumber, size+b.repeats)
		}
	}
	return nil
}

// A listing is what a revocation has led to.
type listing struct {
	there   time.Duration // until the list said so
	longest time.Duration // that anybody waited for an answer meanwhile
	cpu     time.Duration // of the server
	der     []byte
}

// oneMore revokes a certificate, and looks how long it takes until the list says so, and how long anybody waits meanwhile.
func (b *bench) oneMore(ctx context.Context, d *daemon, h host) (l listing, err error) {
	head := request("HEAD", d.listPath(), d.host, "", nil)
	ctx, cancel := context.WithTimeout(ctx, b.limit)
	defer cancel()
	c := newClient(ctx, 0)
	defer c.close()
	if err := c.connect(d.public, d.user); err != nil {
		return l, err
	}
	before, err := c.ask(d.public, head, http.StatusOK)
	if err != nil {
		return l, err
	}
	envelope := fmt.Appendf(nil, `{"payload": "{\"revoke_serial\": %s}", "digest": null}`, h.crt.SerialNumber)
	computed, err := d.cpu()
	if err != nil {
		return l, err
	}
	if _, err := c.ask(d.user, request("PUT", "/cas/crt/revoke", d.host, "application/json", envelope), http.StatusNoContent); err != nil {
		return l, err
	}
	began := elapsed()
	for now := before; now.etag == before.etag; {
		wait, err := took(func() (err error) {
			now, err = c.ask(d.public, head, http.StatusOK)
			return err
		})
		if err != nil {
			return l, err
		}
		l.longest = max(l.longest, wait)
	}
	l.there = elapsed() - began
	used, err := d.cpu()
	if err != nil {
		return l, err
	}
	l.cpu = used - computed
	whole, err := c.ask(d.public, request("GET", d.listPath(), d.host, "", nil), http.StatusOK)
	l.der = whole.body
	return l, err
}

// compareList puts what a revocation has led to beside the arithmetic that a list cannot do without.
func (b *bench) compareList(work, subject string, l listing) error {
	bare, err := took(func() error {
		digest := sha256.Sum256(l.der)
		_, err := ecdsa.SignASN1(rand.Reader, b.prober.key, digest[:])
		return err
	})
	b.results.add(work, subject, milliseconds, ms(l.there))
	b.results.add(work, subject, longestWait, ms(l.longest))
	b.results.add(work, subject, cpuEach, ms(l.cpu))
	b.results.add(work, subject, bareWork, ms(bare))
	b.say("%s: %v, %v of hash and signature", work, l.there, bare)
	return err
}

// checkList checks that a list is signed, has so many entries, and that one of them is about a certificate.
func checkList(der []byte, ca *x509.Certificate, serial *big.Int, entries int) error {
	list, err := x509.ParseRevocationList(der)
	if err != nil {
		return err
	}
	if err := list.CheckSignatureFrom(ca); err != nil {
		return err
	}
	if n := len(list.RevokedCertificateEntries); n != entries {
		return fmt.Errorf("the list has %d entries, want %d", n, entries)
	}
	if !slices.ContainsFunc(list.RevokedCertificateEntries, func(e x509.RevocationListEntry) bool { return e.SerialNumber.Cmp(serial) == 0 }) {
		return fmt.Errorf("the list lacks %s", serial)
	}
	return nil
}

func ms(d time.Duration) float64 { return d.Seconds() * 1e3 }
