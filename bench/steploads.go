package main

import (
	"crypto"
	"encoding/json"
	"net/http"
	"runtime"

	"cauase/pkg/clock"
	"cauase/pkg/pki"
)

// enrolment is a plan by which hosts get certificates for tokens, on kept connections. When it was checked they are there
// to renew.
func (s *stepCA) enrolment(count int) (plan, error) {
	keys, err := makeKeys(pki.KeyECDSAP256, count)
	if err != nil {
		return plan{}, err
	}
	now := clock.System().Now()
	requests := make([][]byte, count)
	err = inParallel(count, runtime.GOMAXPROCS(0), func(i int) error {
		name := nextName()
		csr, err := makeCSR(keys[i], name)
		if err != nil {
			return err
		}
		token, err := s.token(name, now)
		if err != nil {
			return err
		}
		body, err := json.Marshal(map[string]string{"csr": string(csr), "ott": token})
		requests[i] = request("POST", "/1.0/sign", s.https.address, "application/json", body)
		return err
	})
	answers := make([][]byte, count)
	return plan{
		count:   count,
		connect: func(c *client) error { return c.connect(s.https) },
		do: func(c *client, i int) error {
			a, err := c.ask(s.https, requests[i], http.StatusCreated)
			answers[i] = a.body
			return err
		},
		check: func() (err error) {
			s.hosts, err = s.issued(keys, answers)
			return err
		},
	}, err
}

// renewal is a plan by which hosts renew once each over TLS with their certificates; on kept connections, each client
// renews the certificate of one host again and again, as a connection belongs to whoever has opened it.
func (s *stepCA) renewal(kept bool) (plan, error) {
	count := len(s.hosts)
	endpoints := make([]*endpoint, count)
	for i, h := range s.hosts {
		endpoints[i] = s.of(h)
	}
	renew := request("POST", "/1.0/renew", s.https.address, "application/json", nil)
	answers, keys := make([][]byte, count), make([]crypto.Signer, count)
	p := plan{count: count}
	if kept {
		p.connect = func(c *client) error { return c.connect(endpoints[c.number]) }
	}
	p.do = func(c *client, i int) (err error) {
		var a answer
		if kept {
			keys[i] = s.hosts[c.number].key
			a, err = c.ask(endpoints[c.number], renew, http.StatusCreated)
		} else {
			keys[i] = s.hosts[i].key
			a, err = c.askOnce(endpoints[i], renew, http.StatusCreated)
		}
		answers[i] = a.body
		return err
	}
	p.check = func() error {
		renewed, err := s.issued(keys, answers)
		if !kept {
			s.hosts = renewed
		}
		return err
	}
	return p, nil
}
