package main

import (
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"cauase/pkg/ledger/ledgertest"
	"cauase/pkg/pemfile"
)

// logged is a shell whose daemon has a log with some entries.
func logged(t *testing.T) *shell {
	s := newShell(t)
	s.daemon.Log = ledgertest.New("key")
	s.grow(10)
	return s
}

func (s *shell) grow(n int) {
	for range n {
		s.daemon.Log.Append(s.daemon.Clock.Now(), "cas", "crt.sign", nil)
	}
}

func (s *shell) contents() string {
	s.Helper()
	var all strings.Builder
	for _, name := range s.files() {
		if content, err := os.ReadFile(name); err == nil && !strings.HasSuffix(name, ".checkpoints") && name != "heard" {
			all.WriteString(name + "\n" + string(content))
		}
	}
	return all.String()
}

// TestForkedLog: somebody edits one old row and re-hashes everything: whatever takes something from the daemon refuses that, says how long
// the log was and is, and leaves all files as they are, until a user decides.
func TestForkedLog(t *testing.T) {
	s := logged(t)
	s.daemon.CAS.AutoApprove = 1
	s.ok("request --cn web --crt web.pem")
	s.ok("crl update")
	s.ok("log check")
	s.says("(?s)log: +cauase.log/0123456789abcdef\nkept: +10 entries, root .*=, epoch 1, of .*, seen .*\nnow: +10 entries.*verdict: consistent\n")
	if err := os.WriteFile("hook", []byte("#!/bin/sh\necho $CAUASE_CHANGED $CAUASE_LOG >> heard\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	s.daemon.Log.Rewrite(4, s.daemon.Clock.Now())
	s.grow(3)
	s.daemon.CAS.Renumber()
	before := s.contents()
	for _, line := range []string{"crt renew --force web.pem", "crl update", "ca update", "ca root", "request --cn other --crt other.pem", "crt proof web.pem", "log check"} {
		s.exits(line+" --on-renew ./hook", 5)
		s.says(`error: the CA's log is not what it was: this host has seen it with 10 entries and the root \S+=, on 2026-\S+; what it has now, 13 entries and the root \S+=, does not continue that`)
		s.says("hint: nothing was taken from it")
		if after := s.contents(); after != before {
			t.Fatalf("%s has changed files", line)
		}
		if heard, err := os.ReadFile("heard"); err != nil || string(heard) != "log forked\n" {
			t.Errorf("%s: the hook has heard %q, %v", line, heard, err)
		}
		os.Remove("heard")
	}
	if strings.Contains(strings.Join(s.daemon.Seen(), "\n"), "/renew") {
		t.Error("a renewal was asked for")
	}
	s.exits("log check --json", 5)
	var view logView
	if err := json.Unmarshal([]byte(s.out), &view); err != nil || view.Verdict != "forked" || view.Kept.Size != 10 || view.Now.Size != 13 || len(view.Forks) != 1 {
		t.Errorf("%v\n%s", err, s.out)
	}
	s.ok("log accept")
	s.says("verdict: accepted")
	s.ok("crt renew --force web.pem")
	s.ok("log check")
	if _, err := os.Stat("cas.crt.pem.checkpoints.before"); err != nil {
		t.Error(err)
	}
}

func TestLogRestoredAndGone(t *testing.T) {
	s := logged(t)
	s.ok("crl update")
	s.grow(10)
	s.daemon.Clock.Advance(time.Hour)
	s.ok("crl update")
	s.daemon.Log.Restore(15, s.daemon.Clock.Now())
	s.ok("crl update")
	s.says("warning: the CA was restored from a backup on 2026-\\S+, as it says: its log went on from 15 entries, without 5 that this host knew of")
	s.ok("crl update")
	if strings.Contains(s.err, "warning") {
		t.Errorf("again: %s", s.err)
	}
	log := s.daemon.Log
	s.daemon.Log = nil
	s.exits("crl update", 5)
	s.says("the daemon offers none any more")
	s.ok("log accept") // it is one of before
	s.ok("crl update")
	s.exits("log check", 1)
	s.says("offers no log")
	s.exits("log accept", 1)
	s.daemon.Log = log
	s.ok("log check")
	s.says("verdict: first contact")
}

// TestSplitView: a daemon that shows two hosts two logs is found out by comparing what they keep.
func TestSplitView(t *testing.T) {
	s := logged(t)
	s.ok("crl update")
	ours := s.daemon.Log.Clone()
	s.daemon.Log.Rewrite(3, s.daemon.Clock.Now())
	s.ok("log check --ca-crt other.pem")
	signed := s.daemon.Log.Signed()
	if err := os.WriteFile("note", signed, 0o600); err != nil {
		t.Fatal(err)
	}
	s.daemon.Log.Replace(ours)
	s.grow(2)
	s.ok("log check")
	s.exits("log check --with other.pem.checkpoints", 5)
	s.says("the daemon shows another log here than where that file is from")
	s.says("10 entries and the root")
	s.says("hint: both are signed by its key")
	s.exits("log check --with note", 5)
	s.ok("log check --ca-crt third.pem")
	s.grow(2)
	s.ok("log check --ca-crt third.pem")
	s.ok("log check --with third.pem.checkpoints") // is ahead of us
	s.says("with: +14 entries")
	if err := os.WriteFile("forged", ledgertest.New("another").Clone().Signed(), 0o600); err != nil {
		t.Fatal(err)
	}
	foreign := ledgertest.New("another")
	foreign.Append(time.Unix(1, 0), "cas", "crt.sign", nil)
	if err := os.WriteFile("forged", foreign.Signed(), 0o600); err != nil {
		t.Fatal(err)
	}
	s.exits("log check --with forged", 1)
	s.says("not signed by the key of this log")
	s.exits("log check --with cas.crt.pem", 1)
}

// TestCertificateProof: that a certificate is in the log is proved, online and, to whoever trusts the CA, years later without it.
func TestCertificateProof(t *testing.T) {
	s := logged(t)
	s.daemon.CAS.AutoApprove = 2
	s.ok("request --cn web --crt web.pem")
	s.ok("request --cn stolen --crt stolen.pem")
	crts, err := pemfile.ReadCertificates("web.pem")
	if err != nil {
		t.Fatal(err)
	}
	s.daemon.Log.Append(s.daemon.Clock.Now(), "cas", "crt.sign", crts[0].Raw)
	s.grow(20)
	s.ok("crt proof web.pem --out web.proof")
	s.says(`(?s)web.pem: the certificate of CN=web is in the CA's log\n.*entry: +10 of 31, crt.sign by cas on 2026.*leaf: +\{"v":1,"leaf":10,.*root: +\S+=, of 2026-\S+, epoch 1\n`)
	s.ok("crt proof --json web.pem")
	var view proofView
	if err := json.Unmarshal([]byte(s.out), &view); err != nil || view.Index != 10 || view.Checkpoint.Size != 31 || view.Hashes == 0 {
		t.Errorf("%v\n%s", err, s.out)
	}
	s.exits("crt proof stolen.pem", 1)
	s.says("the log of the daemon does not have this certificate")
	s.exits("crt proof", 1)

	s.daemon.Clock.Advance(20 * 365 * 24 * time.Hour)
	s.daemon.Intercept(func(w http.ResponseWriter, _ *http.Request) bool { t.Error("the daemon was asked"); return false })
	s.ok("crt proof --verify web.proof")
	s.says("entry: +10 of 31")
	s.ok("crt proof --verify web.proof web.pem")
	s.exits("crt proof --verify web.proof stolen.pem", 1)
	s.exits("crt proof --verify web.proof --ca-crt none.pem", 1)
	good, err := os.ReadFile("web.proof")
	if err != nil {
		t.Fatal(err)
	}
	for _, change := range [][2]string{{`"index": 10`, `"index": 11`}, {`"size": 31`, `"size": 30`}, {`\"leaf\":10`, `\"leaf\":9`}, {"crt.sign", "crt.renew"}, {`"version": 1`, `"version": 2`},
		{`\n31\n`, `\n32\n`}, {`"certificate": "-----BEGIN`, `"certificate": "-----BEGIM`}, {"log_key", "log_kez"}} {
		bad := strings.Replace(string(good), change[0], change[1], 1)
		if bad == string(good) {
			t.Fatalf("%q is not in it:\n%s", change[0], good)
		}
		if err := os.WriteFile("bad.proof", []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		s.exits("crt proof --verify bad.proof", 1)
	}
}
