package caucase

import (
	"cmp"
	"errors"
	"fmt"
	"iter"
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"

	"cauase/pkg/pki"
	"cauase/pkg/store"
)

// A conversion turns a Database into rows of a store.
type conversion struct {
	now    time.Time
	rows   []store.Row
	report Report
	bad    []BadRow
	err    error             // of what cannot be left out
	caKeys map[string]string // prefix of the authority, by key identifier of a CA
}

// Rows returns what a store is to be filled with, in the order that Load takes. What waits for a
// decision is as old as now, since caucase does not say. Rows that cannot be used end it with a
// [BadRowsError], unless they are to be left out.
func (d *Database) Rows(now time.Time) iter.Seq2[store.Row, error] {
	return func(yield func(store.Row, error) bool) {
		c := d.convert(now)
		if c.err != nil {
			yield(nil, c.err)
			return
		}
		for _, row := range c.rows {
			if !yield(row, nil) {
				return
			}
		}
	}
}

// Report returns an account of the conversion; it is complete once Rows has been called.
func (d *Database) Report() Report {
	if d.converted == nil {
		return Report{}
	}
	return d.converted.report
}

func (d *Database) convert(now time.Time) *conversion {
	if d.converted != nil && d.converted.now.Equal(now) {
		return d.converted
	}
	c := &conversion{now: now, caKeys: map[string]string{}}
	d.converted = c
	if d.Empty() {
		c.err = fmt.Errorf("%w: the database is empty, it has never been used", ErrNotCaucase)
		return c
	}
	var parts []*authority
	var lastCA int64
	for _, a := range authorities {
		row, _ := store.Standard(a.name, now)
		part := &authority{conversion: c, row: row, name: a.name, tables: d.authorities[a.name], keys: map[string][]byte{}}
		if c.err = part.convert(&lastCA); c.err != nil {
			return c
		}
		parts = append(parts, part)
		c.report.Authorities = append(c.report.Authorities, part.report)
	}
	c.report.LeftOut = c.bad
	if len(c.bad) > 0 && !d.SkipBadRows {
		c.err = &BadRowsError{c.bad}
		return c
	}
	c.assemble(parts)
	return c
}

// assemble puts the rows in the order of Load.
func (c *conversion) assemble(parts []*authority) {
	byName := slices.SortedFunc(slices.Values(parts), func(a, b *authority) int { return cmp.Compare(a.name, b.name) })
	for _, p := range byName {
		if p.holdsAnything() {
			c.rows = append(c.rows, p.authorityRow())
		}
	}
	for _, p := range parts {
		for _, row := range p.cas {
			c.rows = append(c.rows, row.CA)
		}
	}
	for _, p := range byName {
		slices.SortFunc(p.requests, func(a, b store.Request) int { return cmp.Compare(a.ID, b.ID) })
		for _, row := range p.requests {
			c.rows = append(c.rows, row)
		}
	}
	for _, p := range byName {
		for _, row := range p.lineages {
			c.rows = append(c.rows, row)
		}
	}
	var issued []store.Certificate
	for _, p := range byName {
		issued = append(issued, p.issued...)
	}
	slices.SortStableFunc(issued, func(a, b store.Certificate) int { return a.NotBefore.Compare(b.NotBefore) })
	for _, row := range issued {
		c.rows = append(c.rows, row)
	}
	for _, p := range byName {
		for _, row := range p.revoked {
			c.rows = append(c.rows, row)
		}
	}
	for _, p := range byName {
		for _, row := range p.counters {
			c.rows = append(c.rows, row)
		}
	}
	for _, p := range byName {
		for _, row := range p.settings {
			c.rows = append(c.rows, row)
		}
	}
}

// An authority is one of caucase's while it becomes one of ours.
type authority struct {
	*conversion
	*tables
	row      store.Authority
	name     store.AuthorityName
	report   AuthorityReport
	keys     map[string][]byte // key identifier of what was issued, by serial
	received int64             // requests there have been

	cas      []generation // oldest first
	requests []store.Request
	issued   []store.Certificate
	lineages []store.Lineage
	revoked  []store.Revocation
	counters []store.Counter
	settings []store.Setting
}

