package manage

import (
	"context"
	"crypto/x509"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/dump"
	"cauase/pkg/pki"
	"cauase/pkg/store"
)

// A Level tells how bad a Finding is.
type Level string

// The levels of findings.
const (
	// Wrong is what the daemon would not have written, or what keeps it from working.
	Wrong Level = "error"
	// Odd is what can be explained, and should be.
	Odd Level = "warning"
)

// A Finding is one thing that is not as it should be.
type Finding struct {
	Level   Level  `json:"level"`
	Row     string `json:"row"` // kind and identity, such as "certificate cas 123"; "database" for all of it
	Problem string `json:"problem"`
}

// Checked tells what Check has read and how much it has found.
type Checked struct {
	Rows     dump.Summary
	Errors   int64
	Warnings int64
}

// Check reads all rows of a store, as of now, and calls found for everything that is not as it
// should be, one at a time. Its error means that it could not look at everything. Signatures are
// verified on all processors. Memory grows with the number of revocations, by what a revocation list
// of them takes, and with nothing else.
func Check(ctx context.Context, s store.Store, now time.Time, found func(Finding), progress Progress) (Checked, error) {
	c := &checker{now: now, found: found, progress: progress, cas: map[caRef]*caInfo{}, tallies: map[store.AuthorityName]*tally{},
		brought: map[store.AuthorityName][]*x509.RevocationList{}}
	if described, ok := s.(store.Described); ok {
		problems, err := described.Integrity(ctx)
		if err != nil {
			return c.checked, err
		}
		for _, problem := range problems {
			c.report("database", wrong("%s", problem))
		}
	}
	err := s.View(ctx, func(r store.Reader) error {
		if err := c.rows(ctx, r); err != nil {
			return err
		}
		if err := c.parentsRecords(ctx, r); err != nil {
			return err
		}
		return c.revoked(ctx, r)
	})
	return c.checked, err
}

// A problem is a Finding about a row that is known.
type problem struct {
	level Level
	text  string
}

func (c *checker) report(row string, problems ...problem) {
	c.reporting.Lock()
	defer c.reporting.Unlock()
	for _, p := range problems {
		if p.level == Wrong {
			c.checked.Errors++
		} else {
			c.checked.Warnings++
		}
		c.found(Finding{p.level, pki.EscapeText(row), pki.EscapeText(p.text)})
	}
}

// A checker is one Check under way. What it remembers of rows before helps to judge later ones.
type checker struct {
	now      time.Time
	progress Progress

	reporting sync.Mutex // guards found and checked
	found     func(Finding)
	checked   Checked

	hash    *dump.Hash
	cas     map[caRef]*caInfo
	below   []*caInfo // CAs that a parent has signed
	brought map[store.AuthorityName][]*x509.RevocationList
	crls    []store.CRL
	tallies map[store.AuthorityName]*tally
	rowOf   map[store.AuthorityName]store.Authority
	issued  *verifier // while certificates come
}

type caRef struct {
	authority store.AuthorityName
	id        int64
}

// A tally is what has been seen of one authority.
type tally struct {
	cas      []*caInfo // by age
	pending  int64
	signed   int64 // certificates that answer a request, renewals excepted
	entries  []byte
	listed   bool // entries are wanted
	broken   bool // entries are not complete
	counters map[string]int64
}

func (c *checker) tally(a store.AuthorityName) *tally {
	t := c.tallies[a]
	if t == nil {
		t = &tally{counters: map[string]int64{}}
		c.tallies[a] = t
	}
	return t
}

// rows walks through everything once, in an order in which CAs come before what they have signed.
func (c *checker) rows(ctx context.Context, r store.Reader) error {
	if err := c.known(ctx, r); err != nil {
		return err
	}
	for a := range c.rowOf {
		for _, name := range counters() {
			n, err := r.Counter(ctx, a, name)
			if err != nil {
				return err
			}
			c.tally(a).counters[name] = n
		}
	}
	c.hash = dump.NewHash()
	defer c.certificatesSeen() // also when the walk fails
	step := c.progress.follow("checking")
	err := r.Rows(ctx, func(row store.Row) error {
		step(row)
		if err := ctx.Err(); err != nil {
			return err
		}
		if crt, ok := row.(store.Certificate); ok {
			c.certificateSeen(crt)
		} else {
			c.certificatesSeen() // so that findings come in the order of rows
			c.report(dump.Describe(row), append(c.ofNobody(row), c.row(row)...)...)
		}
		if !dump.Sound(row) {
			c.report(dump.Describe(row), odd("a text in it holds a NUL or is not UTF-8, which is lost in backups and copies"))
		}
		if err := c.hash.Add(row); err != nil {
			c.report(dump.Describe(row), wrong("no backup can hold it: %v", err))
		}
		return nil
	})
	c.certificatesSeen()
	if err != nil {
		return err
	}
	c.checked.Rows = c.hash.Summary()
	for _, i := range c.below {
		c.report(dump.Describe(i.row), c.signedByParent(i)...)
	}
	for _, l := range c.crls {
		c.report(dump.Describe(l), c.crl(l)...)
	}
	for _, a := range slices.Sorted(maps.Keys(c.tallies)) {
		if a != "" {
			c.report("authority "+string(a), c.sums(c.tally(a))...)
		}
	}
	return nil
}

// row checks any row but a certificate.
func (c *checker) row(row store.Row) []problem {
	switch v := row.(type) {
	case store.Authority:
		return c.authority(v)
	case store.CA:
		return c.ca(v)
	case store.Signoff:
		return c.signoff(v)
	case store.CRL:
		return c.crlSeen(v)
	case store.Request:
		return c.request(v)
	case store.Revocation:
		return c.revocation(v)
	case store.Counter:
		return counter(v)
	case store.Setting:
		return c.setting(v)
	case store.AuditEntry:
		return c.entry(v.Entry)
	}
	return []problem{wrong("there is no such kind of row")}
}

// tolerance is how far the clocks of machines differ without being wrong.
const tolerance = 24 * time.Hour

// future is the problem of a time that has not come yet.
func (c *checker) future(what string, t time.Time) []problem {
	if t.After(c.now.Add(tolerance)) {
		return []problem{odd("%s lies in the future, %s: was the clock ahead?", what, t.Format(time.RFC3339))}
	}
	return nil
}

func (c *checker) entry(e audit.Entry) []problem {
	problems := c.future("its time", e.Time)
	if e.Action == "" || e.Actor.Kind == "" {
		problems = append(problems, wrong("it does not say who did what"))
	}
	return problems
}

// revokedPage is how many revocations are read at once, when certificates are looked up for them.
const revokedPage = 1000

// revoked compares revocations with the certificates they are about, where these are on record.
func (c *checker) revoked(ctx context.Context, r store.Reader) error {
	step := c.progress.follow("comparing revocations")
	for _, a := range slices.Sorted(maps.Keys(c.tallies)) {
		after := int64(0)
		for {
			page, err := r.Revocations(ctx, a, after, revokedPage)
			if err != nil {
				return err
			}
			for _, v := range page {
				step(v)
				crt, err := r.CertificateBySerial(ctx, a, v.Serial)
				switch {
				case errors.Is(err, store.ErrNotFound):
				case err != nil:
					return err
				default:
					c.report(dump.Describe(v), revokedCertificate(v, crt)...)
				}
			}
			if len(page) < revokedPage {
				break
			}
			after = page[len(page)-1].Seq
		}
	}
	return nil
}
