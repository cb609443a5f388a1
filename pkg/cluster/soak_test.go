package cluster

import (
	"crypto"
	"database/sql"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"cauase/pkg/testkit"
	"cauase/pkg/testkit/pkitest"

	_ "modernc.org/sqlite"
)

// killEvery is how often a daemon is killed, and sampleEvery how often one is looked at that is not.
const killEvery, sampleEvery = 20 * time.Second, 5 * time.Second

// TestSoak has daemons serve a mixed load for as long as CAUASE_SOAK says: three on PostgreSQL, of which two are killed by
// turns, and two on a SQLite database each, of which one is killed. They take a backup each minute. Nothing that was
// acknowledged is lost, and those that live do not grow once they are warm: in goroutines, descriptors, and memory.
func TestSoak(t *testing.T) {
	text := os.Getenv("CAUASE_SOAK")
	if text == "" {
		t.Skip("a load for make soak")
	}
	length, err := time.ParseDuration(text)
	if err != nil {
		t.Fatalf("CAUASE_SOAK: %v", err)
	}
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		c := postgres(t)
		dsn := c.NewDatabase(t)
		s := soakSite(t, dsn, 3)
		soakFor(t, length, []*site{s}, s.daemons[1:], s.daemons[0], func(_ *site, l *load) {
			l.verify(c, databaseOf(t, dsn))
		})
	})
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		dies, lives := soakSite(t, filepath.Join(t.TempDir(), "cauase.sqlite"), 1), soakSite(t, filepath.Join(t.TempDir(), "cauase.sqlite"), 1)
		soakFor(t, length, []*site{dies, lives}, dies.daemons, lives.daemons[0], func(s *site, l *load) {
			db, err := sql.Open("sqlite", s.dsn)
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			l.verifyBy(func(query string) map[string]int { return found(t, db, query) }, "lower(hex(serial))")
		})
	})
}

