package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cauase/pkg/clock"
)

// What the client and the agent understand alike has one variable. What only the agent is told comes first, and a
// configuration file is not mixed with what a user has set for the client.
func TestSharedVariables(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, e := range os.Environ() {
		if name, _, _ := strings.Cut(e, "="); strings.HasPrefix(name, "CAUASE_") {
			t.Setenv(name, "")
			os.Unsetenv(name)
		}
	}
	status := func(args ...string) string {
		var out bytes.Buffer
		run(t.Context(), append([]string{tool, "--status"}, args...), clock.System(), &out, &out)
		return out.String()
	}
	if got := status("--ca", "ca.pem", "--crl", "crl.pem"); !strings.Contains(got, "--ca-url is not given") {
		t.Errorf("without an address: %s", got)
	}
	t.Setenv("CAUASE_CA_URL", "http://shared.example")
	t.Setenv("CAUASE_AUTHORITY", "lab")
	if got := status("--ca", "ca.pem", "--crl", "crl.pem", "--cas-ca", "cas.pem"); strings.Contains(got, "not given") {
		t.Errorf("with CAUASE_CA_URL: %s", got)
	}
	if err := os.WriteFile("job.toml", []byte("[[job]]\nname = \"a\"\nca-url = \"http://ca.example\"\nca = \"ca.pem\"\ncrl = \"crl.pem\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	path, err := filepath.Abs("job.toml")
	if err != nil {
		t.Fatal(err)
	}
	for _, form := range [][]string{{"--config", path}, {"--config=" + path}, {"-config", path}} {
		if got := status(form...); strings.Contains(got, "error") {
			t.Errorf("%v: %s", form, got)
		}
	}
	t.Setenv("CAUASE_UPDATER_CONFIG", path)
	if got := status(); strings.Contains(got, "error") {
		t.Errorf("CAUASE_UPDATER_CONFIG: %s", got)
	}
	t.Setenv("CAUASE_UPDATER_CA_URL", "http://own.example")
	if got := status(); !strings.Contains(got, "--ca-url beside --config") {
		t.Errorf("the older spelling beside --config: %s", got)
	}
	os.Unsetenv("CAUASE_UPDATER_CONFIG")
	t.Setenv("CAUASE_UPDATER_CA_URL", "ftp://own.example")
	if got := status("--ca", "ca.pem", "--crl", "crl.pem", "--cas-ca", "cas.pem"); !strings.Contains(got, "ftp://own.example") {
		t.Errorf("the older spelling comes first: %s", got)
	}
}

// A misspelt variable of the agent's is refused, and what is for the client is no mistake.
func TestMisspeltVariable(t *testing.T) {
	t.Setenv("CAUASE_CONTEXT", "lab")
	t.Setenv("CAUASE_UPDATER_CRL_REFRSH", "1h")
	var out bytes.Buffer
	code := run(t.Context(), []string{tool, "--status", "--json"}, clock.System(), &out, &out)
	if code != 1 || !strings.Contains(out.String(), `"hint":"did you mean CAUASE_UPDATER_CRL_REFRESH?"`) || strings.Contains(out.String(), "CONTEXT") {
		t.Errorf("%d %s", code, out.String())
	}
}
