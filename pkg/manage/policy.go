package manage

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"cauase/pkg/ca"
	"cauase/pkg/pki"
	"cauase/pkg/policy"
	"cauase/pkg/profile"
	"cauase/pkg/store"
)

// A Trial is rules, and what they are tried with.
type Trial struct {
	Rules    *policy.Set
	Profiles *profile.Set
	Daemon   []string // names of the daemon itself
}

// Case is what rules would decide about if a request were submitted to the authority with this row. The empty profile is the authority's
// default.
func (t Trial) Case(row store.Authority, req *pki.Request, profileName string, by policy.Asker, at time.Time) (policy.Case, error) {
	p, err := t.Profiles.Lookup(cmp.Or(profileName, row.Profile, profile.NameAsRequested))
	if err != nil {
		return policy.Case{}, err
	}
	return ca.SubmittedCase(row, t.Daemon, req, p, by, at), nil
}

// unattended is what becomes of a verdict for a profile that needs a user.
func (t Trial) unattended(c policy.Case, v policy.Verdict) policy.Verdict {
	if p, err := t.Profiles.Lookup(c.Profile); err == nil && v.Decision == policy.Approve && !p.Unattended() {
		v.Decision = policy.Hold
	}
	return v
}

// Explain says what becomes of a case, and what each rule says of it.
func (t Trial) Explain(c policy.Case) (policy.Verdict, []policy.Step) {
	v, steps := t.Rules.Explain(c)
	return t.unattended(c, v), steps
}

// OwnNames are the names of the daemons on a store, as the last one to start was told.
func OwnNames(ctx context.Context, r store.Reader) ([]string, error) {
	netloc, err := r.Setting(ctx, "", store.SettingNetloc)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	host, _, err := net.SplitHostPort(netloc)
	if err != nil {
		host = netloc
	}
	return []string{strings.Trim(host, "[]")}, nil
}

// OnRecord finds a request, pending or with a first certificate, with what is known of who has made it.
func OnRecord(ctx context.Context, st store.Store, authority store.AuthorityName, id int64) (found Recorded, err error) {
	err = st.View(ctx, func(r store.Reader) error {
		rows, err := r.Authorities(ctx)
		if err != nil {
			return err
		}
		for _, row := range rows {
			if authority != "" && row.Name != authority {
				continue
			}
			pending, err := r.Request(ctx, row.Name, id)
			if err == nil {
				found, err = recordedRequest(pending)
				found.Row = row
				return err
			}
			crt, e := r.Certificate(ctx, row.Name, id)
			if e == nil && len(crt.CSR) > 0 {
				found, err = recordedCertificate(crt)
				found.Row = row
				return err
			}
			for _, err := range []error{err, e} {
				if err != nil && !errors.Is(err, store.ErrNotFound) {
					return err
				}
			}
		}
		return ErrNotPending
	})
	return found, err
}

// A Recorded request is one on record, and what has become of it.
type Recorded struct {
	Row     store.Authority
	ID      int64
	At      time.Time // when it was received, or, where that is not known, signed
	Request *pki.Request
	Profile string
	Asker   policy.Asker

	Decision policy.Decision // what has become of it: hold also where a user has approved it later
	Rule     string          // that has approved it; empty: none
	Method   store.Method    // of its certificate; empty: it is pending
}

func recordedRequest(r store.Request) (Recorded, error) {
	found := Recorded{ID: r.ID, At: r.ReceivedAt, Profile: r.Profile, Decision: policy.Hold}
	return found.with(r.PEM, r.Asked, r.Address)
}

func recordedCertificate(c store.Certificate) (Recorded, error) {
	found := Recorded{ID: c.ID, At: c.IssuedAt, Profile: c.Profile, Decision: policy.Hold, Rule: c.Rule, Method: c.Method}
	if c.Method == store.AutoSigned {
		found.Decision = policy.Approve
	}
	return found.with(c.CSR, c.Asked, "")
}

func (r Recorded) with(csr []byte, asked, address string) (_ Recorded, err error) {
	if r.Request, err = pki.ParseStored(csr); err != nil {
		return r, err
	}
	if r.Asker, err = policy.ParseAsker(asked); err != nil {
		return r, fmt.Errorf("who has asked: %w", err)
	}
	if asked == "" {
		r.Asker.Address = address
	}
	return r, nil
}

// A Replay is what to replay.
type Replay struct {
	Trial
	Authority store.AuthorityName // empty: all
	Since     time.Time
}

// A Difference is a request of which something else would become.
type Difference struct {
	Recorded
	Verdict policy.Verdict // what the rules say now
	What    string         // the difference, in words
}

// A Replayed says how many requests were looked at.
type Replayed struct {
	Requests  int64 // that the rules were tried on
	Different int64
	Skipped   int64 // that cannot be read, or have a profile that is not known
}

// errEnough ends a walk over rows.
var errEnough = errors.New("enough")

