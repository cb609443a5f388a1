package metrics

import (
	"context"
	"errors"
	"log/slog"
	"net/http/httptest"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"cauase/pkg/testkit"
)

func scrape(t *testing.T, m *Metrics) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if w.Code != 200 {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	return w.Body.String()
}

func example(t *testing.T) *Metrics {
	at := time.Unix(1_800_000_000, 0)
	state := State{
		Authority:   "cas",
		Generations: []Generation{{"aa", "retired", at}, {"bb", "active", at.Add(time.Hour)}},
		CRLNumber:   7, ThisUpdate: at, NextUpdate: at.Add(time.Minute), Revoked: 3, Pending: 2, Users: 4,
		Span: 93 * 24 * time.Hour, UsableUntil: at.Add(time.Hour),
		Rotation: Rotation{KeyID: "bb", Confirmed: 57, Behind: 2},
	}
	external := State{Authority: "offline", External: true, UsableUntil: at}
	waiting := State{Authority: "lab", SignoffNeeded: true}
	m := New(slog.New(slog.DiscardHandler), "v1", func() time.Time { return at },
		func() []Source {
			return []Source{
				func(context.Context) (State, error) { return state, nil },
				func(context.Context) (State, error) { return State{Authority: "cau"}, errors.New("database is gone") },
				func(context.Context) (State, error) { return external, nil },
				func(context.Context) (State, error) { return waiting, errors.New("no CA certificate is valid") },
			}
		})
	m.Backups(func(context.Context) (Backup, error) {
		return Backup{Last: at, Took: 1500 * time.Millisecond, Size: 4096, Recipients: 3, Excluded: 1, Due: at.Add(time.Hour), Failures: 2}, nil
	})
	m.Operation("cas", "crt.sign", "")
	m.Operation("cas", "crt.sign", "")
	m.Operation("cas", "crt.renew", "unauthorized")
	m.Fork("cas")
	m.Limited("write_rate")
	m.Awaited("news")
	m.Connections(func() int { return 5 })
	m.Waiting(func() int { return 1000 })
	m.Delivered("inventory", false)
	m.Outbox(func() map[string]int { return map[string]int{"inventory": 3} }, func() int64 { return 1 })
	m.Request("GET", "/cas/crl", 200, 3*time.Millisecond)
	return m
}

func TestScrape(t *testing.T) {
	got := scrape(t, example(t))
	for _, line := range []string{
		`cauase_build_info{version="v1"} 1`,
		`cauase_forks_total{authority="cas"} 1`,
		`cauase_limited_total{limit="write_rate"} 1`,
		`cauase_deliveries_total{outcome="failed",recipient="inventory"} 1`,
		`cauase_outbox_pending{recipient="inventory"} 3`,
		`cauase_outbox_lost_total 1`,
		`cauase_waits_total{outcome="news"} 1`,
		`cauase_waiting 1000`,
		`cauase_ca_hosts{authority="cas",key_id="bb",state="confirmed"} 57`,
		`cauase_ca_hosts{authority="cas",key_id="bb",state="behind"} 2`,
		`cauase_ca_hosts{authority="cas",key_id="bb",state="silent"} 0`,
		`cauase_ca_not_after_timestamp_seconds{authority="cas",key_id="aa",phase="retired"} 1.8e+09`,
		`cauase_ca_not_after_timestamp_seconds{authority="cas",key_id="bb",phase="active"} 1.8000036e+09`,
		`cauase_crl_number{authority="cas"} 7`,
		`cauase_crl_next_update_timestamp_seconds{authority="cas"} 1.80000006e+09`,
		`cauase_revocations{authority="cas"} 3`,
		`cauase_pending_requests{authority="cas"} 2`,
		`cauase_authority_up{authority="cas"} 1`,
		`cauase_authority_up{authority="cau"} 0`,
		`cauase_authority_span_seconds{authority="cas"} 8.0352e+06`,
		`cauase_authority_external{authority="cas"} 0`,
		`cauase_authority_external{authority="offline"} 1`,
		`cauase_ca_usable_until_timestamp_seconds{authority="cas"} 1.8000036e+09`,
		`cauase_signoff_needed{authority="cas"} 0`,
		`cauase_signoff_needed{authority="lab"} 1`,
		`cauase_authority_up{authority="lab"} 0`,
		`cauase_https_not_after_timestamp_seconds 1.8e+09`,
		`cauase_operations_total{authority="cas",operation="crt.sign"} 2`,
		`cauase_refused_total{authority="cas",operation="crt.renew",reason="unauthorized"} 1`,
		`cauase_http_request_duration_seconds_count{method="GET",route="/cas/crl",status="200"} 1`,
		`cauase_backup_last_success_timestamp_seconds 1.8e+09`,
		`cauase_backup_due_timestamp_seconds 1.8000036e+09`,
		`cauase_backup_duration_seconds 1.5`,
		`cauase_backup_size_bytes 4096`,
		`cauase_backup_recipients 3`,
		`cauase_backup_excluded_users 1`,
		`cauase_backup_failures_total 2`,
	} {
		if !strings.Contains(got, line+"\n") {
			t.Errorf("missing: %s", line)
		}
	}
	for _, line := range []string{
		`cauase_crl_next_update_timestamp_seconds{authority="offline"}`, `cauase_authority_span_seconds{authority="offline"}`,
		`cauase_ca_usable_until_timestamp_seconds{authority="lab"}`,
	} {
		if strings.Contains(got, line) {
			t.Errorf("there is %s", line)
		}
	}
	if t.Failed() {
		t.Log(got)
	}
}

