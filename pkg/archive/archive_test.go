package archive

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/pgtest"
	"cauase/pkg/pki"
	"cauase/pkg/store"
	"cauase/pkg/store/sqlstore"
)

// A year of a daemon: one backup a day, none missing, the old ones removed.
func TestDaily(t *testing.T) {
	w := newWorld(t)
	a := w.archive("@daily", func(c *Config) { c.Keep = 3 })
	a.poll(t.Context())
	w.wantNames()
	if s, err := a.Status(t.Context()); err != nil || !s.NoUser || s.Missed || a.Check(t.Context()) != nil {
		t.Errorf("without a user: %+v %v", s, err)
	}
	if !w.said("no backup yet") {
		t.Error("not said")
	}
	// The first user gets a backup without waiting for an hour.
	key, _ := w.user("alice", pki.KeyECDSAP256)
	w.clock.Advance(time.Minute)
	a.poll(t.Context())
	w.wantNames("20260501100100.rows.caucased")
	open(t, filepath.Join(w.dir, "20260501100100.rows.caucased"), key)
	w.put("20250101000000.sql.caucased", "of the reference")
	for day := range 5 {
		w.clock.Set(time.Date(2026, 5, 1+day, 23, 59, 59, 0, time.UTC))
		before := names(t, w.dir)
		a.poll(t.Context())
		w.wantNames(before...)
		w.clock.Advance(2 * time.Second)
		a.poll(t.Context())
		a.poll(t.Context())
	}
	w.wantNames("20250101000000.sql.caucased", "20260504000001.rows.caucased", "20260505000001.rows.caucased", "20260506000001.rows.caucased")
	s, err := a.Status(t.Context())
	if err != nil || s.Last == nil || s.Last.Name != "20260506000001.rows.caucased" || s.Last.Recipients != 1 || s.Last.Size == 0 ||
		!s.Due.Equal(time.Date(2026, 5, 7, 0, 0, 0, 0, time.UTC)) || s.Missed || s.Failures != 0 {
		t.Errorf("%+v %v", s, err)
	}
	if w.setting(store.SettingBackupClaim) != "" {
		t.Error("a claim is left")
	}
	taken := 0
	err = w.store.View(t.Context(), func(r store.Reader) error {
		return r.Audit(t.Context(), audit.Filter{Action: audit.TakeBackup}, func(e audit.Entry) error {
			taken++
			return nil
		})
	})
	if taken != 6 || err != nil {
		t.Errorf("%d in the audit log, %v", taken, err)
	}
}

// When a backup is due, by what is in the directory and on record.
func TestDue(t *testing.T) {
	for name, c := range map[string]struct {
		files  []string
		record func(a *Archive) Record
		due    bool
	}{
		"nothing":                          {due: true},
		"a fresh one":                      {files: []string{"20260501090000.rows.caucased"}},
		"a fresh one of the reference":     {files: []string{"20260501090000.sql.caucased"}},
		"an old one":                       {files: []string{"20260430090000.rows.caucased"}, due: true},
		"old ones and a fresh one":         {files: []string{"20250430090000.rows.caucased", "20260501090000.sql.caucased"}},
		"one from the future":              {files: []string{"20990430090000.rows.caucased"}, due: true},
		"one from the future, a fresh one": {files: []string{"20990430090000.rows.caucased", "20260501090000.rows.caucased"}},
		"by a clock a little ahead":        {files: []string{"20260501100300.rows.caucased"}},
		"something else":                   {files: []string{"20260501090000.rows.caucased.gz", "x"}, due: true},
		"fresh elsewhere":                  {record: func(*Archive) Record { return Record{Time: epoch.Add(-time.Hour), Name: "x", Place: "other:/b"} }},
		"old elsewhere":                    {record: func(*Archive) Record { return Record{Time: epoch.Add(-25 * time.Hour), Name: "x", Place: "other:/b"} }, due: true},
		"elsewhere in the future":          {record: func(*Archive) Record { return Record{Time: epoch.Add(25 * time.Hour), Name: "x", Place: "other:/b"} }, due: true},
		"ours, and gone": {record: func(a *Archive) Record {
			return Record{Time: epoch.Add(-time.Hour), Name: FileName(epoch.Add(-time.Hour)), Place: a.place}
		}, due: true},
		"ours, and cut": {files: []string{FileName(epoch.Add(-2 * day)), FileName(epoch)}, record: func(a *Archive) Record {
			return Record{Time: epoch.Add(time.Second), Name: FileName(epoch), Size: 100, Place: a.place}
		}},
		"junk on record": {record: func(*Archive) Record { return Record{} }, due: true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.user("alice", pki.KeyECDSAP256)
			a := w.archive("@every 24h", nil)
			for _, f := range c.files {
				w.put(f, "x")
			}
			if c.record != nil {
				err := w.store.Update(t.Context(), func(tx store.Tx) error {
					return putSetting(t.Context(), tx, store.SettingBackupLast, c.record(a))
				})
				if err != nil {
					t.Fatal(err)
				}
			}
			before := len(names(t, w.dir))
			a.poll(t.Context())
			if got := len(names(t, w.dir)) > before; got != c.due {
				t.Errorf("taken: %v, want %v; %s", got, c.due, w.log)
			}
		})
	}
}