// Run has rules decide about the requests on record, in the order of time, and calls found for each of which something else would
// become. Rates are counted as they would have been. Memory grows with the number of pending requests only.
func (in Replay) Run(ctx context.Context, st store.Store, found func(Difference), progress Progress) (done Replayed, err error) {
	run := replay{Replay: in, engine: policy.NewEngine(in.Rules), rows: map[store.AuthorityName]store.Authority{}, found: found}
	err = st.View(ctx, func(r store.Reader) error {
		n := int64(0)
		return r.Rows(ctx, func(row store.Row) error {
			if err := ctx.Err(); err != nil {
				return err
			}
			n++
			if progress != nil {
				progress("replay", "rows", n)
			}
			return run.row(ctx, row)
		})
	})
	if err == nil || errors.Is(err, errEnough) {
		err = run.pendingUntil(ctx, time.Time{})
	}
	return run.done, err
}

type replay struct {
	Replay
	engine  *policy.Engine
	rows    map[store.AuthorityName]store.Authority
	pending []Recorded // that wait, oldest first, and have not been decided about yet
	sorted  bool
	found   func(Difference)
	done    Replayed
}

func (run *replay) row(ctx context.Context, row store.Row) error {
	switch row := row.(type) {
	case store.Authority:
		run.rows[row.Name] = row
	case store.Request:
		run.keep(row)
	case store.Certificate:
		return run.certificate(ctx, row)
	default:
		if afterCertificates(row) {
			return errEnough
		}
	}
	return nil
}

// afterCertificates reports whether a row is of a kind that comes when there are no more certificates.
func afterCertificates(row store.Row) bool {
	kinds := store.Kinds()
	at := func(k *store.Kind) int { return slices.Index(kinds, k) }
	return at(store.KindOf(row)) > at(store.KindOf(store.Certificate{}))
}

// concerns reports whether a request is one to replay.
func (run *replay) concerns(a store.AuthorityName, at time.Time) bool {
	return (run.Authority == "" || run.Authority == a) && !at.Before(run.Since)
}

func (run *replay) keep(row store.Request) {
	if !run.concerns(row.Authority, row.ReceivedAt) {
		return
	}
	one, err := recordedRequest(row)
	if err != nil {
		run.done.Skipped++
		return
	}
	one.Row = run.rows[row.Authority]
	run.pending = append(run.pending, one)
}

func (run *replay) certificate(ctx context.Context, row store.Certificate) error {
	switch {
	case !run.concerns(row.Authority, row.IssuedAt) || row.Renews != nil:
		return nil
	case !slices.Contains([]store.Method{store.Signed, store.TemplateSign, store.AutoSigned, store.Invited}, row.Method):
		return nil
	}
	if err := run.pendingUntil(ctx, row.IssuedAt); err != nil {
		return err
	}
	one, err := recordedCertificate(row)
	if err != nil {
		run.done.Skipped++
		return nil
	}
	one.Row = run.rows[row.Authority]
	return run.decide(ctx, one)
}

// pendingUntil decides about those that wait and came before t; the zero t: about all.
func (run *replay) pendingUntil(ctx context.Context, t time.Time) error {
	if !run.sorted {
		slices.SortStableFunc(run.pending, func(a, b Recorded) int { return a.At.Compare(b.At) })
		run.sorted = true
	}
	for len(run.pending) > 0 && (t.IsZero() || run.pending[0].At.Before(t)) {
		if err := run.decide(ctx, run.pending[0]); err != nil {
			return err
		}
		run.pending = run.pending[1:]
	}
	return nil
}

func (run *replay) decide(ctx context.Context, one Recorded) error {
	v, err := run.verdict(ctx, one)
	if err != nil {
		run.done.Skipped++
		return ctx.Err()
	}
	run.done.Requests++
	if what := difference(one, v); what != "" {
		run.done.Different++
		run.found(Difference{one, v, what})
	}
	return nil
}

// verdict is what the rules say of a request on record.
func (run *replay) verdict(ctx context.Context, one Recorded) (policy.Verdict, error) {
	c, err := run.Case(one.Row, one.Request, one.Profile, one.Asker, one.At)
	if err != nil {
		return policy.Verdict{}, err
	}
	v, err := run.engine.Decide(ctx, c)
	return run.unattended(c, v), err
}

// difference says what would become of a request that is not what has; "" if that is the same.
func difference(was Recorded, v policy.Verdict) string {
	invited := was.Method == store.Invited
	first := was.Decision == policy.Approve && was.Rule == ""
	switch {
	case v.Decision == policy.Refuse:
		return "would be refused"
	case invited && v.Needed() > 1:
		return fmt.Sprintf("would need %d users, and an invitation is one", v.Needed())
	case invited:
		return ""
	case v.Decision == policy.Hold && was.Decision == policy.Approve && (!first || v.Rule != ""):
		return "would wait for a user"
	case v.Decision == policy.Approve && was.Decision == policy.Hold:
		return "would be approved without a user"
	case v.Decision == policy.Approve && v.Rule != was.Rule:
		return "would be approved by another rule"
	}
	return ""
}
