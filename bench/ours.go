package main

import (
	"fmt"
	"net/http"
	"runtime"
	"sync/atomic"
)

// names counts the hosts there were so far: each has a name of its own, of a fixed length.
var names atomic.Int64

func nextName() string { return fmt.Sprintf("host-%09d", names.Add(1)) }

// ask sends a request as clients of this daemon have to.
func (d *daemon) ask(c *client, e *endpoint, request []byte, want int) (answer, error) {
	if d.brief {
		return c.askOnce(e, request, want)
	}
	return c.ask(e, request, want)
}

// enrolment is a plan by which hosts submit, a user signs on an authenticated connection, and hosts fetch. When it was
// checked they are there to renew.
func (d *daemon) enrolment(count int) (plan, error) {
	keys, err := makeKeys(d.keyType, count)
	if err != nil {
		return plan{}, err
	}
	submissions := make([][]byte, count)
	err = inParallel(count, runtime.GOMAXPROCS(0), func(i int) error {
		csr, err := makeCSR(keys[i], nextName())
		submissions[i] = request("PUT", "/cas/csr", d.host, "application/pkcs10", csr)
		return err
	})
	issued := make([][]byte, count)
	p := plan{count: count}
	if !d.brief {
		p.connect = func(c *client) error { return c.connect(d.public, d.user) }
	}
	p.do = func(c *client, i int) error {
		submitted, err := d.ask(c, d.public, submissions[i], http.StatusCreated)
		if err != nil {
			return err
		}
		path := "/cas/crt/" + submitted.location
		if _, err := d.ask(c, d.user, request("PUT", path, d.host, "", nil), http.StatusNoContent); err != nil {
			return err
		}
		fetched, err := d.ask(c, d.public, request("GET", path, d.host, "", nil), http.StatusOK)
		issued[i] = fetched.body
		return err
	}
	p.check = func() (err error) {
		d.hosts, err = checkIssued(d.ca, keys, issued)
		return err
	}
	return p, err
}

// renewal is a plan by which each host renews once, on connections of their own or on kept ones. They have the new
// certificates when it was checked.
func (d *daemon) renewal(kept bool) (plan, error) {
	hosts := d.hosts
	count := len(hosts)
	keys, err := makeKeys(d.keyType, count)
	if err != nil {
		return plan{}, err
	}
	messages := make([][]byte, count)
	err = inParallel(count, runtime.GOMAXPROCS(0), func(i int) error {
		message, err := makeRenewal(hosts[i], keys[i])
		messages[i] = request("PUT", "/cas/crt/renew", d.host, "application/json", message)
		return err
	})
	issued := make([][]byte, count)
	p := plan{count: count}
	ask := (*client).askOnce
	if kept {
		ask = (*client).ask
		p.connect = func(c *client) error { return c.connect(d.public) }
	}
	p.do = func(c *client, i int) error {
		a, err := ask(c, d.public, messages[i], http.StatusOK)
		issued[i] = a.body
		return err
	}
	p.check = func() error {
		renewed, err := checkIssued(d.ca, keys, issued)
		copy(hosts, renewed)
		return err
	}
	return p, err
}

// fetching is a plan by which the same page is fetched again and again on kept connections. Each answer is as the first.
func (d *daemon) fetching(count int, get []byte, status int, body []byte) plan {
	return plan{
		count:   count,
		connect: func(c *client) error { return c.connect(d.public) },
		do: func(c *client, i int) error {
			a, err := c.ask(d.public, get, status)
			if err == nil && string(a.body) != string(body) {
				err = fmt.Errorf("answer %d is another: %d bytes in place of %d", i, len(a.body), len(body))
			}
			return err
		},
	}
}