// Ten daemons, each with a directory of its own: one backup a period, whoever takes it.
func TestManyDaemons(t *testing.T) {
	w := newWorld(t)
	manyDaemons(t, w, func() store.Store { return w.store })
}

func TestManyDaemonsOnPostgreSQL(t *testing.T) {
	dsn := pgtest.Start(t, pgtest.Options{}).NewDatabase(t)
	connect := func() store.Store {
		db, err := sqlstore.Open(t.Context(), dsn, sqlstore.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = db.Close() })
		return db.Store()
	}
	w := newWorldOn(t, connect())
	manyDaemons(t, w, connect)
}

func manyDaemons(t *testing.T, w *world, connect func() store.Store) {
	t.Helper()
	w.user("alice", pki.KeyECDSAP256)
	root := t.TempDir()
	var all []*Archive
	for i := range 10 {
		a := w.archive("@every 1h", func(c *Config) {
			c.Directory = filepath.Join(root, fmt.Sprint(i))
			c.Store = connect()
		})
		a.place = fmt.Sprintf("host%d:%s", i, a.cfg.Directory)
		all = append(all, a)
	}
	for period := 1; period <= 5; period++ {
		var done sync.WaitGroup
		for _, a := range all {
			done.Go(func() { a.poll(t.Context()) })
		}
		done.Wait()
		files, err := filepath.Glob(filepath.Join(root, "*", "*"))
		if err != nil || len(files) != period {
			t.Fatalf("period %d: %d backups, %v\n%s", period, len(files), err, w.log)
		}
		w.clock.Advance(30 * time.Minute)
		for _, a := range all {
			a.poll(t.Context())
			if s, err := a.Status(t.Context()); err != nil || s.Last == nil || s.Missed || !s.Failed.IsZero() {
				t.Errorf("%+v %v", s, err)
			}
		}
		w.clock.Advance(30 * time.Minute)
	}
}

