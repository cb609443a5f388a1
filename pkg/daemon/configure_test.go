package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/ca/catest"
	"cauase/pkg/clock"
	"cauase/pkg/server"
	"cauase/pkg/store"
	"cauase/pkg/store/sqlstore"
	"cauase/pkg/testkit"
)

// An office is where an operator sits: another process with the same database.
type office struct {
	t *testing.T
	store.Store
}

func openOffice(t *testing.T, dsn string) office {
	t.Helper()
	db, err := sqlstore.Open(t.Context(), dsn, sqlstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return office{t, db.Store()}
}

func (o office) update(fn func(store.Tx) error) {
	o.t.Helper()
	if err := o.Update(o.t.Context(), fn); err != nil {
		o.t.Fatal(err)
	}
}

func (o office) view(fn func(store.Reader) error) {
	o.t.Helper()
	if err := o.View(o.t.Context(), fn); err != nil {
		o.t.Fatal(err)
	}
}

func (o office) put(rows ...store.Authority) {
	o.t.Helper()
	o.update(func(tx store.Tx) error {
		for _, row := range rows {
			if err := tx.PutAuthority(o.t.Context(), row); err != nil {
				return err
			}
		}
		return nil
	})
}

func (o office) row(name store.AuthorityName) (row store.Authority) {
	o.t.Helper()
	o.view(func(r store.Reader) (err error) {
		row, err = r.Authority(o.t.Context(), name)
		return err
	})
	return row
}

// decisions are the records of what was decided about authorities.
func (o office) decisions() (list []string) {
	o.t.Helper()
	o.view(func(r store.Reader) error {
		list = nil
		return r.Audit(o.t.Context(), audit.Filter{ObjectKind: audit.KindAuthority}, func(e audit.Entry) error {
			list = append(list, strings.TrimSpace(fmt.Sprintf("%s %s %s: %s", e.Actor.Kind, e.Action, e.Object.ID, e.Detail)))
			return nil
		})
	})
	return list
}

func (o office) netloc() (text string) {
	o.t.Helper()
	o.view(func(r store.Reader) (err error) {
		text, err = r.Setting(o.t.Context(), "", store.SettingNetloc)
		return err
	})
	return text
}

// startOnce starts a daemon and ends it.
func startOnce(t *testing.T, cfg Config, now time.Time) error {
	t.Helper()
	d, err := Start(t.Context(), cfg, clock.NewFake(now), discard())
	if err != nil {
		return err
	}
	return d.Close()
}

// TestOptionsBecomeRows: the options of a start are what the rows say, and nothing else in them changes.
func TestOptionsBecomeRows(t *testing.T) {
	cfg := testConfig(t, t.TempDir())
	if err := startOnce(t, cfg, testTime()); err != nil {
		t.Fatal(err)
	}
	o := openOffice(t, cfg.Database)
	first := o.decisions()
	if len(first) != 3 || !strings.HasPrefix(first[0], "daemon authority.add cau: role=users, title=Caucase CAU, validity=2232h0m0s, ") {
		t.Fatalf("%q", first)
	}
	if got := o.netloc(); got != "127.0.0.1:8009" {
		t.Errorf("netloc %q", got)
	}
	cas := o.row(store.Services)
	if cas.Span != 93*day || cas.MaxPending != 50 || cas.AutoApprove != 0 || !cas.CreatedAt.Equal(testTime()) || cas.Role != store.RoleServices {
		t.Errorf("%+v", cas)
	}

	// What is not an option is an operator's business.
	cas.Profile, cas.Profiles, cas.CRLLife, cas.Title, cas.Permitted = "as-requested", []string{"server"}, 24*time.Hour, "Ours", []string{"dns:.lab.example"}
	o.put(cas)
	if err := startOnce(t, cfg, testTime().Add(day)); err != nil {
		t.Fatal(err)
	}
	if got := o.decisions(); !slices.Equal(got, first) {
		t.Errorf("the same options have changed something: %q", got)
	}

	cfg.Services.Validity, cfg.Services.MaxPending = 30*day, 7
	if cfg.Netloc, _ = server.ParseNetloc("127.0.0.1:8010"); startOnce(t, cfg, testTime().Add(2*day)) != nil {
		t.Fatal("not started")
	}
	want := []string{
		"daemon authority.change cas: validity=720h0m0s, max-pending=7",
		"daemon authority.change https: validity=720h0m0s",
	}
	if got := o.decisions()[3:]; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	cas.Span, cas.MaxPending = 30*day, 7
	if got := o.row(store.Services); fmt.Sprint(got) != fmt.Sprint(cas) {
		t.Errorf("%+v\nwant %+v", got, cas)
	}
	if got := o.netloc(); got != "127.0.0.1:8010" {
		t.Errorf("netloc %q", got)
	}
}

// TestStartTogether: of daemons that start at once on one database, one makes the authorities.
func TestStartTogether(t *testing.T) {
	dsn := postgres(t).NewDatabase(t)
	var starting sync.WaitGroup
	errs := make([]error, 3)
	for i := range errs {
		cfg := testConfig(t, t.TempDir(), on(dsn))
		starting.Go(func() { errs[i] = startOnce(t, cfg, testTime()) })
	}
	starting.Wait()
	for _, err := range errs {
		if err != nil {
			t.Error(err)
		}
	}
	if got := openOffice(t, dsn).decisions(); len(got) != 3 {
		t.Errorf("%q", got)
	}
}

// TestLastOptionsPrevail: daemons with other options follow the one that was started last, at once, and say so.
func TestLastOptionsPrevail(t *testing.T) {
	dsn := postgres(t).NewDatabase(t)
	var log testkit.Buffer
	first := launchLogged(t, testConfig(t, t.TempDir(), on(dsn)), testTime(), &log)
	second := launch(t, testConfig(t, t.TempDir(), on(dsn), func(c *Config) { c.Services.Validity, c.Users.AutoApprove = 30*day, 2 }), testTime())
	if span := catest.Named(t, second, store.Services).Row().Span; span != 30*day {
		t.Fatalf("span %v", span)
	}
	took := eventually(t, "the first daemon follows", func() bool {
		return catest.Named(t, first, store.Services).Row().Span == 30*day && catest.Named(t, first, store.HTTPS).Row().Span == 30*day &&
			catest.Named(t, first, store.Users).Row().AutoApprove == 2
	})
	if took > byThemselves {
		t.Errorf("after %v", took)
	}
	eventually(t, "it says so", func() bool {
		return strings.Contains(log.String(), `level=WARN msg="an authority was changed by another daemon or by an operator, which holds here, too" authority=cas changes="validity=720h0m0s"`)
	})
	// Neither takes it back.
	if err := first.catchUp(t.Context()); err != nil {
		t.Error(err)
	}
	if got := openOffice(t, dsn).decisions(); len(got) != 6 {
		t.Errorf("%q", got)
	}
}

// A torn is a transaction that fails at a setting of one authority.
type torn struct {
	store.Tx
	at store.AuthorityName
}

func (t torn) PutSetting(ctx context.Context, name store.AuthorityName, setting, value string) error {
	if name == t.at {
		return store.ErrUnavailable
	}
	return t.Tx.PutSetting(ctx, name, setting, value)
}

// TestBothLocksAreOne has no crash leave one authority locked and the other one open to what the next start says.
func TestBothLocksAreOne(t *testing.T) {
	cfg := testConfig(t, t.TempDir(), func(c *Config) { c.LockAutoApprove, c.Services.AutoApprove = true, 7 })
	o := openOffice(t, cfg.Database)
	locked := func() (values []string) {
		o.view(func(r store.Reader) error {
			for _, name := range []store.AuthorityName{store.Users, store.Services, store.HTTPS} {
				if value, err := r.Setting(t.Context(), name, store.SettingAutoApprove); err == nil {
					values = append(values, string(name)+"="+value)
				}
			}
			return nil
		})
		return values
	}
	due, err := func() (due configured, err error) {
		o.view(func(r store.Reader) error { due, err = cfg.compare(t.Context(), r, testTime()); return nil })
		return due, err
	}()
	if err != nil || len(due.locks) != 2 {
		t.Fatalf("%d locks, %v", len(due.locks), err)
	}
	for _, at := range []store.AuthorityName{store.Users, store.Services} {
		if err := o.Update(t.Context(), func(tx store.Tx) error { return due.write(t.Context(), torn{tx, at}) }); !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("torn at %s: %v", at, err)
		}
		if values := locked(); values != nil {
			t.Errorf("torn at %s: %v", at, values)
		}
	}
	if err := launch(t, cfg, testTime()).stop(); err != nil {
		t.Fatal(err)
	}
	want := "[cau=1 cas=7]"
	if values := fmt.Sprint(locked()); values != want {
		t.Errorf("locked %s, want %s", values, want)
	}
	// For good, and once.
	cfg.Services.AutoApprove = 9
	if err := launch(t, cfg, testTime()).stop(); err != nil {
		t.Fatal(err)
	}
	if values := fmt.Sprint(locked()); values != want {
		t.Errorf("locked %s, want %s", values, want)
	}
	n := 0
	o.view(func(r store.Reader) error {
		n = 0
		return r.Audit(t.Context(), audit.Filter{Action: audit.LockAuto}, func(audit.Entry) error { n++; return nil })
	})
	if n != 2 {
		t.Errorf("%d locks on record", n)
	}
}
