package daemon

import (
	"net/http"
	"strings"
	"testing"

	"cauase/pkg/testkit"
)

func TestMetrics(t *testing.T) {
	cfg := testConfig(t, t.TempDir(), func(c *Config) { c.Metrics = "127.0.0.1:0" })
	d := launch(t, cfg, testTime())
	testkit.Get(t, d.httpURL("/cas/crl"))
	testkit.Get(t, d.httpURL("/no/such/path"))
	testkit.Get(t, d.httpURL("/cas/crl?after=1&wait=1s")) // in vain
	testkit.Get(t, d.httpURL("/cas/crl?after=0&wait=1s")) // there is one already
	csr, err := http.NewRequestWithContext(t.Context(), "PUT", d.httpURL("/cas/csr"), strings.NewReader("junk"))
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(csr)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()

	status, page := testkit.Get(t, "http://"+d.metrics.listener.Addr().String()+"/metrics")
	if status != http.StatusOK {
		t.Fatalf("status %d: %s", status, page)
	}
	for _, want := range []string{
		`cauase_authority_up{authority="cas"} 1`,
		`cauase_authority_up{authority="cau"} 1`,
		`cauase_authority_up{authority="https"} 1`,
		`phase="active"} `,
		`cauase_crl_number{authority="cas"} 1`,
		`cauase_pending_requests{authority="cas"} 0`,
		`cauase_https_not_after_timestamp_seconds `,
		`cauase_refused_total{authority="cas",operation="csr.submit",reason="invalid"} 1`,
		`cauase_http_request_duration_seconds_count{method="GET",route="/cas/crl",status="200"} 2`,
		`cauase_http_request_duration_seconds_count{method="GET",route="/cas/crl",status="304"} 1`,
		`cauase_waits_total{outcome="time_up"} 1`,
		`cauase_waiting 0`,
		`cauase_http_request_duration_seconds_count{method="other",route="",status="404"} 1`,
	} {
		if !strings.Contains(page, want) {
			t.Errorf("missing %s", want)
		}
	}
	if status, _ := testkit.Get(t, "http://"+d.metrics.listener.Addr().String()+"/cas/crl"); status != http.StatusNotFound {
		t.Errorf("the metrics' port serves the CA: %d", status)
	}
}
