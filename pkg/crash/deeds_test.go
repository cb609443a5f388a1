package crash

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"

	"cauase/pkg/client"
	"cauase/pkg/pki"
	"cauase/pkg/testkit/faults"
	"cauase/pkg/testkit/pkitest"
)

// A visit is somebody's connection to a daemon.
type visit struct {
	*run
	ctx      context.Context
	daemon   *daemon
	services *client.Client
	session  *client.Session
}

func (r *run) visit(d *daemon) *visit {
	r.Helper()
	v := &visit{run: r, ctx: r.Context(), daemon: d, services: d.client(r, client.CAS)}
	session, err := v.services.Connect(v.ctx, r.world.user, r.world.trusted, client.Caucase{})
	check(r, err)
	r.Cleanup(session.Close)
	v.session = session
	return v
}

// deed makes the story of something that a client asks a daemon for. do asks for it. finally makes sure that it is done,
// whether it was before or not, and returns an error if something is not as it was acknowledged.
func deed(name string, do, finally func(v *visit) error) story {
	return story{
		name: name,
		happen: func(r *run) []faults.Step {
			d := traceDaemon(r, r.dir, r.database, r.options(false))
			if err := d.awaitReady(); err != nil {
				r.Fatalf("%v\n%s", err, d.log)
			}
			v := r.visit(d)
			check(r, d.process.Arm())
			err := do(v)
			r.acked = err == nil
			if !d.running() || r.fault.Kill || r.fault.Torn {
				d.quit(r)
				return r.traced(d.process)
			}
			check(r, d.process.Disarm())
			steps := r.traced(d.process)
			// It goes on, and makes good for what has failed.
			if err := d.awaitReady(); err != nil {
				r.Fatalf("after the fault: %v\n%s", err, d.log)
			}
			if err := finally(v); err != nil {
				r.Errorf("after the fault, with the same daemon: %v\n%s", err, d.log)
			}
			r.acked = true
			if err := d.stop(); err != nil {
				r.Error(err)
			}
			d.said(r)
			return steps
		},
		settle: func(r *run) {
			consistent(r, r.dir, r.database)
			d := startDaemon(r, r.dir, r.database)
			if err := finally(r.visit(d)); err != nil {
				r.Errorf("after a restart: %v", err)
			}
			check(r, d.stop())
			d.said(r)
			consistent(r, r.dir, r.database)
		},
	}
}

// quit waits for a daemon that was killed, or kills it where the point did not come.
func (d *daemon) quit(r *run) {
	if _, hit, _ := d.process.Steps(); hit == nil {
		d.kill()
	}
	<-d.exited
	d.said(r)
}

// deeds are what clients ask for.
var deeds = []story{
	deed("submit", submit, submitted),
	deed("sign", func(v *visit) error { return v.session.Approve(v.ctx, v.world.waiting[0], client.Approval{}) }, func(v *visit) error {
		if !v.acked {
			if err := v.session.Approve(v.ctx, v.world.waiting[0], client.Approval{}); err != nil && !settled(err) {
				return err
			}
		}
		_, err := v.services.Certificate(v.ctx, v.world.waiting[0])
		return err
	}),
	deed("reject", func(v *visit) error { return v.session.Reject(v.ctx, v.world.waiting[1], nil, "no") }, func(v *visit) error {
		if !v.acked {
			if err := v.session.Reject(v.ctx, v.world.waiting[1], nil, "no"); err != nil && !settled(err) {
				return err
			}
		}
		if _, err := v.services.Request(v.ctx, v.world.waiting[1]); !settled(err) {
			return fmt.Errorf("the request is still there: %w", err)
		}
		return nil
	}),
	deed("renew", renew, func(v *visit) error {
		if !v.acked {
			if err := renew(v); err != nil {
				return err
			}
		}
		_, _, err := v.session.OnRecord(v.ctx, v.values["crt"].(*x509.Certificate).SerialNumber)
		return err
	}),
	deed("revoke", revoke, func(v *visit) error {
		if !v.acked {
			if err := revoke(v); err != nil && !settled(err) {
				return err
			}
		}
		return v.listed(v.world.held[1].crt.SerialNumber)
	}),
	deed("revoke by a user", revokeSerial, func(v *visit) error {
		if !v.acked {
			if err := revokeSerial(v); err != nil && !settled(err) {
				return err
			}
		}
		return v.listed(v.world.held[2].crt.SerialNumber)
	}),
	deed("end a lineage", endLineage, func(v *visit) error {
		if !v.acked {
			if err := endLineage(v); err != nil && !settled(err) {
				return err
			}
		}
		return v.listed(v.world.held[0].crt.SerialNumber)
	}),
	deed("make a user", makeUser, func(v *visit) error {
		if !v.acked {
			if err := makeUser(v); err != nil && !settled(err) {
				return err
			}
		}
		_, err := v.daemon.client(v, client.CAU).Certificate(v.ctx, v.values["id"].(client.ID))
		return err
	}),
	deed("serve a list", seeList, seeList),
	deed("everything at once", together, func(v *visit) error {
		if !v.acked {
			return together(v)
		}
		_, _, err := v.session.OnRecord(v.ctx, v.values["crt"].(*x509.Certificate).SerialNumber)
		return errors.Join(err, v.listed(v.values["crt"].(*x509.Certificate).SerialNumber))
	}),
}

