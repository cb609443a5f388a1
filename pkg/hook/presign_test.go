package hook

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cauase/pkg/pki"
)

func proposalOf(t *testing.T) Proposal {
	c, req := caseOf(t)
	return Proposal{Time: c.Time, Authority: "cas", Profile: "server", Method: "policy", Asker: c.Asker, Request: req, PublicKey: req.CSR.PublicKey,
		KeyType: c.Key, Subject: req.CSR.RawSubject, Extensions: req.CSR.Extensions, NotBefore: c.Time, NotAfter: c.Time.Add(time.Hour)}
}

// TestPresignHooksInTurn: each is told what those before it have made.
func TestPresignHooksInTurn(t *testing.T) {
	log, _ := logged()
	to := filepath.Join(t.TempDir(), "input")
	none := NewProgram(Presign, script(t, "echo '{}'"), 0, log)
	first := NewProgram(Presign, script(t, `echo '{"names":["DNS:b.example","IP:192.0.2.9"],"validity":"30m","subject":"O=Example,CN=b.example"}'`), 0, log)
	second := NewProgram(Presign, script(t, "cat > "+to+`; echo '{"validity":"10m","extensions":[{"oid":"2.5.29.37","critical":false,"value":"MAoGCCsGAQUFBwMB"}]}'`), 0, log)
	s := &Set{Presign: []*Program{none, first, second}}
	got, err := s.Ask(t.Context(), proposalOf(t))
	if err != nil {
		t.Fatal(err)
	}
	if len(got.By) != 2 || !strings.Contains(got.By[0], first.path) || got.Validity != 10*time.Minute || strings.Join(got.Names, " ") != "DNS:b.example IP:192.0.2.9" ||
		pki.SubjectString(got.Subject) != "CN=b.example,O=Example" || len(got.Extensions) != 1 {
		t.Errorf("%+v", got)
	}
	text, err := os.ReadFile(to)
	if err != nil {
		t.Fatal(err)
	}
	var told PresignInput
	if err := json.Unmarshal(text, &told); err != nil {
		t.Fatal(err)
	}
	if strings.Join(told.Certificate.Names, " ") != "DNS:b.example IP:192.0.2.9" || told.Certificate.Seconds != 1800 || told.Version != 1 || told.Client != "abc" {
		t.Errorf("the second is told %s", text)
	}
}

func TestPresignHooksThatRefuse(t *testing.T) {
	log, _ := logged()
	for text, reason := range map[string]string{
		`echo '{"decision":"refuse","reason":"not today"}'`: "not today",
		"exit 1":                         "could not be asked",
		"echo x":                         "could not be asked",
		`echo '{"decision":"hold"}'`:     "could not be asked",
		`echo '{"names":["a.example"]}'`: "could not be asked",
		`echo '{"names":["DNS:a b"]}'`:   "could not be asked",
		`echo '{"names":["other:x"]}'`:   "could not be asked",
		`echo '{"validity":"-1h"}'`:      "could not be asked",
		`echo '{"validity":"0s"}'`:       "could not be asked",
		`echo '{"subject":"CN"}'`:        "could not be asked",
		`echo '{"extensions":[{"oid":"2.5.29.17","critical":false,"value":"MAA="}]}'`:                                        "could not be asked",
		`echo '{"extensions":[{"oid":"2.5.29.37","critical":false,"value":"!"}]}'`:                                           "could not be asked",
		`echo '{"extensions":[{"oid":"x","critical":false,"value":"MAA="}]}'`:                                                "could not be asked",
		`echo '{"extensions":[{"oid":"1.2","critical":false,"value":"MAA="},{"oid":"1.2","critical":true,"value":"MAA="}]}'`: "could not be asked",
	} {
		s := &Set{Presign: []*Program{NewProgram(Presign, script(t, text), 0, log)}}
		got, err := s.Ask(t.Context(), proposalOf(t))
		refusal := (*Refusal)(nil)
		if !errors.As(err, &refusal) || !strings.Contains(refusal.Reason, reason) || !strings.HasPrefix(refusal.Hook, "presign hook /") || !got.empty() {
			t.Errorf("%s: %+v %v", text, got, err)
		}
	}
}
