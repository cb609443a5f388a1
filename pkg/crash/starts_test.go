package crash

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cauase/pkg/testkit"
	"cauase/pkg/testkit/faults"
)

// start makes the story of what a daemon does by itself once it is started, from its first step on.
type start struct {
	name    string
	later   time.Duration // than the world was made
	options []string
	empty   bool          // nothing is there before
	before  time.Duration // when a daemon has been there last, if given
	// done reports whether what is due has been done.
	done func(r *run, d *daemon) bool
	// check looks at what is there in the end.
	check func(r *run)
	files bool
}

var errNotDone = errors.New("what is due is not done")

func (s start) story() story {
	launch := func(r *run, o *faults.Options) *daemon {
		shift(r, r.dir, s.later)
		if o == nil {
			return startDaemon(r, r.dir, r.database, s.options...)
		}
		return traceDaemon(r, r.dir, r.database, *o, s.options...)
	}
	await := func(r *run, d *daemon) error {
		err := d.awaitReady()
		for deadline := time.Now().Add(patience); err == nil && s.done != nil && !s.done(r, d); {
			switch {
			case !d.running():
				err = errEnded
			case time.Now().After(deadline):
				err = errNotDone
			default:
				time.Sleep(20 * time.Millisecond)
			}
		}
		return err
	}
	return story{
		name: s.name, files: s.files,
		prepare: func(t testing.TB, dir, database string) {
			for _, name := range testkit.Files(t, dir) {
				if s.empty {
					check(t, os.Remove(filepath.Join(dir, name)))
				}
			}
			if s.before != 0 {
				// With an authority of short spans there it looks for what is due all the time.
				must(t, dir, database, "authority", "add", "quick", "--span", "2m")
				shift(t, dir, s.before)
				check(t, startDaemon(t, dir, database).stop())
			}
		},
		happen: func(r *run) []faults.Step {
			o := r.options(true)
			d := launch(r, &o)
			if r.fault.On {
				// What goes on failing is over once it has been noticed.
				for deadline := time.Now().Add(patience); d.running() && d.awaitHit() == nil && time.Now().Before(deadline); {
					time.Sleep(10 * time.Millisecond)
					if d.process.Disarm() == nil {
						break
					}
				}
			}
			err := await(r, d)
			r.acked = err == nil
			switch {
			case d.running() && err == nil:
				_ = d.process.Disarm()
				if err := d.stop(); err != nil && !d.process.Killed() { // which may come as it ends
					r.Error(err)
				}
			case d.running():
				r.Errorf("%v\n%s", err, d.log)
				d.kill()
			case !d.process.Killed() && !strings.Contains(d.log.String(), "error"):
				r.Errorf("the daemon ends with %v and does not say why:\n%s", d.cmd.ProcessState, d.log)
			}
			d.said(r)
			return r.traced(d.process)
		},
		settle: func(r *run) {
			if !s.empty {
				consistent(r, r.dir, r.database)
			}
			d := launch(r, nil)
			if err := await(r, d); err != nil {
				r.Errorf("after a restart: %v\n%s", err, d.log)
			}
			check(r, d.stop())
			d.said(r)
			consistent(r, r.dir, r.database)
			if s.check != nil {
				s.check(r)
			}
		},
	}
}

// awaitHit waits until a fault has begun.
func (d *daemon) awaitHit() error {
	for {
		if _, hit, err := d.process.Steps(); hit != nil || err != nil {
			return err
		}
		select {
		case <-d.exited:
			return errEnded
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// shift sets the clock of what runs in a folder.
func shift(t testing.TB, dir string, by time.Duration) {
	t.Helper()
	check(t, os.WriteFile(dir+".clock", []byte(by.String()), 0o600))
}

// gone reports whether a daemon knows nothing of a request or certificate.
func (d *daemon) gone(path string) bool {
	resp, err := http.Get(d.url() + path)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	return resp.StatusCode == http.StatusNotFound
}

// backups lists those that are there, and checks that each can be restored.
func (r *run) backups(folder string) (whole int) {
	r.Helper()
	for _, name := range testkit.Files(r, filepath.Join(r.dir, folder)) {
		if strings.HasSuffix(name, ".caucased") && !strings.HasPrefix(name, ".") {
			must(r, r.dir, r.database, "restore", "--dry-run", filepath.Join(folder, name), "alice.key")
			whole++
		}
	}
	return whole
}

const halfAYear = 190 * 24 * time.Hour

// starts are what a daemon does by itself.
var starts = []start{
	{name: "first start", empty: true},
	{name: "start", done: func(r *run, d *daemon) bool { return true }},
	{name: "rollover", later: halfAYear, files: true, // clocks are those of the database otherwise
		done: func(r *run, d *daemon) bool { return true },
		check: func(r *run) {
			for _, authority := range []string{"cas", "cau"} {
				said := must(r, r.dir, r.database, "authority", "show", authority, "--json")
				if n := strings.Count(said, `"fingerprint"`); n != 2 {
					r.Errorf("%s has %d generations:\n%s", authority, n, said)
				}
			}
		}},
	// What has expired is removed once it is in no list any more that is valid.
	{name: "pruning", later: halfAYear + 9*24*time.Hour, files: true, before: halfAYear,
		done: func(r *run, d *daemon) bool { return d.gone(fmt.Sprintf("/cas/crt/%v", r.world.held[0].id)) }},
	{name: "scheduled backup", options: []string{"--backup-directory", "backups"},
		done: func(r *run, d *daemon) bool {
			entries, err := os.ReadDir(filepath.Join(r.dir, "backups"))
			for _, e := range entries {
				if err == nil && strings.HasSuffix(e.Name(), ".caucased") && !strings.HasPrefix(e.Name(), ".") {
					return true
				}
			}
			return false
		},
		check: func(r *run) {
			if r.backups("backups") == 0 {
				r.Error("there is no backup")
			}
		}},
}

// ending is the story of a daemon that is told to end.
var ending = story{
	name: "end",
	happen: func(r *run) []faults.Step {
		d := traceDaemon(r, r.dir, r.database, r.options(false))
		check(r, d.awaitReady())
		v := r.visit(d)
		check(r, submit(v))
		check(r, d.process.Arm())
		err := d.stop()
		r.acked = err == nil
		if !d.process.Killed() && !d.cmd.ProcessState.Success() && !strings.Contains(d.log.String(), "error") {
			r.Errorf("the daemon ends with %v and does not say why:\n%s", d.cmd.ProcessState, d.log)
		}
		d.said(r)
		return r.traced(d.process)
	},
	settle: func(r *run) {
		consistent(r, r.dir, r.database)
		r.acked = true // of the request, that is
		d := startDaemon(r, r.dir, r.database)
		v := r.visit(d)
		if err := submitted(v); err != nil {
			r.Error(err)
		}
		check(r, d.stop())
	},
}
