package main

import (
	"bytes"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cauase/pkg/client"
	"cauase/pkg/client/clienttest"
	"cauase/pkg/clock"
	"cauase/pkg/pki"
)

// The probe knows from the user's configuration which CA to check and to expect, as the client does.
func TestConfigured(t *testing.T) {
	fake := clock.NewFake(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
	d, other := clienttest.Start(t, fake), clienttest.Start(t, fake)
	for _, daemon := range []*clienttest.Daemon{d, other} {
		daemon.Intercept(func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("Date", fake.Now().Format(http.TimeFormat))
			return false
		})
	}
	base := t.TempDir()
	t.Setenv("XDG_CONFIG_HOME", base)
	for _, name := range []string{"CAUASE_CA_URL", "CAUASE_CA_FINGERPRINT", "CAUASE_CONFIG", "CAUASE_CONTEXT"} {
		t.Setenv(name, "")
	}
	folder := filepath.Join(base, "cauase")
	put := func(name, content string) {
		t.Helper()
		path := filepath.Join(folder, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pem := func(d *clienttest.Daemon) string { return string(pki.EncodeCertificatePEM(d.CAS.Newest().Crt.Raw)) }
	pin := func(d *clienttest.Daemon) string { return client.PinOf(d.CAS.Newest().Crt).String() }
	says := func(code int, want, args string) {
		t.Helper()
		var out bytes.Buffer
		if got := run(t.Context(), append([]string{tool}, strings.Fields(args)...), fake, &out, &out); got != code || !strings.Contains(out.String(), want) {
			t.Errorf("%s: exit code %d, want %d\n%s, want …%s…", args, got, code, out.String(), want)
		}
	}
	says(3, "or have it in the configuration", "")
	put("cauase.toml", "[context.default]\nca-url = \""+d.URL+"\"\n[context.lab]\nca-url = \""+other.URL+"\"\nca-fingerprint = [\""+pin(d)+"\"]\n")
	says(0, "OK: "+d.URL, "")
	says(2, "no authority here has the CA "+pin(d), "--context lab")
	says(0, "OK: "+other.URL, "--context lab --ca-fingerprint "+pin(other)) // what is said nearer comes first
	says(0, "OK: "+other.URL, other.URL)
	says(2, "no authority here has the CA "+pin(d), "--context lab "+other.URL)
	says(3, "there is no such context", "--context labb")
	says(3, "--config: ", "--config "+filepath.Join(base, "none.toml"))
	says(3, "or have it in the configuration", "--config none")
	// What init has come to trust, from its own folder.
	put("default/cas.crt.pem", pem(d))
	says(0, "OK: "+d.URL, "")
	d.CAS.Rollover()
	says(0, "OK: "+d.URL, "--warning 0 --critical 0")
	put("default/cas.crt.pem", pem(other))
	says(2, "CRITICAL: "+d.URL+": service CA: ", "")
	says(0, "OK: "+d.URL, d.URL)
	put("default/cas.crt.pem", "no certificate\n")
	says(3, "the CA certificates that are trusted: ", "")
	put("default/cas.crt.pem", pem(d))
	// A value that is wrong is named by its place, with the code of unknown.
	for content, want := range map[string]string{
		"ca-url = \"ftp://x\"\n": `line 1, column 1: ca-url: CA URL "ftp://x"`,
		"ca-url = 5\n":           "line 1, column 1: ca-url: must be a text",
		"ca-fingerprint = [\"x\"]\nca-url = \"http://x\"\n": "line 1, column 1: ca-fingerprint: ",
		"caucase = 1\n":  "line 1, column 1: caucase: must be true or false",
		"colour = 1\n":   `line 1, column 1: there is no setting "colour"`,
		"ca-url = \"x\n": "line 1, column ",
	} {
		put("cauase.toml", content)
		says(3, filepath.Join(folder, "cauase.toml")+": "+want, "")
	}
	if err := os.Chmod(filepath.Join(folder, "cauase.toml"), 0o666); err != nil {
		t.Fatal(err)
	}
	says(3, "cauase.toml", "")
	t.Setenv("CAUASE_CA_URL", "ftp://y")
	says(3, `CAUASE_CA_URL: CA URL "ftp://y"`, "")
}
