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
	"cauase/pkg/ca"
	"cauase/pkg/dump"
	"cauase/pkg/keys"
	"cauase/pkg/pki"
	"cauase/pkg/store"
	"cauase/pkg/vault"
)

// A Severity says how bad a Finding is.
type Severity string

// The severities of findings.
const (
	// SeverityError is what the daemon would not have written, or what keeps it from working.
	SeverityError Severity = "error"
	// SeverityWarning is unusual, but can have a legitimate cause.
	SeverityWarning Severity = "warning"
)

// A Finding is one defect that Check has found.
type Finding struct {
	Severity Severity `json:"level"`
	Row      string   `json:"row"` // kind and identity, such as "certificate cas 123"; "database" for all of it
	Problem  string   `json:"problem"`
}

// A CheckResult says what Check has read and how much it has found.
type CheckResult struct {
	Rows     dump.Summary
	Errors   int64
	Warnings int64
}

// Check reads all rows of a store, as of now, and calls found for each finding, one at a time. Its error means that
// the check is incomplete. Signatures are
// verified on all processors. Memory grows with the number of revocations, by what a revocation list
// of them takes, and with nothing else.
func Check(ctx context.Context, s store.Store, now time.Time, found func(Finding), progress Progress) (CheckResult, error) {
	c := &checker{now: now, found: found, progress: progress, cas: map[caRef]*caInfo{}, tallies: map[store.AuthorityName]*tally{},
		externalLists: map[store.AuthorityName][]*x509.RevocationList{}, custody: ca.CustodyOf(ctx, s)}
	if described, ok := vault.Inner(s).(store.Described); ok {
		problems, err := described.Integrity(ctx)
		if err != nil {
			return c.checked, err
		}
		for _, problem := range problems {
			c.report("database", errorf("%s", problem))
		}
	}
	err := s.View(ctx, func(r store.Reader) error {
		if err := c.rows(ctx, r); err != nil {
			return err
		}
		if err := c.compareParentRecords(ctx, r); err != nil {
			return err
		}
		if err := c.compareLineages(ctx, r); err != nil {
			return err
		}
		if err := c.compareRevocations(ctx, r); err != nil {
			return err
		}
		return c.log(ctx, r)
	})
	c.reportKeys()
	return c.checked, err
}

// A problem is a Finding about a row that is known.
type problem struct {
	severity Severity
	text     string
}

func (c *checker) report(row string, problems ...problem) {
	c.reporting.Lock()
	defer c.reporting.Unlock()
	for _, p := range problems {
		if p.severity == SeverityError {
			c.checked.Errors++
		} else {
			c.checked.Warnings++
		}
		c.found(Finding{p.severity, pki.EscapeText(row), pki.EscapeText(p.text)})
	}
}

// A checker is one Check in progress. Later rows are judged by what it keeps of earlier ones.
type checker struct {
	now      time.Time
	progress Progress

	reporting sync.Mutex // guards found and checked
	found     func(Finding)
	checked   CheckResult

	custody  keys.Custody
	locked   error // why none of them can be opened
	unopened int   // private keys that could not be looked at, as they are locked
	exposed  int   // and that are in the clear, in a database where others are sealed
	sealed   int
	begun    bool // there is the KEK of the daemon

	hash          *dump.Hash
	cas           map[caRef]*caInfo
	below         []*caInfo // CAs that a parent has signed
	externalLists map[store.AuthorityName][]*x509.RevocationList
	crls          []store.CRL
	tallies       map[store.AuthorityName]*tally
	rowOf         map[store.AuthorityName]store.Authority
	issued        *verifier // while certificates come
}

type caRef struct {
	authority store.AuthorityName
	id        int64
}

// A tally is what has been read of one authority so far.
type tally struct {
	cas      []*caInfo // by age
	pending  int64
	signed   int64 // certificates that answer a request, renewals excepted
	entries  pki.RevokedEntries
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

// rows reads everything once, CAs before what they have signed.
func (c *checker) rows(ctx context.Context, r store.Reader) error {
	if err := c.readAuthorities(ctx, r); err != nil {
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
	defer c.awaitCertificates() // also when the walk fails
	step := c.progress.follow("checking")
	err := r.Rows(ctx, func(row store.Row) error {
		step(row)
		if err := ctx.Err(); err != nil {
			return err
		}
		if crt, ok := row.(store.Certificate); ok {
			c.submitCertificate(crt)
		} else {
			c.awaitCertificates() // so that findings come in the order of rows
			c.report(dump.Describe(row), append(c.unknownAuthority(row), c.row(row)...)...)
		}
		if !dump.Sound(row) {
			c.report(dump.Describe(row), warningf("a text in it holds a NUL or is not UTF-8, which is lost in backups and copies"))
		}
		if err := c.hash.Add(row); err != nil {
			c.report(dump.Describe(row), errorf("no backup can hold it: %v", err))
		}
		return nil
	})
	c.awaitCertificates()
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
			c.report("authority "+string(a), c.compareCounters(c.tally(a))...)
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
	case store.KEK:
		return c.kek(v)
	case store.CRL:
		return c.rememberCRL(v)
	case store.Request:
		return c.request(v)
	case store.Approval:
		return c.notFuture("when it was given", v.ApprovedAt)
	case store.Adoption:
		return c.notFuture("when it was confirmed", v.HeldAt)
	case store.Delivery:
		return c.notFuture("when it was made", v.CreatedAt)
	case store.Rejection:
		return c.rejection(v)
	case store.Lineage:
		return c.lineage(v)
	case store.Revocation:
		return c.revocation(v)
	case store.Invitation:
		return c.invitation(v)
	case store.Counter:
		return counter(v)
	case store.Setting:
		return c.setting(v)
	case store.AuditEntry:
		return c.entry(v.Entry)
	case store.Log, store.LogTile, store.Checkpoint:
		return nil // of which VerifyLog makes sure
	}
	return []problem{errorf("there is no such kind of row")}
}

// tolerance is how far the clocks of machines differ without being wrong.
const tolerance = 24 * time.Hour

// notFuture returns the problem of a time that lies in the future, if t does.
func (c *checker) notFuture(what string, t time.Time) []problem {
	if t.After(c.now.Add(tolerance)) {
		return []problem{warningf("%s lies in the future, %s: was the clock ahead?", what, t.Format(time.RFC3339))}
	}
	return nil
}

func (c *checker) entry(e audit.Entry) []problem {
	problems := c.notFuture("its time", e.Time)
	if e.Action == "" || e.Actor.Kind == "" {
		problems = append(problems, errorf("it does not say who did what"))
	}
	return problems
}

// revokedPage is how many revocations are read at once, when certificates are looked up for them.
const revokedPage = 1000

// compareRevocations compares revocations with the certificates they are about, where these are on record.
func (c *checker) compareRevocations(ctx context.Context, r store.Reader) error {
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