// Without a backup there is nothing to tell of one, and no user has to wait for one.
func TestScrapeWithoutBackup(t *testing.T) {
	for name, failure := range map[string]error{"none yet": nil, "the database is away": errors.New("away")} {
		m := New(slog.New(slog.DiscardHandler), "v1", func() time.Time { return time.Time{} }, func() []Source { return nil })
		m.Backups(func(context.Context) (Backup, error) { return Backup{}, failure })
		got := scrape(t, m)
		if strings.Contains(got, "cauase_backup_last") || strings.Contains(got, "cauase_backup_due") ||
			strings.Contains(got, "cauase_backup_failures_total 0") != (failure == nil) {
			t.Errorf("%s: %s", name, got)
		}
	}
}

const rules = "../../deploy/prometheus/cauase.rules.yml"

// An alert on a metric that does not exist never fires, and nobody notices.
func TestAlertRulesNameOurMetrics(t *testing.T) {
	data, err := os.ReadFile(rules)
	if err != nil {
		t.Fatal(err)
	}
	got := scrape(t, example(t))
	names := regexp.MustCompile(`cauase_[a-z_]+`).FindAllString(string(data), -1)
	if len(names) == 0 {
		t.Fatal("no metrics in the alert rules")
	}
	for _, name := range names {
		if !strings.Contains(got, "\n"+name) {
			t.Errorf("%s is not a metric of ours", name)
		}
	}
}

// The manual has a table of all metrics, and none that do not exist.
func TestManualNamesOurMetrics(t *testing.T) {
	page, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	m := example(t)
	families, err := m.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	ours := map[string]bool{}
	for _, f := range families {
		if name := f.GetName(); strings.HasPrefix(name, "cauase_") {
			ours[name] = true
			if !regexp.MustCompile(`(?m)^\| (` + "`[^`]*`, )*`" + name + "`").Match(page) {
				t.Errorf("the table has no %s", name)
			}
		}
	}
	for _, name := range regexp.MustCompile("`(cauase_[a-z_]+)`").FindAllStringSubmatch(string(page), -1) {
		if !ours[name[1]] {
			t.Errorf("%s is in the manual, and is no metric of ours", name[1])
		}
	}
}

func TestAlertRules(t *testing.T) {
	promtool := testkit.Need(t, "promtool", "prometheus")
	if out, err := exec.Command(promtool, "test", "rules", "testdata/alerts.yml").CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
