package main

import (
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"cauase/pkg/client/clienttest"
	"cauase/pkg/pki"
)

var update = flag.Bool("update", false, "write golden files anew")

var (
	longHex          = regexp.MustCompile(`[0-9a-f]{40,64}`)
	port             = regexp.MustCompile(`127\.0\.0\.1:[0-9]+`)
	generationNumber = regexp.MustCompile(`serialNumber=[0-9]{8}-[0-9a-f]{16}`)
	serial           = regexp.MustCompile(`(serial: +0x)[0-9a-f]+`)
)

// golden compares what the last command printed with a file, but for what is random.
func (s *shell) golden(name string) {
	s.Helper()
	text := longHex.ReplaceAllStringFunc(s.out+s.err, func(h string) string { return strings.Repeat("f", len(h)) })
	text = generationNumber.ReplaceAllString(text, "serialNumber=20260102-ffffffffffffffff")
	text = serial.ReplaceAllString(port.ReplaceAllString(text, "127.0.0.1:8009"), "${1}123")
	path := filepath.Join(testFolder, name+".golden")
	if *update {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			s.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		s.Fatal(err)
	}
	if text != string(want) {
		s.Errorf("%s is different:\n%s\nwant:\n%s", name, text, want)
	}
}

// testFolder is absolute, as shells work elsewhere.
var testFolder, _ = filepath.Abs("testdata")

// sayTimeline has the daemon say how long its spans are, as ours does.
func (s *shell) sayTimeline(span time.Duration) {
	s.daemon.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/cas/timeline" {
			return false
		}
		var list []map[string]any
		for i, ca := range s.daemon.CAS.Generations() {
			from := ca.Crt.NotBefore.Add(span)
			if i == 0 {
				from = ca.Crt.NotBefore
			}
			list = append(list, map[string]any{"key_id": hex.EncodeToString(ca.Crt.SubjectKeyId), "active_from": from})
		}
		_ = json.NewEncoder(w).Encode(map[string]any{
			"span_seconds": span.Seconds(), "now": s.daemon.Clock.Now(), "generations": list,
		})
		return true
	})
}

func TestShowTimeline(t *testing.T) {
	const span = clienttest.LeafLife
	s := newShell(t)
	clk, cas := s.daemon.Clock, s.daemon.CAS
	start := clk.Now()
	s.sayTimeline(span)

	s.ok("ca show")
	s.golden("first-contact")
	if files := s.files(); len(files) > 0 {
		t.Errorf("ca show has made %v", files)
	}
	s.ok("crl update")
	s.ok("ca show --offline")
	s.golden("offline")
	s.ok("--ca-url= ca show")
	s.says(`not asked: --ca-url is not given`)

	clk.Set(start.Add(2 * span))
	cas.Rollover()
	clk.Set(start.Add(5 * span / 2))
	cas.Number = 2
	s.ok("ca show")
	s.golden("passive")
	s.width = 120
	s.ok("ca show")
	s.golden("passive-wide")
	s.width = 0

	// A daemon that says nothing about its spans, and one that says nonsense.
	s.daemon.Intercept(nil)
	s.ok("ca show")
	s.golden("passive-estimated")
	s.sayTimeline(2 * span)
	s.ok("ca show")
	s.golden("passive-estimated")
	s.sayTimeline(-span)
	s.ok("ca show")
	s.says("warning: get timeline: .* a span of -")
	s.sayTimeline(span)

	s.ok("ca update")
	clk.Set(start.Add(7 * span / 2))
	s.ok("ca show --verbose")
	s.golden("retired-verbose")
	s.ok("--ca-url http://127.0.0.1:1 ca show")
	s.golden("unreachable")

	// No daemon was there to make the third when it was due.
	clk.Set(start.Add(4*span + time.Hour))
	s.ok("ca show")
	s.golden("overdue")

	clk.Set(start.Add(9 * span))
	cas.Rollover()
	s.exits("ca show", 1)
	s.golden("too-late")
	s.ok("ca show --offline")
	s.exits("--catch-up 2.9 ca show", 1)
	s.says("more than the 2.9 allowed")
	s.ok("--catch-up 3 ca show")
	s.says("3  active")
	if len(storedCAs(t, "cas.crt.pem")) != 2 {
		t.Error("ca show has changed the store")
	}
}