// holdsAnything reports whether there is anything of this authority.
func (a *authority) holdsAnything() bool {
	return len(a.cas)+len(a.requests)+len(a.issued)+len(a.revoked)+len(a.counters)+len(a.settings) > 0
}

// authorityRow is what the database says of the authority itself, as old as its first CA. The daemon's
// flags say the rest when it starts.
func (a *authority) authorityRow() store.Authority {
	row := a.row
	if len(a.cas) > 0 {
		row.CreatedAt = a.cas[0].CreatedAt
	}
	return row
}

func (a *authority) convert(lastCA *int64) error {
	a.report.Authority = a.name
	if err := a.convertCAs(lastCA); err != nil {
		return err
	}
	a.convertCertificates()
	a.convertRevocations()
	a.makeLineages()
	if err := a.convertSettings(); err != nil {
		return err
	}
	return a.convertCounters()
}

// skip notes a row that cannot be used.
func (a *authority) skip(kind string, n int, what string, why error) {
	a.bad = append(a.bad, BadRow{Table: a.prefix + kind, Row: n + 1, What: what, Why: why.Error()})
}

func (a *authority) note(format string, args ...any) {
	a.conversion.report.Notes = append(a.conversion.report.Notes, fmt.Sprintf(format, args...))
}

// lastSecond is that of the year 9999, the last that certificates know.
const lastSecond = 253402300799

func instant(seconds int64) (time.Time, error) {
	if seconds < 0 || seconds > lastSecond {
		return time.Time{}, fmt.Errorf("%d is not a date in seconds since 1970", seconds)
	}
	return time.Unix(seconds, 0).UTC(), nil
}

// maxSerialBits is the most a serial number may have: 20 bytes (RFC 5280 4.1.2.2).
const maxSerialBits = 160

// convertRevocations keeps their order of time. Caucase takes revocations of serial numbers that
// no certificate can have, and then cannot make a list any more: they are left out silently.
func (a *authority) convertRevocations() {
	seen := map[string]bool{}
	for i, row := range a.tables.revoked {
		what := "serial " + strconv.Quote(clip(row.serial, 60))
		rev, err := a.revocation(row)
		switch {
		case err != nil:
			a.skip("revoked", i, what, err)
		case rev.Serial.Sign() <= 0:
			a.note("%s: the revocation of serial %#x is left out: no certificate has that one", a.name, rev.Serial)
		case seen[rev.Serial.String()]:
			a.note("%s: serial %#x is revoked twice, the second time as %s", a.name, rev.Serial, what)
		default:
			seen[rev.Serial.String()] = true
			a.revoked = append(a.revoked, rev)
		}
	}
	slices.SortStableFunc(a.revoked, func(x, y store.Revocation) int { return x.RevokedAt.Compare(y.RevokedAt) })
	for i := range a.revoked {
		a.revoked[i].Seq = int64(i) + 1
	}
	a.report.Revoked = len(a.revoked)
}

func (a *authority) revocation(row revokedRow) (store.Revocation, error) {
	rev := store.Revocation{Authority: a.name}
	digits := strings.TrimPrefix(row.serial, "-")
	const most = 60 // digits; 20 bytes have 49
	if digits == "" || len(digits) > most || strings.Trim(digits, "0123456789") != "" {
		return rev, errors.New("the serial number is not a decimal number")
	}
	rev.Serial, _ = new(big.Int).SetString(row.serial, 10) // digits only
	if rev.Serial.BitLen() > maxSerialBits {
		return rev, errors.New("the serial number is longer than 20 bytes")
	}
	var err error
	if rev.RevokedAt, err = instant(row.revoked); err != nil {
		return rev, fmt.Errorf("revocation date: %w", err)
	}
	// A CA without an end has one in the year 9999, and this may lie behind it.
	if rev.KeepUntil, err = instant(min(row.expires, lastSecond)); err != nil {
		return rev, fmt.Errorf("expiration date: %w", err)
	}
	rev.KeyID = a.keys[rev.Serial.String()]
	return rev, nil
}