// found returns the values of one column.
func found(t *testing.T, db *sql.DB, query string) map[string]int {
	t.Helper()
	rows, err := db.Query(query)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	all := map[string]int{}
	for rows.Next() {
		var one string
		if err := rows.Scan(&one); err != nil {
			t.Fatal(err)
		}
		all[one]++
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

// soakSite starts daemons that can be watched and take backups.
func soakSite(t *testing.T, dsn string, count int) *site {
	s := newSite(t, dsn, 0, append(manyRequests, "--log-level", "warn", "--backup-directory", "backups", "--backup-schedule", "* * * * *", "--backup-keep", "3")...)
	for range count {
		d := &daemon{t: t, site: s, dsn: dsn, port: testkit.FreePorts(t, 3), dir: t.TempDir()}
		d.more = []string{"--metrics-bind", d.metrics()}
		s.daemons = append(s.daemons, d)
		d.start()
		d.awaitReady(http.StatusOK)
	}
	return s
}

func (d *daemon) metrics() string { return "127.0.0.1:" + strconv.Itoa(d.port+2) }

// soakFor lets loads loose on sites, kills the mortal by turns, and watches one that lives.
func soakFor(t *testing.T, length time.Duration, sites []*site, mortal []*daemon, lives *daemon, verify func(*site, *load)) {
	began := time.Now()
	var users []*client
	var loads []*load
	for _, s := range sites {
		user, _ := becomeUser(t, s.daemons[0])
		users = append(users, user)
		loads = append(loads, startGentleLoad(t, s, user, 3, 200*time.Millisecond, 20))
	}
	var watching sync.WaitGroup
	var samples []figures
	end := make(chan struct{})
	watching.Go(func() {
		for {
			select {
			case <-end:
				return
			case <-time.After(sampleEvery):
				if f, err := lives.figures(); err == nil {
					f.at = time.Since(began)
					samples = append(samples, f)
				} else {
					t.Errorf("metrics: %v", err)
				}
			}
		}
	})
	kills := 0
	for ; time.Since(began) < length; kills++ {
		time.Sleep(min(killEvery, max(0, length-time.Since(began))))
		d := mortal[kills%len(mortal)]
		d.stop(syscall.SIGKILL)
		d.start()
		d.awaitReady(http.StatusOK)
	}
	close(end)
	watching.Wait()
	backups := 0
	for i, s := range sites {
		loads[i].stop()
		loads[i].listsGone = 0 // a dead daemon serves none
		for _, d := range s.daemons {
			d.stop(syscall.SIGTERM)
		}
		verify(s, loads[i])
		s.manage("check")
		backups += s.restorable(users[i])
	}
	if backups == 0 && length > 2*time.Minute {
		t.Error("there are no backups")
	}
	t.Logf("%v, %d kills, the newest backup of %d daemons can be restored", time.Since(began).Round(time.Second), kills, backups)
	judge(t, samples, min(5*time.Minute, length/3))
}

// restorable checks the newest backup that each daemon has taken with the key of the user, and counts them.
func (s *site) restorable(user *client) (count int) {
	s.t.Helper()
	pair := user.http.Transport.(*http.Transport).TLSClientConfig.Certificates[0]
	key := filepath.Join(s.t.TempDir(), "key")
	if err := os.WriteFile(key, pkitest.KeyPEM(s.t, pair.PrivateKey.(crypto.Signer)), 0o600); err != nil {
		s.t.Fatal(err)
	}
	for _, d := range s.daemons {
		all, err := filepath.Glob(filepath.Join(d.dir, "backups", "*.caucased"))
		if err != nil {
			s.t.Fatal(err)
		}
		if len(all) > 0 {
			s.manage("restore", "--dry-run", slices.Max(all), key)
			count++
		}
	}
	return count
}

// figures are what a daemon takes.
type figures struct {
	at                          time.Duration
	goroutines, descriptors, mb float64
}

// figures asks a daemon what it takes.
func (d *daemon) figures() (f figures, err error) {
	resp, err := http.Get("http://" + d.metrics() + "/metrics")
	if err != nil {
		return f, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return f, err
	}
	for name, to := range map[string]*float64{"go_goroutines": &f.goroutines, "process_open_fds": &f.descriptors, "process_resident_memory_bytes": &f.mb} {
		_, rest, found := strings.Cut(string(body), "\n"+name+" ")
		if !found {
			return f, fmt.Errorf("there is no %s", name)
		}
		line, _, _ := strings.Cut(rest, "\n")
		if *to, err = strconv.ParseFloat(line, 64); err != nil {
			return f, err
		}
	}
	f.mb /= 1 << 20
	return f, nil
}

// judge compares the first quarter of what was seen of a warm daemon with the last: medians, and of memory the least, which is
// what is left when garbage was collected.
func judge(t *testing.T, samples []figures, warm time.Duration) {
	t.Helper()
	samples = slices.DeleteFunc(samples, func(f figures) bool { return f.at < warm })
	n := len(samples) / 4
	if n == 0 {
		t.Fatal("too short to see whether anything grows")
	}
	first, last := samples[:n], samples[len(samples)-n:]
	median := func(of []figures, what func(figures) float64) float64 {
		all := make([]float64, 0, len(of))
		for _, f := range of {
			all = append(all, what(f))
		}
		slices.Sort(all)
		return all[len(all)/2]
	}
	least := func(of []figures, what func(figures) float64) float64 {
		all := make([]float64, 0, len(of))
		for _, f := range of {
			all = append(all, what(f))
		}
		return slices.Min(all)
	}
	t.Logf("%-18s %10s %10s %10s   (warm after %v, %d samples)", "", "at first", "at last", "allowed", warm, len(samples))
	for _, row := range []struct {
		name  string
		what  func(figures) float64
		of    func([]figures, func(figures) float64) float64
		slack float64
	}{
		{"goroutines", func(f figures) float64 { return f.goroutines }, median, 20},
		{"descriptors", func(f figures) float64 { return f.descriptors }, median, 20},
		{"resident memory MB", func(f figures) float64 { return f.mb }, least, 16},
	} {
		a, b := row.of(first, row.what), row.of(last, row.what)
		allowed := a*1.1 + row.slack
		t.Logf("%-18s %10.0f %10.0f %10.0f", row.name, a, b, allowed)
		if b > allowed {
			t.Errorf("%s: %.0f at first, %.0f at last", row.name, a, b)
		}
	}
}
