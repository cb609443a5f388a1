package main

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"

	"cauase/pkg/pki"
	"cauase/pkg/testkit"
)

func TestMetrics(t *testing.T) {
	cfg := testConfig(t, t.TempDir(), "--metrics-bind", "127.0.0.1:0")
	d := launch(t, cfg, testTime())
	get(t, d.httpURL("/cas/crl"))
	get(t, d.httpURL("/no/such/path"))
	csr, err := http.NewRequestWithContext(t.Context(), "PUT", d.httpURL("/cas/csr"), strings.NewReader("junk"))
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(csr)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()

	status, page := get(t, "http://"+d.metrics.listener.Addr().String()+"/metrics")
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
		`cauase_http_request_duration_seconds_count{method="GET",route="/cas/crl",status="200"} 1`,
		`cauase_http_request_duration_seconds_count{method="other",route="",status="404"} 1`,
	} {
		if !strings.Contains(page, want) {
			t.Errorf("missing %s", want)
		}
	}
	if status, _ := get(t, "http://"+d.metrics.listener.Addr().String()+"/cas/crl"); status != http.StatusNotFound {
		t.Errorf("the metrics' port serves the CA: %d", status)
	}
}

func TestMetricsPortInUse(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	dir := t.TempDir()
	t.Chdir(dir)
	var stdout, stderr bytes.Buffer
	args := []string{tool, "--netloc", fmt.Sprintf("127.0.0.1:%d", testkit.FreePorts(t, 2)), "--metrics-bind", taken.Addr().String()}
	if code := run(t.Context(), args, &stdout, &stderr); code != 1 || !strings.Contains(stderr.String(), "address already in use") {
		t.Errorf("exit code %d: %s", code, &stderr)
	}
	if got := files(t, dir); len(got) != 0 {
		t.Errorf("left behind: %v", got)
	}
}

// An operator chooses another type while the daemon runs; the daemon follows at the next rollover.
func TestNextKeyType(t *testing.T) {
	cfg := testConfig(t, t.TempDir())
	d := launch(t, cfg, testTime())
	choose := func(args ...string) (int, string) {
		var stdout, stderr bytes.Buffer
		code := run(t.Context(), append([]string{tool, "manage", "next-key-type", "--db", cfg.db}, args...), &stdout, &stderr)
		return code, stdout.String() + stderr.String()
	}
	if code, out := choose("--authority", "cas", "ed25519"); code != 0 || !strings.Contains(out, "ed25519") {
		t.Fatalf("exit code %d: %s", code, out)
	}
	for _, wrong := range [][]string{{"--authority", "cas", "rsa-1024"}, {"--authority", "ca", "ed25519"}, {"ed25519"}, {"--authority", "cas"}, {"--authority", "cas", "ed25519", "ed25519"}} {
		if code, out := choose(wrong...); code != 1 || !strings.Contains(out, "cauased: error: ") {
			t.Errorf("%v: exit code %d: %s", wrong, code, out)
		}
	}
	d.clk.Advance(2 * 93 * day)
	for name, want := range map[string]string{"cas": "Ed25519", "cau": "ECDSA P-256"} {
		a := d.services
		if name == "cau" {
			a = d.users
		}
		crts, err := a.CACertificates(t.Context())
		if err != nil || len(crts) != 2 || pki.DescribeKey(crts[1].PublicKey) != want {
			t.Errorf("%s: %d CA certificates, %v; the newest should be %s", name, len(crts), err, want)
		}
	}
}
