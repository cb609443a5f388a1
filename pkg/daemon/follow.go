package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"cauase/pkg/server/caucase"
	"cauase/pkg/store"
)

// Several daemons on one database: each has its own key pair, and everything else in common. What others have changed is taken over here, and
// what we have revoked ourselves gets onto a list, before anybody asks for it.

// pollInterval is how often a daemon looks whether others have changed anything. On a database that
// several share it is told sooner, if nothing is lost on the way.
const pollInterval = time.Second

// follow keeps up with whatever happens to the store, until ctx ends: by us, by other daemons, or by an operator's
// commands. It returns a channel that is closed when it has ended.
func (d *Daemon) follow(ctx context.Context) <-chan struct{} {
	done := make(chan struct{})
	var running sync.WaitGroup
	if shared, ok := d.store.(store.Watcher); ok {
		running.Go(func() { shared.Watch(ctx, d.hear) })
	}
	d.hear() // a long list takes a while to be read: it is there, or on the way, when the first one asks
	running.Go(func() { d.keepUp(ctx) })
	go func() { running.Wait(); close(done) }()
	return done
}

// hear has us catch up soon.
func (d *Daemon) hear() {
	select {
	case d.news <- struct{}{}:
	default: // we are about to look anyway
	}
}

// minGather is how long, at least, news are gathered after others were dealt with, if there are many.
const minGather = 100 * time.Millisecond

// keepUp catches up at each piece of news, and now and then. A few are dealt with at once. When much happens, such as thousands of
// revocations, news are gathered for so long that long lists are not made without a pause.
func (d *Daemon) keepUp(ctx context.Context) {
	poll := time.NewTicker(pollInterval)
	defer poll.Stop()
	away := false
	credit := pollInterval // of pauses that need not be made, for every interval
	for {
		select {
		case <-ctx.Done():
			return
		case <-poll.C:
			credit = pollInterval
		case <-d.news:
		}
		begun := d.clock.Now()
		err := d.catchUp(ctx)
		took := d.clock.Now().Sub(begun)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && !away:
			d.log.ErrorContext(ctx, "what others do to the database is not seen; lists and CA certificates are served as they were", "error", err)
		case err == nil && away:
			d.log.InfoContext(ctx, "what others do to the database is seen again")
		}
		away = err != nil
		gather := min(max(4*took, minGather), pollInterval)
		if credit -= gather; credit >= 0 {
			continue
		}
		pause := time.NewTimer(gather)
		select {
		case <-ctx.Done():
			pause.Stop()
			return
		case <-pause.C:
		}
	}
}

// checkClock compares our clock with the database's, which is also the others'. One that is far off would
// make CA certificates and lists that the others have to make again, and make theirs again in turn: such a
// daemon makes nothing until its clock is right.
func (d *Daemon) checkClock(ctx context.Context) error {
	shared, ok := d.store.(store.Watcher)
	if !ok {
		return nil
	}
	before := d.clock.Now()
	theirs, err := shared.Now(ctx)
	after := d.clock.Now()
	if err != nil {
		return err
	}
	// What the answer took is no difference.
	off := max(before.Sub(theirs), theirs.Sub(after), 0)
	var wrong error
	if off > d.cfg.maxSkew() {
		wrong = fmt.Errorf("the clock here says %s, that of the database %s", after.UTC().Format(time.RFC3339), theirs.Format(time.RFC3339))
	}
	switch was := d.skew.Swap(&wrong); {
	case wrong != nil && (was == nil || *was == nil):
		d.log.ErrorContext(ctx, "nothing is signed here until the clocks agree", "error", wrong, "tolerated", d.cfg.maxSkew())
	case wrong == nil && was != nil && *was != nil:
		d.log.InfoContext(ctx, "the clocks agree again")
	}
	return nil
}

// skewed says what was wrong with our clock when it was last compared.
func (d *Daemon) skewed() error {
	if wrong := d.skew.Load(); wrong != nil {
		return *wrong
	}
	return nil
}

// catchUp takes over what others have changed.
func (d *Daemon) catchUp(ctx context.Context) error {
	if err := d.checkClock(ctx); err != nil {
		return err
	}
	if d.skewed() != nil {
		return nil // which was said
	}
	for _, name := range d.vault.Expire() {
		d.log.InfoContext(ctx, "private keys are locked again", "authority", name)
	}
	changed, err := d.authorities.Refresh(ctx)
	d.noticeRows(ctx)
	if changed {
		err = errors.Join(err, d.refreshHandshake(ctx))
	}
	return err
}

// openCORSKeys opens the keys that sign users' consent: in the file of the flag or, where a balancer
// sends a browser to one daemon now and to another then, in their database.
func (d *Daemon) openCORSKeys(ctx context.Context) (*caucase.CORSKeys, error) {
	if _, shared := d.store.(store.Watcher); !shared {
		return caucase.OpenCORSKeys(d.cfg.CORSKeys)
	}
	vault := settingVault{d.store}
	// A daemon that moved here brings its own along.
	if supplied, err := os.ReadFile(d.cfg.CORSKeys); err == nil {
		if _, err := caucase.OpenCORSKeys(d.cfg.CORSKeys); err != nil {
			return nil, err
		}
		err := vault.Change(ctx, func(old []byte) ([]byte, error) {
			if old != nil {
				return old, nil
			}
			return supplied, nil
		})
		if err != nil {
			return nil, err
		}
	}
	return caucase.OpenSharedCORSKeys(ctx, vault)
}

// A settingVault keeps text in a setting.
type settingVault struct{ store store.Store }

func (v settingVault) Read(ctx context.Context) (text []byte, err error) {
	err = v.store.View(ctx, func(r store.Reader) error {
		text, err = readVault(ctx, r)
		return err
	})
	return text, err
}

func (v settingVault) Change(ctx context.Context, fn func([]byte) ([]byte, error)) error {
	return v.store.Update(ctx, func(tx store.Tx) error {
		old, err := readVault(ctx, tx)
		if err != nil {
			return err
		}
		text, err := fn(old)
		if err != nil {
			return err
		}
		return tx.PutSetting(ctx, "", store.SettingCORSKeys, string(text))
	})
}

func readVault(ctx context.Context, r store.Reader) ([]byte, error) {
	text, err := r.Setting(ctx, "", store.SettingCORSKeys)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	return []byte(text), err
}