// A daemon that dies while it holds the claim is succeeded: at once by one in its own place, which
// can tell, and after a while by others.
func TestSuccession(t *testing.T) {
	w := newWorld(t)
	w.user("alice", pki.KeyECDSAP256)
	put := func(c claim) {
		t.Helper()
		err := w.store.Update(t.Context(), func(tx store.Tx) error { return putSetting(t.Context(), tx, store.SettingBackupClaim, c) })
		if err != nil {
			t.Fatal(err)
		}
	}
	a := w.archive("@every 1h", nil)
	put(claim{"dead", "other:/b", epoch.Add(claimLife)})
	a.poll(t.Context())
	w.wantNames()
	w.clock.Advance(claimLife - time.Second)
	a.poll(t.Context())
	w.wantNames()
	w.clock.Advance(2 * time.Second)
	a.poll(t.Context())
	w.wantNames(FileName(epoch.Add(claimLife + time.Second)))

	w.clock.Advance(2 * time.Hour)
	put(claim{"dead", a.place, w.clock.Now().Add(claimLife)})
	a.poll(t.Context())
	if n := len(names(t, w.dir)); n != 2 {
		t.Errorf("%d backups: the place is ours, and nobody else is in it", n)
	}
	w.clock.Advance(2 * time.Hour)
	put(claim{"confused", "other:/b", w.clock.Now().AddDate(10, 0, 0)})
	a.poll(t.Context())
	if n := len(names(t, w.dir)); n != 3 {
		t.Errorf("%d backups: nobody claims for ten years", n)
	}
	// Another process writes there: no failure, and not for long.
	w.clock.Advance(2 * time.Hour)
	d, err := openDirectory(w.dir)
	if err != nil {
		t.Fatal(err)
	}
	a.poll(t.Context())
	if s, _ := a.Status(t.Context()); s.Failures != 0 || len(names(t, w.dir)) != 3 {
		t.Errorf("%+v", s)
	}
	d.close()
	a.poll(t.Context())
	if n := len(names(t, w.dir)); n != 4 {
		t.Errorf("%d backups", n)
	}
}

// A failure shows, is tried again ever more rarely, and is over with the first success.
func TestFailure(t *testing.T) {
	w := newWorld(t)
	w.user("alice", pki.KeyECDSAP256)
	a := w.archive("@every 24h", nil)
	full := true
	tries := 0
	a.taker.wrap = func(f file) file {
		tries++
		if !full {
			return f
		}
		return &disk{file: f, fails: "write", err: syscall.ENOSPC}
	}
	for range 10 * 60 {
		a.poll(t.Context())
		w.clock.Advance(time.Minute)
	}
	// At 0, 1, 3, 7, 15, 31 and 63 minutes, then each hour.
	if want := 7 + 8; tries != want {
		t.Errorf("%d tries in ten hours, want %d", tries, want)
	}
	w.wantNames()
	s, err := a.Status(t.Context())
	if err != nil || s.Failures != tries || s.Failed.IsZero() || !s.Missed || s.Last != nil {
		t.Errorf("%+v %v", s, err)
	}
	if err := a.Check(t.Context()); err == nil || !strings.Contains(err.Error(), "failed at 2026-05-01T19:") || !strings.Contains(err.Error(), "none yet") {
		t.Errorf("check: %v", err)
	}
	if !w.said("no space left on device") || w.setting(store.SettingBackupClaim) != "" {
		t.Errorf("claim %q, log %s", w.setting(store.SettingBackupClaim), w.log)
	}
	full = false
	w.clock.Advance(time.Hour)
	a.poll(t.Context())
	if s, err := a.Status(t.Context()); err != nil || !s.Failed.IsZero() || s.Missed || s.Last == nil || a.Check(t.Context()) != nil {
		t.Errorf("%+v %v %v", s, err, a.Check(t.Context()))
	}
	// Another daemon's success counts as well.
	full = true
	w.clock.Advance(25 * time.Hour)
	a.poll(t.Context())
	if a.Check(t.Context()) == nil {
		t.Error("a failure does not show")
	}
	w.clock.Advance(time.Second)
	other := w.archive("@every 24h", func(c *Config) { c.Directory = filepath.Join(t.TempDir(), "b") })
	other.poll(t.Context())
	if err := a.Check(t.Context()); err != nil {
		t.Errorf("after another daemon's backup: %v", err)
	}
	// Set back by years, the clock does not keep us from trying.
	full = false
	w.clock.Advance(25 * time.Hour)
	a.taker.wrap = func(f file) file { return &disk{file: f, fails: "sync", err: syscall.EIO} }
	a.poll(t.Context())
	w.clock.Set(epoch)
	a.taker.wrap = nil
	a.poll(t.Context())
	if n := len(names(t, w.dir)); n != 2 {
		t.Errorf("%d backups after the clock was set back", n)
	}
}

