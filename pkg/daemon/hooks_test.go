package daemon

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/ca"
	"cauase/pkg/hook"
	"cauase/pkg/pki"
	"cauase/pkg/policy"
	"cauase/pkg/server/signing"
	"cauase/pkg/store"
	"cauase/pkg/testkit"
	"cauase/pkg/testkit/pkitest"
)

// hookScript writes a shell script that is a hook.
func hookScript(t *testing.T, text string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "hook")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

func hooksOf(t *testing.T, c hook.Config, webhooks ...hook.WebhookTable) *hook.Set {
	t.Helper()
	set, err := hook.Compile(c, webhooks, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func rulesOf(t *testing.T, tables ...policy.Config) *policy.Set {
	t.Helper()
	set, err := policy.Compile(tables)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// approvesWeb approves what lies below web.example.
func approvesWeb(t *testing.T) *policy.Set {
	return rulesOf(t, policy.Config{Name: "web", Authority: "cas", Names: "*.web.example", Decision: "approve"})
}

// withSigning has PUT /api/csr/{id} be answered, by these rules and hooks.
func withSigning(rules *policy.Set, hooks *hook.Set) func(*Config) {
	return func(c *Config) {
		c.Tables = Tables{Policy: rules, Hooks: hooks, Signing: &signing.Target{Authority: store.Services}}
		c.Users.AutoApprove = 0
	}
}

// put hands a request in.
func (r running) putCSR(t *testing.T, id string, body []byte) (status int, answer map[string]string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, r.httpURL("/api/csr/"+id), bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		t.Fatalf("%d %q: %v", resp.StatusCode, text, err)
	}
	return resp.StatusCode, answer
}

func parsed(t *testing.T, text string) *x509.Certificate {
	t.Helper()
	block, rest := pem.Decode([]byte(text))
	if block == nil || len(bytes.TrimSpace(rest)) > 0 {
		t.Fatalf("%q is not one certificate", text)
	}
	crt, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return crt
}

// certificates are those that the services' authority has issued.
func (r running) certificates(t *testing.T) (all []store.Certificate) {
	t.Helper()
	err := r.store.View(t.Context(), func(reader store.Reader) (err error) {
		all, err = reader.Certificates(t.Context(), store.Services, 0, 0)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// details are those of audit entries about an action.
func (r running) details(t *testing.T, action audit.Action, result audit.Result) (all []string) {
	t.Helper()
	err := r.store.View(t.Context(), func(reader store.Reader) error {
		return reader.Audit(t.Context(), audit.Filter{Action: action}, func(e audit.Entry) error {
			if e.Result == result {
				all = append(all, e.Detail)
			}
			return nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func request(t *testing.T, names ...string) []byte {
	t.Helper()
	return pkitest.NamedRequest(t, pkitest.Key(t), names[0], names...)
}

// TestSigning: what rules approve is signed in one exchange, the same request gets the same, and what else is there gets a status
// that says so.
func TestSigning(t *testing.T) {
	rules := rulesOf(t, policy.Config{Name: "web", Names: "*.web.example", Decision: "approve"},
		policy.Config{Name: "evil", Names: "*.evil.example", Decision: "refuse", Reason: "not you"})
	r := launch(t, testConfig(t, t.TempDir(), withSigning(rules, nil)), testTime())
	csr := request(t, "a.web.example")
	status, answer := r.putCSR(t, "web1", csr)
	if status != http.StatusOK || len(answer) != 1 {
		t.Fatalf("%d %v", status, answer)
	}
	crt := parsed(t, answer["signed_x509_pem"])
	if !slices.Equal(crt.DNSNames, []string{"a.web.example"}) {
		t.Errorf("names %v", crt.DNSNames)
	}
	if status, again := r.putCSR(t, "other", csr); status != http.StatusOK || again["signed_x509_pem"] != answer["signed_x509_pem"] {
		t.Errorf("the same again: %d %v", status, again)
	}
	if all := r.certificates(t); len(all) != 1 || !strings.Contains(all[0].Asked, `"client":"web1"`) || !strings.Contains(all[0].Asked, `"front_end":"signing"`) || all[0].Rule != "web" {
		t.Errorf("on record: %+v", all)
	}
	held := request(t, "b.example")
	if status, answer := r.putCSR(t, "web1", held); status != http.StatusAccepted || answer["status"] != "pending" || answer["request_id"] == "" {
		t.Errorf("what waits: %d %v", status, answer)
	}
	if status, answer := r.putCSR(t, "web1", request(t, "a.evil.example")); status != http.StatusForbidden || !strings.Contains(answer["error"], "not you") {
		t.Errorf("what is refused: %d %v", status, answer)
	}
	for id, want := range map[string]int{
		"a-b": http.StatusBadRequest, "a%2fb": http.StatusNotFound, "..": http.StatusBadRequest, "a%00": http.StatusBadRequest, "%C3%A4": http.StatusBadRequest,
		"--help": http.StatusBadRequest, strings.Repeat("a", 129): http.StatusBadRequest, strings.Repeat("a", 128): http.StatusOK,
		"a/b": http.StatusNotFound, "$(id)": http.StatusBadRequest,
	} {
		status, answer := r.putCSR(t, id, csr)
		if status != want || want != http.StatusOK && answer["error"] == "" {
			t.Errorf("id %q: %d %v, not %d", id, status, answer, want)
		}
	}
	for name, body := range map[string][]byte{"nothing": nil, "text": []byte("hello"), "two": append(slices.Clone(csr), csr...), "certificate": pki.EncodeCertificatePEM(crt.Raw)} {
		if status, answer := r.putCSR(t, "web1", body); status != http.StatusBadRequest || answer["error"] == "" {
			t.Errorf("%s: %d %v", name, status, answer)
		}
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, r.httpURL("/api/csr/web1"), bytes.NewReader(csr))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Origin", "https://elsewhere.example")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusForbidden {
		t.Errorf("a page from elsewhere: %d", resp.StatusCode)
	}
	if all := r.certificates(t); len(all) != 1 {
		t.Errorf("%d certificates were issued", len(all))
	}
	r.Reload(t.Context(), Tables{Policy: rules})
	if status, _ := r.putCSR(t, "web1", csr); status != http.StatusNotFound {
		t.Errorf("when it was taken out: %d", status)
	}
}

func TestNoSigningUnlessConfigured(t *testing.T) {
	r := launch(t, testConfig(t, t.TempDir()), testTime())
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, r.httpURL("/api/csr/web1"), bytes.NewReader(request(t, "a.example")))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode < 400 || len(r.certificates(t)) > 0 {
		t.Errorf("status %d", resp.StatusCode)
	}
}

// TestHooksDecide: nothing is issued that a hook refuses, holds, or cannot be asked about; the audit log names it.
func TestHooksDecide(t *testing.T) {
	authorize := hookScript(t, `case "$(cat)" in
*'"client":"hold"'*) echo '{"decision":"hold","reason":"the inventory is closed"}';;
*'"client":"refuse"'*) echo '{"decision":"refuse","reason":"not in the inventory"}';;
*'"client":"fails"'*) exit 1;;
*'"client":"garbage"'*) echo hello;;
*) echo '{"decision":"allow"}';;
esac`)
	r := launch(t, testConfig(t, t.TempDir(), withSigning(approvesWeb(t), hooksOf(t, hook.Config{Authorize: []string{authorize}}))), testTime())
	for client, want := range map[string]int{"hold": http.StatusAccepted, "refuse": http.StatusForbidden, "fails": http.StatusForbidden, "garbage": http.StatusForbidden} {
		status, answer := r.putCSR(t, client, request(t, client+".web.example"))
		if status != want || strings.Contains(answer["error"], "/") {
			t.Errorf("%s: %d %v", client, status, answer)
		}
	}
	if _, answer := r.putCSR(t, "refuse", request(t, "x.web.example")); !strings.Contains(answer["error"], "not in the inventory") {
		t.Errorf("the asker is told %v", answer)
	}
	if _, answer := r.putCSR(t, "hold", request(t, "y.web.example")); answer["reason"] != "the inventory is closed" || !strings.Contains(answer["detail"], "again later") {
		t.Errorf("who has to wait is told %v", answer)
	}
	if all := r.certificates(t); len(all) > 0 {
		t.Errorf("issued: %+v", all)
	}
	if said := strings.Join(r.details(t, audit.Submit, audit.Refused), "\n"); !strings.Contains(said, "authorize hook "+authorize) || !strings.Contains(said, "not in the inventory") {
		t.Errorf("the audit log says\n%s", said)
	}
	if status, _ := r.putCSR(t, "allow", request(t, "ok.web.example")); status != http.StatusOK {
		t.Errorf("what it allows: %d", status)
	}
	// A hook that allows does not approve what the rules hold.
	if status, _ := r.putCSR(t, "allow", request(t, "ok.example")); status != http.StatusAccepted {
		t.Errorf("what it allows and rules hold: %d", status)
	}
}

// TestPresignChangesWithinTheProfile, and never beyond it.
func TestPresignChangesWithinTheProfile(t *testing.T) {
	presign := hookScript(t, `case "$(cat)" in
*'"client":"names"'*) echo '{"names":["DNS:b.web.example","IP:192.0.2.7"],"validity":"2d"}';;
*'"client":"subject"'*) echo '{"subject":"O=Example,CN=c.web.example"}';;
*'"client":"long"'*) echo '{"validity":"10y"}';;
*'"client":"ca"'*) echo '{"extensions":[{"oid":"2.5.29.19","critical":true,"value":"MAMBAf8="}]}';;
*'"client":"ocsp"'*) echo '{"extensions":[{"oid":"2.5.29.37","critical":false,"value":"MAoGCCsGAQUFBwMJ"}]}';;
*'"client":"eku"'*) echo '{"extensions":[{"oid":"2.5.29.37","critical":false,"value":"MAoGCCsGAQUFBwMC"}]}';;
*'"client":"nobody"'*) echo '{"names":[]}';;
*'"client":"wild"'*) echo '{"names":["DNS:*"]}';;
*'"client":"broken"'*) echo '{"names":["DNS:a.web.example","DNS:a.web.example"],"extensions":[{"oid":"2.5.29.15","critical":true,"value":"AAAA"}]}';;
*'"client":"no"'*) echo '{"decision":"refuse","reason":"later"}';;
*'"client":"fails"'*) exit 1;;
*) echo '{}';;
esac`)
	r := launch(t, testConfig(t, t.TempDir(), withSigning(approvesWeb(t), hooksOf(t, hook.Config{Presign: []string{presign}}))), testTime())
	status, answer := r.putCSR(t, "names", request(t, "a.web.example"))
	if status != http.StatusOK {
		t.Fatalf("%d %v", status, answer)
	}
	crt := parsed(t, answer["signed_x509_pem"])
	if !slices.Equal(crt.DNSNames, []string{"b.web.example"}) || len(crt.IPAddresses) != 1 || crt.NotAfter.Sub(testTime()) != 48*time.Hour {
		t.Errorf("%v %v %v", crt.DNSNames, crt.IPAddresses, crt.NotAfter)
	}
	if said := strings.Join(r.details(t, audit.Sign, audit.OK), "\n"); !strings.Contains(said, "presign hook "+presign+" changed names to [DNS:b.web.example, IP:192.0.2.7] validity to ") {
		t.Errorf("the audit log says\n%s", said)
	}
	if status, answer := r.putCSR(t, "eku", request(t, "e.web.example")); status != http.StatusOK || !slices.Equal(parsed(t, answer["signed_x509_pem"]).ExtKeyUsage, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}) {
		t.Errorf("usage: %d %v", status, answer)
	}
	if status, answer := r.putCSR(t, "subject", request(t, "c.web.example")); status != http.StatusOK || parsed(t, answer["signed_x509_pem"]).Subject.Organization[0] != "Example" {
		t.Errorf("subject: %d %v", status, answer)
	}
	issued := len(r.certificates(t))
	for _, client := range []string{"long", "ca", "ocsp", "wild", "broken", "no", "fails"} {
		status, answer := r.putCSR(t, client, request(t, client+".web.example"))
		if status != http.StatusForbidden || strings.Contains(answer["error"], "/") {
			t.Errorf("%s: %d %v", client, status, answer)
		}
	}
	if all := r.certificates(t); len(all) != issued {
		t.Errorf("issued: %+v", all[issued:])
	}
	if said := strings.Join(r.details(t, audit.Submit, audit.Refused), "\n"); strings.Count(said, "presign hook "+presign) < 5 {
		t.Errorf("the audit log says\n%s", said)
	}
}

// TestPresignGoesByTheRule, too: what approves for a day gets no hook two.
func TestPresignGoesByTheRule(t *testing.T) {
	rules := rulesOf(t, policy.Config{Name: "day", Names: "*.web.example", Decision: "approve", MaxValidity: "1d"})
	presign := hookScript(t, `case "$(cat)" in
*'"client":"two"'*) echo '{"validity":"2d"}';;
*) echo '{"validity":"12h"}';;
esac`)
	r := launch(t, testConfig(t, t.TempDir(), withSigning(rules, hooksOf(t, hook.Config{Presign: []string{presign}}))), testTime())
	if status, answer := r.putCSR(t, "two", request(t, "a.web.example")); status != http.StatusForbidden {
		t.Errorf("%d %v", status, answer)
	}
	status, answer := r.putCSR(t, "half", request(t, "b.web.example"))
	if status != http.StatusOK || parsed(t, answer["signed_x509_pem"]).NotAfter.Sub(testTime()) != 12*time.Hour {
		t.Errorf("%d %v", status, answer)
	}
}

// TestRenewals are told to whom they interest, and pass by presign and authorize hooks.
func TestRenewals(t *testing.T) {
	to, asked := filepath.Join(t.TempDir(), "told"), filepath.Join(t.TempDir(), "asked")
	ask := hookScript(t, "echo x >> "+asked+"; echo '{\"decision\":\"allow\"}'")
	hooks := hooksOf(t, hook.Config{Authorize: []string{ask}, Presign: []string{ask}, Postsign: []string{hookScript(t, "cat >> "+to)}, Renewals: true})
	r := launch(t, testConfig(t, t.TempDir(), withSigning(approvesWeb(t), hooks)), testTime())
	key := pkitest.Key(t)
	status, answer := r.putCSR(t, "web1", pkitest.NamedRequest(t, key, "a.web.example", "a.web.example"))
	if status != http.StatusOK {
		t.Fatalf("%d %v", status, answer)
	}
	before, err := os.ReadFile(asked)
	if err != nil || len(before) != 4 {
		t.Fatalf("asked %q, %v", before, err)
	}
	old := parsed(t, answer["signed_x509_pem"])
	a, _ := r.Authority(store.Services)
	holder, err := a.Holder(t.Context(), audit.Actor{Kind: audit.Anonymous, Address: "192.0.2.1"}, old, func(crypto.PublicKey) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	issued, err := a.Renew(t.Context(), holder, pkitest.HostRequest(t, "a.web.example"))
	if err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf(`"id":"crt-cas-%x"`, issued.Serial)
	waitFor(t, "the renewal is told", func() bool {
		text, err := os.ReadFile(to)
		return err == nil && strings.Contains(string(text), want) && strings.Contains(string(text), `"renews":"`+pki.FormatSerial(old.SerialNumber)+`"`)
	})
	if after, err := os.ReadFile(asked); err != nil || len(after) != len(before) {
		t.Errorf("hooks were asked about a renewal: %q, %v", after, err)
	}
}

// TestPostsignIsTold of certificates, and of renewals if it wants to be, by a program and by a web server.
func TestPostsignIsTold(t *testing.T) {
	to := filepath.Join(t.TempDir(), "told")
	r := launch(t, testConfig(t, t.TempDir(), withSigning(approvesWeb(t), hooksOf(t, hook.Config{Postsign: []string{hookScript(t, "cat >> "+to)}}))), testTime())
	status, answer := r.putCSR(t, "web1", request(t, "a.web.example"))
	if status != http.StatusOK {
		t.Fatalf("%d %v", status, answer)
	}
	var event hook.IssuedEvent
	waitFor(t, "the hook is told", func() bool {
		text, err := os.ReadFile(to)
		return err == nil && bytes.HasSuffix(text, []byte("\n")) && json.Unmarshal(text, &event) == nil
	})
	crt := parsed(t, answer["signed_x509_pem"])
	if event.ID != fmt.Sprintf("crt-cas-%x", crt.SerialNumber) || event.Certificate.PEM != answer["signed_x509_pem"] || event.Asker.Client != "web1" ||
		event.Certificate.Rule != "web" || event.Type != hook.CertificateIssued || !slices.Equal(event.Certificate.Names, []string{"DNS:a.web.example"}) {
		t.Errorf("%+v", event)
	}
	waitFor(t, "nothing waits", func() bool { return len(r.deliveries(t)) == 0 })
}

// deliveries is what waits, by recipient.
func (r running) deliveries(t *testing.T) (counts map[string]int) {
	t.Helper()
	err := r.store.View(t.Context(), func(reader store.Reader) (err error) {
		counts, err = reader.CountDeliveries(t.Context())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return counts
}

// TestBootHooks may veto the start, and then nothing is there that was not before.
func TestBootHooks(t *testing.T) {
	for text, allowed := range map[string]bool{
		"exit 0": true, `echo '{"decision":"allow"}'`: true, "exit 1": false, `echo '{"decision":"refuse","reason":"not on this machine"}'`: false, "echo hello": false,
		`case "$(cat)" in *'"netloc":"127.0.0.1:8009"'*'"127.0.0.1:'*) ;; *) exit 1;; esac`: true,
		`case "$(cat)" in *'"netloc":"other"'*) ;; *) exit 1;; esac`:                        false,
	} {
		dir := t.TempDir()
		cfg := testConfig(t, dir, func(c *Config) { c.Tables.Hooks = hooksOf(t, hook.Config{Boot: []string{hookScript(t, text)}}) })
		if allowed {
			if err := launch(t, cfg, testTime()).stop(); err != nil {
				t.Errorf("%s: %v", text, err)
			}
			continue
		}
		var log testkit.Buffer
		d, err := Start(t.Context(), cfg, fixed{}, slog.New(slog.NewTextHandler(&log, nil)))
		if err == nil {
			t.Errorf("%s: it starts", text)
			_ = d.Close()
			continue
		}
		if entries, _ := os.ReadDir(dir); len(entries) > 0 || !strings.Contains(err.Error(), "boot hook /") {
			t.Errorf("%s: %v, left %v", text, err, entries)
		}
	}
}

// TestAHookThatHangs holds up whom it is asked about, and nobody else.
func TestAHookThatHangs(t *testing.T) {
	began := filepath.Join(t.TempDir(), "began")
	hang := hookScript(t, `case "$(cat)" in *'"client":"hang"'*) echo x >> `+began+`; exec sleep 1000;; esac; echo '{"decision":"allow"}'`)
	hooks := hooksOf(t, hook.Config{Authorize: []string{hang}, Timeout: "10m"})
	r := launch(t, testConfig(t, t.TempDir(), withSigning(approvesWeb(t), hooks)), testTime())
	status, answer := r.putCSR(t, "web1", request(t, "a.web.example"))
	if status != http.StatusOK {
		t.Fatalf("%d %v", status, answer)
	}
	old := parsed(t, answer["signed_x509_pem"])
	waiting, leave := context.WithCancel(t.Context())
	var gone sync.WaitGroup
	for range 2 {
		body := request(t, "b.web.example")
		gone.Go(func() {
			req, err := http.NewRequestWithContext(waiting, http.MethodPut, r.httpURL("/api/csr/hang"), bytes.NewReader(body))
			if err != nil {
				return
			}
			if resp, err := http.DefaultClient.Do(req); err == nil {
				_ = resp.Body.Close()
			}
		})
	}
	waitFor(t, "the hook hangs twice", func() bool { text, _ := os.ReadFile(began); return len(text) == 4 })
	if status, _ := r.putCSR(t, "web1", request(t, "c.web.example")); status != http.StatusOK {
		t.Errorf("another request: %d", status)
	}
	a, _ := r.Authority(store.Services)
	holder, err := a.Holder(t.Context(), audit.Actor{Kind: audit.Anonymous}, old, func(crypto.PublicKey) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Renew(t.Context(), holder, pkitest.HostRequest(t, "a.web.example")); err != nil {
		t.Errorf("a renewal: %v", err)
	}
	if status, body := testkit.Get(t, r.httpURL("/cas/crl")); status != http.StatusOK || !strings.Contains(body, "BEGIN X509 CRL") {
		t.Errorf("lists: %d", status)
	}
	leave()
	gone.Wait()
	if all := r.certificates(t); len(all) != 3 {
		t.Errorf("%d certificates", len(all))
	}
}

// TestHooksOfApprovals: what a user approves passes by presign hooks, too, and they have the last word.
func TestHooksOfApprovals(t *testing.T) {
	presign := hookScript(t, `case "$(cat)" in *no.example*) echo '{"decision":"refuse","reason":"never"}';; *) echo '{"validity":"1d"}';; esac`)
	r := launch(t, testConfig(t, t.TempDir(), withSigning(nil, hooksOf(t, hook.Config{Presign: []string{presign}}))), testTime())
	a, _ := r.Authority(store.Services)
	user := audit.Actor{Kind: audit.User, Authority: string(store.Users), Serial: big.NewInt(7), KeyID: []byte{7}, Lineage: "7"}
	for name, allowed := range map[string]bool{"yes.example": true, "no.example": false} {
		done, err := a.Submit(t.Context(), audit.Actor{Kind: audit.Anonymous, Address: "192.0.2.1"}, pkitest.HostRequest(t, name), ca.Asked{})
		if err != nil || done.Issued != nil {
			t.Fatal(done, err)
		}
		issued, err := a.Approve(t.Context(), user, done.ID, ca.Approval{})
		switch {
		case allowed && (err != nil || issued.Certificate.NotAfter.Sub(testTime()) != 24*time.Hour):
			t.Errorf("%s: %v", name, err)
		case !allowed && (!errors.Is(err, ca.ErrPolicy) || !strings.Contains(err.Error(), "never")):
			t.Errorf("%s: %v", name, err)
		case !allowed:
			if pending, err := a.Pending(t.Context()); err != nil || len(pending) != 1 {
				t.Errorf("it does not wait any more: %v, %v", pending, err)
			}
		}
	}
	if said := strings.Join(r.details(t, audit.Sign, audit.Refused), "\n"); !strings.Contains(said, "presign hook "+presign) || !strings.Contains(said, "never") {
		t.Errorf("the audit log says\n%s", said)
	}
}
