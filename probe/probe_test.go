package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"cauase/pkg/cli"
	"cauase/pkg/client"
	"cauase/pkg/client/clienttest"
	"cauase/pkg/clock"
	"cauase/pkg/testkit"
)

func TestCommandLine(t *testing.T) {
	fake := clock.NewFake(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
	d := clienttest.Start(t, fake)
	reference := clienttest.StartReference(t, fake)
	pin, otherPin := client.PinOf(d.CAS.Oldest()).String(), client.PinOf(reference.CAS.Oldest()).String()
	d.CAS.Rollover()
	for _, daemon := range []*clienttest.Daemon{d, reference} {
		daemon.Intercept(func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("Date", fake.Now().Format(http.TimeFormat))
			return false
		})
	}
	for _, c := range []struct {
		name, args     string
		code           int
		stdout, stderr string
	}{
		{"all is well", d.URL, 0, "OK: " + d.URL, ""},
		{"flags may follow", d.URL + " --warning 100000 --critical 0", 1, "WARNING: " + d.URL, ""},
		{"a warning after the default for critical", "--warning 0.001 " + d.URL, 0, "OK: ", ""},
		{"critical before the default for warnings", "--critical 90000 " + d.URL, 2, "CRITICAL: ", ""},
		{"nobody there", "--timeout 5s http://127.0.0.1:1", 2, "CRITICAL: http://127.0.0.1:1: HTTP: ", ""},
		{"one authority", "--authority cau " + d.URL, 0, "OK: " + d.URL + ": user CA: ", ""},
		{"one that is not there", "--authority web " + d.URL, 2, "CRITICAL: " + d.URL + ": HTTP: ", ""},
		{"one of two is not there", "--authority cas --authority web " + d.URL, 2, "web CA: ", ""},
		{"no name of an authority", "--authority ../cas " + d.URL, 3, "", "is not the name of an authority"},
		{"a reference daemon", "--caucase " + reference.URL, 0, "OK: " + reference.URL, ""},
		{"a daemon without a voucher", reference.URL, 2, "HTTPS: the daemon does not vouch for its HTTPS certificate", ""},
		{"not a reference daemon at all", "--caucase " + d.URL, 0, "OK: " + d.URL, ""},
		{"help", "--help", 0, "--warning", ""},
		{"version", "--version", 0, "cauase-probe version", ""},
		{"no address", "", 3, "", "usage: "},
		{"two addresses", d.URL + " " + d.URL, 3, "", "one address"},
		{"https", "https://127.0.0.1", 3, "", "http:// address"},
		{"unknown flag, with JSON", "--json --nope", 3, "", `"exit_code":3}`},
		{"unknown flag", "--nope", 3, "", "there is no option --nope"},
		{"limits the wrong way round", "--warning 1 --critical 2 " + d.URL, 3, "", "comes after"},
		{"limit that is no number", "--warning NaN " + d.URL, 3, "", "is not a time such as 31 (days), 31d or 12h"},
		{"options of other plugins", "-w 30 -c 7 -t 10 " + d.URL, 0, "OK: " + d.URL, ""},
		{"a timeout with a unit", "-t 1m " + d.URL, 0, "OK: ", ""},
		{"no duration", "-t soon " + d.URL, 3, "", "seconds"},
		{"the CA that is expected", "--ca-fingerprint " + pin + " " + d.URL, 0, "OK: ", ""},
		{"another CA", "--ca-fingerprint " + otherPin + " " + d.URL, 2, "no authority here has the CA " + otherPin, ""},
		{"one of two CAs", "--ca-fingerprint " + pin + "," + otherPin + " " + d.URL, 2, "no authority here has the CA " + otherPin, ""},
		{"no fingerprint", "--ca-fingerprint= " + d.URL, 3, "", "is not a fingerprint"},
		{"no time", "--timeout 0s " + d.URL, 3, "", "not a time to wait"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			code := run(t.Context(), append([]string{tool}, strings.Fields(c.args)...), fake, &stdout, &stderr)
			if code != c.code || !strings.Contains(stdout.String(), c.stdout) || !strings.Contains(stderr.String(), c.stderr) {
				t.Errorf("exit code %d, want %d\nstdout: %s\nstderr: %s", code, c.code, stdout.String(), stderr.String())
			}
			if c.stderr == "" && stderr.Len() > 0 || c.stdout == "" && stdout.Len() > 0 {
				t.Errorf("more output than wanted\nstdout: %s\nstderr: %s", stdout.String(), stderr.String())
			}
		})
	}
	t.Setenv("CAUASE_CA_URL", d.URL)
	var stdout, stderr bytes.Buffer
	if code := run(t.Context(), []string{tool}, fake, &stdout, &stderr); code != 0 || !strings.Contains(stdout.String(), "OK: "+d.URL) {
		t.Errorf("the address of the environment: exit code %d, %s%s", code, stdout.String(), stderr.String())
	}
	stdout.Reset()
	if code := run(t.Context(), []string{tool, "--json", d.URL}, fake, &stdout, &stderr); code != 0 {
		t.Fatal(code, stderr.String())
	}
	testkit.CheckVerbs(t, "../docs/json.md", tool, cli.Verbs(newApp(nil, nil, nil, nil)))
	testkit.CheckPrinted(t, "../docs/json.md", tool, stdout.String())
	var report struct {
		Status   string
		Findings []struct{ Check, Status string }
	}
	if err := json.Unmarshal(stdout.Bytes(), &report); err != nil || report.Status != "OK" || len(report.Findings) != 7 {
		t.Errorf("%v: %s", err, stdout.String())
	}
}

// A misspelt variable means that nothing is known of the CA.
func TestMisspeltVariable(t *testing.T) {
	t.Setenv("CAUASE_CA_FINGERPINT", "sha256:00")
	var out bytes.Buffer
	if code := run(t.Context(), []string{tool, "http://127.0.0.1:1"}, clock.System(), &out, &out); code != 3 || !strings.Contains(out.String(), "did you mean CAUASE_CA_FINGERPRINT?") {
		t.Errorf("%d %s", code, out.String())
	}
}