// autoSignAmount is the one name in config_once.
const autoSignAmount = "auto_sign_csr_amount"

func (a *authority) convertSettings() error {
	for name, value := range a.once {
		if name != autoSignAmount {
			a.note("%s: %sconfig_once has a value named %q, which says nothing to us", a.name, a.prefix, clip(name, 40))
			continue
		}
		n, err := strconv.ParseUint(value, 10, 31)
		if err != nil {
			return fmt.Errorf("%w: %sconfig_once: %s is %q, not a count", ErrNotCaucase, a.prefix, name, clip(value, 40))
		}
		count := int64(n)
		a.report.AutoApprove = &count
		a.settings = append(a.settings, store.Setting{Authority: a.name, Name: store.SettingAutoApprove, Value: strconv.FormatInt(count, 10)})
	}
	if n := len(a.cas); n > 0 {
		newest := a.cas[n-1].crt.PublicKey
		if _, err := pki.KeyTypeOf(newest); err != nil {
			next := pki.NearestKeyType(newest)
			a.note("%s: the next CA key will be %s: none is made like the newest one", a.name, next)
			a.settings = append(a.settings, store.Setting{Authority: a.name, Name: store.SettingNextKeyType, Value: string(next)})
		}
	}
	if len(a.cas) > 0 {
		// The clients of caucase do not compare subjects, and those that do cannot know this authority yet.
		a.settings = append(a.settings, store.Setting{Authority: a.name, Name: store.SettingStrictFollower, Value: store.NoStrictFollower})
	}
	slices.SortFunc(a.settings, func(x, y store.Setting) int { return cmp.Compare(x.Name, y.Name) })
	return nil
}

// convertCounters makes the next list's number larger than any that caucase has given to one: its
// counter is the last of them, ours is that of the list being served, or due.
func (a *authority) convertCounters() error {
	const most = math.MaxInt64 / 2 // far from an overflow
	counters := map[string]int64{store.CounterCA: int64(len(a.cas))}
	for name, value := range a.tables.counter {
		switch {
		case name != store.CounterCRLNumber && name != store.CounterReceivedCSR:
			a.note("%s: %scounter has a value named %q, which says nothing to us", a.name, a.prefix, clip(name, 40))
			continue
		case value < 0 || value > most:
			return fmt.Errorf("%w: %scounter: %s is %d", ErrNotCaucase, a.prefix, name, value)
		}
		counters[name] = value
	}
	if a.received > 0 {
		counters[store.CounterReceivedCSR] = a.received
	}
	listed := a.lastUpdate()
	for i, row := range a.crl {
		number, at, err := listNumber(row.crl)
		listed = max(listed, at)
		if err == nil && number > most {
			err = fmt.Errorf("its number is %d", number)
		}
		if err != nil {
			a.skip("crl", i, "revocation list", err)
			continue
		}
		counters[store.CounterCRLNumber] = max(counters[store.CounterCRLNumber], number)
	}
	if counters[store.CounterCRLNumber] > 0 {
		counters[store.CounterCRLNumber]++
	}
	counters[store.CounterListed] = listed
	a.report.CRLNumber = counters[store.CounterCRLNumber]
	for name, value := range counters {
		if value > 0 {
			a.counters = append(a.counters, store.Counter{Authority: a.name, Name: name, Value: value})
		}
	}
	slices.SortFunc(a.counters, func(x, y store.Counter) int { return cmp.Compare(x.Name, y.Name) })
	return nil
}

// lastUpdate is when caucase has last dated its lists, 0 if it does not say. What it has never written is not looked at.
func (a *authority) lastUpdate() int64 {
	n, err := strconv.ParseInt(a.tables.config["crl_last_update"], 10, 64)
	if err != nil || n < 0 || n > lastSecond {
		return 0
	}
	return n
}

func clip(s string, n int) string {
	if len(s) > n {
		return s[:n] + "…"
	}
	return s
}