// Where backups are due often, failures are not waited out.
func TestFailureOfFrequent(t *testing.T) {
	w := newWorld(t)
	w.user("alice", pki.KeyECDSAP256)
	a := w.archive("@every 10s", nil)
	tries := 0
	a.taker.wrap = func(f file) file {
		tries++
		return &disk{file: f, fails: "sync", err: syscall.EIO}
	}
	for range 60 {
		a.poll(t.Context())
		w.clock.Advance(time.Second)
	}
	if tries != 6 {
		t.Errorf("%d tries in a minute, want 6", tries)
	}
}

// A daemon that cannot take backups any more says so, however it comes to that.
func TestMissed(t *testing.T) {
	w := newWorld(t)
	w.user("alice", pki.KeyECDSAP256)
	a := w.archive("0 3 * * *", nil)
	a.poll(t.Context())
	w.clock.Set(time.Date(2026, 5, 2, 3, 14, 0, 0, time.UTC))
	if err := a.Check(t.Context()); err != nil {
		t.Errorf("a little late: %v", err)
	}
	w.clock.Set(time.Date(2026, 5, 2, 3, 15, 0, 0, time.UTC))
	if err := a.Check(t.Context()); err == nil || err.Error() != "missed, due at 2026-05-02T03:00:00Z, the last one is of 2026-05-01T10:00:00Z" {
		t.Errorf("check: %v", err)
	}
	// One that was just started makes up for it first.
	again := w.archive("0 3 * * *", nil)
	if err := again.Check(t.Context()); err != nil {
		t.Errorf("just started: %v", err)
	}
	again.poll(t.Context())
	if n := len(names(t, w.dir)); n != 2 {
		t.Errorf("%d backups", n)
	}
}

// That the last user has expired is no reason to be silent about it, but for readiness: strangers who read there that nobody
// can log in would know when an operator lets somebody in.
func TestReadinessTellsStrangersWhenApprovalOpens(t *testing.T) {
	w := newWorld(t)
	w.user("alice", pki.KeyECDSAP256)
	a := w.archive("@daily", nil)
	a.poll(t.Context())
	w.clock.Advance(365 * day)
	for name, a := range map[string]*Archive{"the same": a, "started again": w.archive("@daily", nil)} {
		a.poll(t.Context())
		w.clock.Advance(missedAfter)
		a.poll(t.Context())
		if s, err := a.Status(t.Context()); err != nil || !s.NoUser || !s.Missed || s.Due.IsZero() || s.Failures != 0 {
			t.Errorf("%s: %+v %v", name, s, err)
		}
		if err := a.Check(t.Context()); err == nil || !strings.Contains(err.Error(), "missed, due at") || strings.Contains(err.Error(), "user") {
			t.Errorf("%s: check: %v", name, err)
		}
	}
	if !w.said("no backup any more") {
		t.Errorf("not said: %s", w.log)
	}
	w.wantNames(FileName(epoch))
	// A new user ends it.
	w.user("bob", pki.KeyECDSAP256)
	a.poll(t.Context())
	if err := a.Check(t.Context()); err != nil {
		t.Error(err)
	}
}

