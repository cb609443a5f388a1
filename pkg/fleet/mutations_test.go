package fleet

import (
	"bytes"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"time"

	"cauase/pkg/rollover"
	"cauase/pkg/store"
)

// Wrong rollover rules.

// signAtOnce has the newest CA sign, which nobody has met yet.
func signAtOnce(now time.Time, spans rollover.Spans, generations []rollover.Generation) rollover.Plan {
	p := rollover.Decide(now, spans, generations)
	for i, g := range generations {
		if rollover.Valid(now, g) {
			p.Signer = i
		}
	}
	return p
}

// signToTheEnd has the oldest CA sign until it expires.
func signToTheEnd(now time.Time, spans rollover.Spans, generations []rollover.Generation) rollover.Plan {
	p := rollover.Decide(now, spans, generations)
	for i := len(generations) - 1; i >= 0; i-- {
		if rollover.Valid(now, generations[i]) {
			p.Signer = i
		}
	}
	return p
}

// succeedLate makes a successor when one span is left, not two.
func succeedLate(now time.Time, spans rollover.Spans, generations []rollover.Generation) rollover.Plan {
	p := rollover.Decide(now, spans, generations)
	if n := len(generations); n > 0 {
		p.Create = generations[n-1].NotAfter.Sub(now) <= spans.Leaf
	}
	return p
}

// succeedEarly makes one when three are left.
func succeedEarly(now time.Time, spans rollover.Spans, generations []rollover.Generation) rollover.Plan {
	p := rollover.Decide(now, spans, generations)
	if n := len(generations); n > 0 {
		p.Create = generations[n-1].NotAfter.Sub(now) <= 3*spans.Leaf
	}
	return p
}

// bringBackRevoked has the CA that signs be revoked, and then the daemon go on with an earlier copy of its database.
func bringBackRevoked(of store.AuthorityName, spans float64) func(*sim) {
	restore := func(s *sim) {
		err := errors.Join(s.daemon.close(), s.daemon.swapBackup(), s.daemon.open())
		if err != nil {
			s.violated(exchangesWork, "restore: %v", err)
		}
	}
	return func(s *sim) {
		s.after(s.spansOf(spans)-day, func() { restore(s) }) // which keeps the database as it is then
		revokeActive(of, spans)(s)
		s.after(s.spansOf(spans)+day, func() { restore(s) })
	}
}

// Something wrong between the daemon and its clients.

// dropLink cuts the last link off the chain.
func dropLink(_ *sim, next answerer) answerer {
	return func(r *http.Request) *httptest.ResponseRecorder {
		w := next(r)
		if _, rest := named(r.URL.Path); rest != "/crt/ca.crt.json" {
			return w
		}
		var links []json.RawMessage
		if err := json.Unmarshal(w.Body.Bytes(), &links); err != nil || len(links) == 0 {
			return w
		}
		cut, err := json.Marshal(links[:len(links)-1])
		if err != nil {
			return w
		}
		w.Body = bytes.NewBuffer(cut)
		return w
	}
}

// dropChain answers with the certificate alone.
func dropChain(_ *sim, next answerer) answerer {
	return func(r *http.Request) *httptest.ResponseRecorder {
		w := next(r)
		if r.Header.Get("Accept") != "application/pem-certificate-chain" || w.Code != http.StatusOK {
			return w
		}
		if block, _ := pem.Decode(w.Body.Bytes()); block != nil {
			w.Body = bytes.NewBuffer(pem.EncodeToMemory(block))
		}
		return w
	}
}

// dropRoot keeps the newest root from everybody.
func dropRoot(s *sim, next answerer) answerer {
	whole := dropLink(s, next)
	return func(r *http.Request) *httptest.ResponseRecorder {
		of, rest := named(r.URL.Path)
		if of == rootName {
			return whole(r)
		}
		w := next(r)
		if block, remains := pem.Decode(w.Body.Bytes()); rest == "/crt/root.pem" && block != nil && len(remains) > 0 {
			w.Body = bytes.NewBuffer(pem.EncodeToMemory(block))
		}
		return w
	}
}

// cacheLists answers with lists that are up to this old.
func cacheLists(life time.Duration) func(*sim, answerer) answerer {
	type entry struct {
		body    []byte
		fetched time.Time
	}
	cache := map[string]entry{}
	return func(s *sim, next answerer) answerer {
		return func(r *http.Request) *httptest.ResponseRecorder {
			w := next(r)
			if _, rest := named(r.URL.Path); rest != "/crl" {
				return w
			}
			kept, ok := cache[r.URL.Path]
			if !ok || s.now().Sub(kept.fetched) > life {
				kept = entry{bytes.Clone(w.Body.Bytes()), s.now()}
				cache[r.URL.Path] = kept
			}
			w.Body = bytes.NewBuffer(kept.body)
			return w
		}
	}
}