var errOther = errors.New("or another one is there")

// settled reports whether a refusal says that what is asked for is done already.
func settled(err error) bool {
	var refused *client.StatusError
	return errors.Is(err, client.ErrUnknown) || errors.As(err, &refused) && (refused.Status == http.StatusNotFound || refused.Status == http.StatusConflict)
}

func submit(v *visit) error {
	csr := pkitest.NamedRequest(v, pkitest.Key(v), "new")
	id, err := v.services.Submit(v.ctx, csr)
	v.values["id"], v.values["csr"] = id, csr
	return err
}

func submitted(v *visit) error {
	if !v.acked {
		return submit(v)
	}
	pem, err := v.services.Request(v.ctx, v.values["id"].(client.ID))
	if err != nil || !bytes.Equal(pem, v.values["csr"].([]byte)) {
		return fmt.Errorf("the request was acknowledged: %w", errors.Join(err, errOther))
	}
	return nil
}

func renew(v *visit) error {
	h := v.world.held[0]
	crt, err := v.services.Renew(v.ctx, h.crt, h.key, pkitest.Key(v), v.world.trusted)
	v.values["crt"] = crt
	return err
}

func revoke(v *visit) error {
	h := v.world.held[1]
	return v.services.Revoke(v.ctx, h.crt, h.key, client.Revoking{})
}

func revokeSerial(v *visit) error {
	return v.session.RevokeSerial(v.ctx, v.world.held[2].crt.SerialNumber, client.Revoking{})
}

func endLineage(v *visit) error {
	_, l, err := v.session.OnRecord(v.ctx, v.world.held[0].crt.SerialNumber)
	if err != nil {
		return err
	}
	id, err := client.ParseID(l.ID)
	if err != nil {
		return err
	}
	return v.session.EndLineage(v.ctx, id, 0)
}

func makeUser(v *visit) error {
	users := v.daemon.client(v, client.CAU)
	if v.values["id"] == nil {
		id, err := users.Submit(v.ctx, pkitest.NamedRequest(v, pkitest.Key(v), "bob"))
		if err != nil {
			return err
		}
		v.values["id"] = id
	}
	session, err := users.Connect(v.ctx, v.world.user, v.world.trustedUsers, client.Caucase{})
	if err != nil {
		return err
	}
	defer session.Close()
	return session.Approve(v.ctx, v.values["id"].(client.ID), client.Approval{})
}

// together is a host's whole life.
func together(v *visit) error {
	key := pkitest.Key(v)
	id, err := v.services.Submit(v.ctx, pkitest.NamedRequest(v, key, "short-lived"))
	if err != nil {
		return err
	}
	if err := v.session.Approve(v.ctx, id, client.Approval{}); err != nil {
		return err
	}
	crt, err := v.services.Certificate(v.ctx, id)
	if err != nil {
		return err
	}
	next := pkitest.Key(v)
	if crt, err = v.services.Renew(v.ctx, crt, key, next, v.world.trusted); err != nil {
		return err
	}
	v.values["crt"] = crt
	return v.services.Revoke(v.ctx, crt, next, client.Revoking{})
}

// list fetches the list of services.
func (v *visit) list() (body []byte, list *x509.RevocationList, err error) {
	if body, err = fetch(v.daemon.url() + "/cas/crl"); err != nil {
		return nil, nil, err
	}
	list, err = pki.ParseCRLPEM(body)
	return body, list, err
}

func fetch(url string) ([]byte, error) {
	resp, err := http.Get(url)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("GET %s: %s: %s", url, resp.Status, body)
	}
	return body, err
}

// listed checks that a serial number is in the list of services, with that which was there before.
func (v *visit) listed(serials ...*big.Int) error {
	_, list, err := v.list()
	if err != nil {
		return err
	}
	in := map[string]bool{}
	for _, e := range list.RevokedCertificateEntries {
		in[e.SerialNumber.String()] = true
	}
	for _, s := range append(serials, v.world.held[3].crt.SerialNumber) {
		if !in[s.String()] {
			return fmt.Errorf("%v is not in the list", s)
		}
	}
	return nil
}

// seeList revokes something and looks at the list, whose number belongs to it alone and only grows.
func seeList(v *visit) error {
	if err := revoke(v); err != nil && !settled(err) {
		return err
	}
	body, list, err := v.list()
	if err != nil {
		return err
	}
	if seen, ok := v.values["list"].([]byte); ok {
		before, err := pki.ParseCRLPEM(seen)
		if err != nil {
			return err
		}
		switch c := list.Number.Cmp(before.Number); {
		case c < 0:
			return fmt.Errorf("list %v follows %v", list.Number, before.Number)
		case c == 0 && !bytes.Equal(seen, body):
			return fmt.Errorf("there are two lists with the number %v", list.Number)
		}
	}
	v.values["list"] = body
	return v.listed(v.world.held[1].crt.SerialNumber)
}