// The directory is not a good one: said, and nothing else happens.
func TestWrongDirectory(t *testing.T) {
	w := newWorld(t)
	w.user("alice", pki.KeyECDSAP256)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(filepath.Dir(file), "link")
	if err := os.Symlink("nowhere", link); err != nil {
		t.Fatal(err)
	}
	// None is due, as another daemon has just taken one: that does not hide it until then.
	w.archive("@daily", nil).poll(t.Context())
	for name, dir := range map[string]string{"a file": file, "no parent": filepath.Join(filepath.Dir(file), "no", "where"), "a link to nowhere": link} {
		w.clock.Advance(time.Second)
		a := w.archive("@daily", func(c *Config) { c.Directory = dir })
		a.poll(t.Context())
		if err := a.Check(t.Context()); err == nil {
			t.Errorf("%s: the check says nothing", name)
		}
		if s, err := a.Status(t.Context()); err != nil || s.Failures != 1 {
			t.Errorf("%s: %+v %v", name, s, err)
		}
	}
	if w.setting(store.SettingBackupClaim) != "" {
		t.Error("a claim is left")
	}
}

// The goroutine of a daemon: it takes what is due, and ends when told to, leaving nothing.
func TestRun(t *testing.T) {
	w := newWorld(t)
	w.user("alice", pki.KeyECDSAP256)
	a := w.archive("@every 1h", func(c *Config) { c.Poll = time.Millisecond })
	taken := make(chan string, 100)
	a.taker.step = func(name string) {
		if name == "sync" {
			taken <- name
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	var done sync.WaitGroup
	done.Go(func() { a.Run(ctx) })
	for range 3 {
		<-taken
		for { // until it is on record
			if s, err := a.Status(ctx); err == nil && s.Last != nil && s.Last.Time.Equal(w.clock.Now()) {
				break
			}
		}
		w.clock.Advance(time.Hour)
	}
	<-taken
	cancel()
	done.Wait()
	if n := len(names(t, w.dir)); n != 4 || w.setting(store.SettingBackupClaim) != "" {
		t.Errorf("%d backups, claim %q", n, w.setting(store.SettingBackupClaim))
	}
}

// What is taken but cannot be recorded is recorded later, and not taken again.
func TestUnrecorded(t *testing.T) {
	w := newWorld(t)
	w.user("alice", pki.KeyECDSAP256)
	a := w.archive("@every 1h", nil)
	down := false
	a.cfg.Store = sometimes{w.store, &down}
	a.taker.step = func(name string) { down = name == "sync" }
	a.poll(t.Context())
	w.wantNames(FileName(epoch))
	if w.setting(store.SettingBackupLast) != "" {
		t.Fatal("recorded, though the database is away")
	}
	w.clock.Advance(time.Minute)
	a.poll(t.Context())
	if s, _ := a.Status(t.Context()); s.Failures != 1 {
		t.Errorf("%+v", s)
	}
	down = false
	w.clock.Advance(time.Minute)
	a.poll(t.Context())
	w.wantNames(FileName(epoch))
	if s, err := a.Status(t.Context()); err != nil || s.Last == nil || !s.Last.Time.Equal(epoch) || a.Check(t.Context()) != nil {
		t.Errorf("%+v %v", s, err)
	}
}

// While the database is away it is looked at each minute, and the backup taken as soon as it is back.
func TestDatabaseAway(t *testing.T) {
	w := newWorld(t)
	w.user("alice", pki.KeyECDSAP256)
	a := w.archive("@every 1h", nil)
	down := true
	a.cfg.Store = sometimes{w.store, &down}
	for range 3 * 60 {
		a.poll(t.Context())
		w.clock.Advance(time.Minute)
	}
	if err := a.Check(t.Context()); err == nil || !strings.HasPrefix(err.Error(), "failed at 2026-05-01T12:59:00Z") {
		t.Errorf("check: %v", err)
	}
	down = false
	a.poll(t.Context())
	if n := len(names(t, w.dir)); n != 1 || a.Check(t.Context()) != nil {
		t.Errorf("%d backups, %v", n, a.Check(t.Context()))
	}
}

// sometimes is a store that cannot be written to at times.
type sometimes struct {
	store.Store
	down *bool
}

func (s sometimes) Update(ctx context.Context, fn func(store.Tx) error) error {
	if *s.down {
		return store.ErrUnavailable
	}
	return s.Store.Update(ctx, fn)
}
