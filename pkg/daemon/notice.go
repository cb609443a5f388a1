package daemon

import (
	"context"
	"sync"
	"time"

	"cauase/pkg/ca"
	"cauase/pkg/store"
)

// noticed is what was said of authorities in the log, so that it is said once.
type noticed struct {
	mu       sync.Mutex
	begun    time.Time
	rows     map[store.AuthorityName]store.Authority
	signoffs map[store.AuthorityName]time.Time // when it was last said that one is waited for
}

func (n *noticed) begin(now time.Time, all []*ca.Authority) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.begun, n.rows, n.signoffs = now, rowsOf(all), make(map[store.AuthorityName]time.Time)
}

func rowsOf(all []*ca.Authority) map[store.AuthorityName]store.Authority {
	rows := make(map[store.AuthorityName]store.Authority, len(all))
	for _, a := range all {
		rows[a.Name()] = a.Row()
	}
	return rows
}

// noticeRows says what others have changed about authorities: another daemon that was started with other
// options, or an operator.
func (d *Daemon) noticeRows(ctx context.Context) {
	n := &d.noticed
	n.mu.Lock()
	defer n.mu.Unlock()
	rows := rowsOf(d.authorities.All())
	for name, row := range rows {
		if old, known := n.rows[name]; known {
			if what := difference(old, row); what != "" {
				d.log.WarnContext(ctx, "an authority was changed by another daemon or by an operator, which holds here, too",
					"authority", string(name), "changes", what)
			}
		}
	}
	n.rows = rows
}

// signoffReminder is how often the log says that a sign-off is waited for.
const signoffReminder = 24 * time.Hour

// noticeSignoffs says, once a day, which authorities wait for a sign-off. That one was asked for is
// said when that happens.
func (d *Daemon) noticeSignoffs(ctx context.Context) {
	n := &d.noticed
	n.mu.Lock()
	defer n.mu.Unlock()
	now := d.clock.Now()
	for _, a := range d.listed() {
		awaited, waiting, err := a.Awaited(ctx)
		if err != nil {
			return // of which maintenance has spoken
		}
		if !waiting || d.retired(a) {
			delete(n.signoffs, a.Name())
			continue
		}
		last, said := n.signoffs[a.Name()]
		if !said && !awaited.Since.Before(n.begun) {
			last, said = awaited.Since, true
			n.signoffs[a.Name()] = last
		}
		if said && now.Sub(last) < signoffReminder && !now.Before(last) {
			continue
		}
		n.signoffs[a.Name()] = now
		ends := "none is valid"
		if !awaited.Until.IsZero() {
			ends = stamp(awaited.Until)
		}
		d.log.WarnContext(ctx, "a CA certificate waits for a sign-off of the parent", "authority", string(a.Name()),
			"parent", string(awaited.Parent), "since", awaited.Since, "needed_from", awaited.From, "current_one_ends", ends)
	}
}