func TestShowLines(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(testFolder, "*.golden"))
	if err != nil || len(files) == 0 {
		t.Fatal(err, files)
	}
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			line = strings.TrimSuffix(line, "\n")
			long := len(line) > defaultWidth && !strings.Contains(path, "wide") && !strings.Contains(path, "verbose")
			if (long && !strings.HasPrefix(line, "cauase: ")) || strings.HasSuffix(line, " ") {
				t.Errorf("%s: %q", filepath.Base(path), line)
			}
			if strings.ContainsFunc(line, func(r rune) bool { return r > '~' }) && !strings.HasPrefix(line, "cauase: ") {
				t.Errorf("%s is not ASCII: %q", filepath.Base(path), line)
			}
		}
	}
}

func TestShowOthers(t *testing.T) {
	const span = clienttest.LeafLife
	s := newShell(t)
	first := s.daemon.CAS.Newest()
	s.daemon.Clock.Advance(2 * span)
	second := s.daemon.CAS.Rollover()
	s.sayTimeline(span)
	// Pinned to the newer one alone, a host does not learn of the older, which signs.
	if err := os.WriteFile("cas.crt.pem", pki.EncodeCertificatePEM(second.Crt.Raw), 0o644); err != nil {
		t.Fatal(err)
	}
	s.ok("ca show --json")
	var o overview
	if err := json.Unmarshal([]byte(s.out), &o); err != nil {
		t.Fatal(err)
	}
	got := ""
	for _, g := range o.Generations {
		got += fmt.Sprint(g.Phase, " ", g.InStore, " ", g.Vouched, " ", g.Serial.Decimal, ", ")
	}
	want := fmt.Sprint("active false false ", first.Crt.SerialNumber, ", passive true true ", second.Crt.SerialNumber, ", ")
	if got != want || o.FirstContact || o.SpanEstimated || o.SpanSeconds != span.Seconds() {
		t.Errorf("%s\nwant %s\n%s", got, want, s.out)
	}
	s.ok("ca show")
	s.says(`NOT vouched for by anything in cas.crt.pem`)
}

// A daemon cannot make phases up: what it says about when a CA signs has to lie within that
// CA's validity, and spans have to fit into it.
func TestShowLies(t *testing.T) {
	s := newShell(t)
	s.ok("ca update")
	ca := s.daemon.CAS.Newest().Crt
	tests := []struct{ name, timeline string }{
		{"no JSON", `span`},
		{"no span", `{}`},
		{"endless", `{"span_seconds": 1e300}`},
		{"a span twice", `{"span_seconds": 86400, "span_seconds": 86401}`},
		{"longer than a third of the CA's life", fmt.Sprintf(`{"span_seconds": %f}`, ca.NotAfter.Sub(ca.NotBefore).Seconds()/3+1)},
		{"active before it was made", fmt.Sprintf(`{"span_seconds": 8035200, "now": "2026-01-02T03:04:05Z", "generations": [{"key_id": "%x", "active_from": "2020-01-01T00:00:00Z"}]}`, ca.SubjectKeyId)},
		{"active after its end", fmt.Sprintf(`{"span_seconds": 8035200, "now": "2026-01-02T03:04:05Z", "generations": [{"key_id": "%x", "active_from": "2040-01-01T00:00:00Z"}]}`, ca.SubjectKeyId)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s.T = t
			s.daemon.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
				if r.URL.Path == "/cas/timeline" {
					fmt.Fprint(w, tt.timeline)
				}
				return r.URL.Path == "/cas/timeline"
			})
			s.ok("ca show")
			s.says(`1  active; retired on 2026-10-08 03:04:05 UTC`)
			s.says(`active_from|\(2\) to be made on 2026-07-07 03:04:05 UTC`)
		})
	}
}

func storedCAs(t *testing.T, path string) []*x509.Certificate {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	crts, err := pki.ParseCertificatesPEM(data)
	if err != nil {
		t.Fatal(err)
	}
	return crts
}
