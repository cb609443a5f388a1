// Package judges asks software that shares no code with ours whether a certificate can be
// trusted: OpenSSL, GnuTLS, NSS, Go and Java. It is for tests only.
package judges

import (
	"bufio"
	"bytes"
	"context"
	"crypto/x509"
	_ "embed"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"cauase/pkg/testkit"
)

// A Question is whether a certificate can be trusted at a time, by a verifier that trusts only the roots.
type Question struct {
	Roots         []*x509.Certificate
	Intermediates []*x509.Certificate // as a server would send them, the leaf's issuer first
	Leaf          *x509.Certificate
	At            time.Time

	// CRLs, DER, of every CA of the chain. Without any, revocation is not looked at.
	CRLs [][]byte
}

// Judges are those that are asked.
type Judges struct {
	dir    string
	java   *validator
	absent []string
}

// Without returns the judges but those of these names, who cannot be asked, whatever the answer should be.
func (j *Judges) Without(names ...string) *Judges {
	fewer := *j
	fewer.absent = append(slices.Clone(j.absent), names...)
	return &fewer
}

// Only returns one of the judges.
func (j *Judges) Only(name string) *Judges {
	return j.Without(slices.DeleteFunc([]string{"Go", "OpenSSL", "GnuTLS", "NSS", "Java"}, func(n string) bool { return n == name })...)
}

//go:embed PathValidator.java
var pathValidator []byte

// New finds the judges, and skips the test, saying so, where one is missing.
func New(t testing.TB) *Judges {
	t.Helper()
	for program, debianPackage := range map[string]string{
		"openssl": "openssl", "certtool": "gnutls-bin", "certutil": "libnss3-tools", "crlutil": "libnss3-tools",
		"faketime": "faketime", "java": "default-jre-headless", "javac": "default-jdk-headless",
	} {
		testkit.Need(t, program, debianPackage)
	}
	return &Judges{dir: t.TempDir(), java: startValidator(t)}
}

// A validator is a running PathValidator: to start Java takes longer than all it is asked.
type validator struct {
	asking    sync.Mutex
	questions io.Writer
	answers   *bufio.Reader
}

func startValidator(t testing.TB) *validator {
	t.Helper()
	dir := t.TempDir()
	source := filepath.Join(dir, "PathValidator.java")
	if err := os.WriteFile(source, pathValidator, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := run(t.Context(), "", "javac", "-d", dir, source); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("java", "-cp", dir, "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "PathValidator")
	cmd.Stderr = os.Stderr
	questions, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	answers, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = questions.Close() // which ends it
		if err := cmd.Wait(); err != nil {
			t.Errorf("java: %v", err)
		}
	})
	return &validator{questions: questions, answers: bufio.NewReader(answers)}
}

// ask hands in one line and returns the answer.
func (v *validator) ask(question string) (string, error) {
	v.asking.Lock()
	defer v.asking.Unlock()
	if _, err := io.WriteString(v.questions, question+"\n"); err != nil {
		return "", err
	}
	answer, err := v.answers.ReadString('\n')
	return strings.TrimSpace(answer), err
}

// Ask returns what each judge says, by name: nil when it trusts the certificate, else why not.
func (j *Judges) Ask(t testing.TB, q Question) map[string]error {
	t.Helper()
	dir, err := os.MkdirTemp(j.dir, "question-")
	if err != nil {
		t.Fatal(err)
	}
	files := caseFiles{dir: dir, at: q.At, revocation: len(q.CRLs) > 0, intermediates: len(q.Intermediates) > 0}
	files.roots = files.write(t, "roots.pem", "CERTIFICATE", raw(q.Roots...)...)
	files.untrusted = files.write(t, "untrusted.pem", "CERTIFICATE", raw(q.Intermediates...)...)
	files.leaf = files.write(t, "leaf.pem", "CERTIFICATE", q.Leaf.Raw)
	files.chain = files.write(t, "chain.pem", "CERTIFICATE", append(raw(q.Leaf), raw(q.Intermediates...)...)...)
	files.lists = files.write(t, "lists.pem", "X509 CRL", q.CRLs...)
	answers := map[string]error{}
	for name, ask := range map[string]func() error{
		"Go":      func() error { return askGo(q) },
		"OpenSSL": func() error { return files.askOpenSSL(t) },
		"GnuTLS":  func() error { return files.askGnuTLS(t) },
		"NSS":     func() error { return files.askNSS(t, q) },
		"Java":    func() error { return files.askJava(t, j.java) },
	} {
		if !slices.Contains(j.absent, name) {
			answers[name] = ask()
		}
	}
	return answers
}

// Trusted fails the test unless every judge trusts the certificate.
func (j *Judges) Trusted(t testing.TB, what string, q Question) {
	t.Helper()
	for name, err := range j.Ask(t, q) {
		if err != nil {
			t.Errorf("%s: %s does not trust it: %v", what, name, err)
		}
	}
}

// Refused fails the test if any judge trusts the certificate.
func (j *Judges) Refused(t testing.TB, what string, q Question) {
	t.Helper()
	for name, err := range j.Ask(t, q) {
		if err == nil {
			t.Errorf("%s: %s trusts it", what, name)
		}
	}
}

// askGo checks signatures, times, path lengths and names as crypto/x509 does, and revocation, which
// that leaves to its callers, against the lists.
func askGo(q Question) error {
	pool := func(crts []*x509.Certificate) *x509.CertPool {
		p := x509.NewCertPool()
		for _, crt := range crts {
			p.AddCert(crt)
		}
		return p
	}
	chains, err := q.Leaf.Verify(x509.VerifyOptions{
		Roots: pool(q.Roots), Intermediates: pool(q.Intermediates), CurrentTime: q.At,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	if err != nil || len(q.CRLs) == 0 {
		return err
	}
	for _, chain := range chains {
		if err = unrevoked(chain, q); err == nil {
			return nil
		}
	}
	return err
}

func unrevoked(chain []*x509.Certificate, q Question) error {
	for i, crt := range chain[:len(chain)-1] {
		found := false
		for _, der := range q.CRLs {
			list, err := x509.ParseRevocationList(der)
			if err != nil {
				return err
			}
			if list.CheckSignatureFrom(chain[i+1]) != nil {
				continue
			}
			if q.At.Before(list.ThisUpdate) || q.At.After(list.NextUpdate) {
				return errors.New("the revocation list is not current")
			}
			found = true
			for _, entry := range list.RevokedCertificateEntries {
				if entry.SerialNumber.Cmp(crt.SerialNumber) == 0 {
					return fmt.Errorf("certificate %#x is revoked", crt.SerialNumber)
				}
			}
		}
		if !found {
			return fmt.Errorf("no revocation list of %s", chain[i+1].Subject)
		}
	}
	return nil
}

// caseFiles are the files of one question.
type caseFiles struct {
	dir                                  string
	roots, untrusted, leaf, chain, lists string
	at                                   time.Time
	revocation, intermediates            bool
}

func (f *caseFiles) write(t testing.TB, name, label string, blocks ...[]byte) string {
	t.Helper()
	var out bytes.Buffer
	for _, der := range blocks {
		_ = pem.Encode(&out, &pem.Block{Type: label, Bytes: der}) // a Buffer does not fail
	}
	path := filepath.Join(f.dir, name)
	if err := os.WriteFile(path, out.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func (f *caseFiles) askOpenSSL(t testing.TB) error {
	args := []string{"verify", "-x509_strict", "-attime", strconv.FormatInt(f.at.Unix(), 10), "-no-CApath", "-no-CAstore", "-CAfile", f.roots}
	if f.intermediates {
		args = append(args, "-untrusted", f.untrusted) // it does not take an empty file
	}
	if f.revocation {
		args = append(args, "-crl_check_all", "-CRLfile", f.lists)
	}
	_, err := run(t.Context(), "", "openssl", append(args, f.leaf)...)
	return err
}

func (f *caseFiles) askGnuTLS(t testing.TB) error {
	// certtool knows no time but the clock's.
	args := []string{f.at.UTC().Format("2006-01-02 15:04:05"), "certtool", "--verify", "--load-ca-certificate", f.roots, "--infile", f.chain}
	if f.revocation {
		args = append(args, "--load-crl", f.lists)
	}
	_, err := runIn(t.Context(), f.dir, []string{"TZ=UTC"}, "", "faketime", args...)
	return err
}

// askNSS builds a certificate database, as browsers have one. Lists that are of no CA of the chain, or not
// current, are none of its business: it keeps the newest of each issuer's name.
func (f *caseFiles) askNSS(t testing.TB, q Question) error {
	db := filepath.Join(f.dir, "nss")
	if err := os.Mkdir(db, 0o700); err != nil {
		t.Fatal(err)
	}
	nss := func(program, input string, args ...string) error {
		_, err := run(t.Context(), input, program, append([]string{"-d", "sql:" + db}, args...)...)
		return err
	}
	if err := nss("certutil", "", "-N", "--empty-password"); err != nil {
		t.Fatal(err)
	}
	add := func(name, trust string, der []byte) {
		t.Helper()
		path := filepath.Join(f.dir, name+".der")
		if err := os.WriteFile(path, der, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := nss("certutil", "", "-A", "-n", name, "-t", trust, "-i", path); err != nil {
			t.Fatal(err)
		}
	}
	for i, crt := range q.Roots {
		add(fmt.Sprintf("root-%d", i), "CT,C,C", crt.Raw)
	}
	for i, crt := range q.Intermediates {
		add(fmt.Sprintf("intermediate-%d", i), ",,", crt.Raw)
	}
	add("leaf", ",,", q.Leaf.Raw)
	for i, der := range q.CRLs {
		path := filepath.Join(f.dir, fmt.Sprintf("list-%d.der", i))
		if err := os.WriteFile(path, der, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := nss("crlutil", "", "-I", "-B", "-i", path); err != nil && !strings.Contains(err.Error(), "SEC_ERROR_OLD_CRL") && !strings.Contains(err.Error(), "newer") {
			return fmt.Errorf("list %d: %w", i, err)
		}
	}
	usage := "V" // a TLS server
	if !hasUsage(q.Leaf, x509.ExtKeyUsageServerAuth) {
		usage = "C" // a TLS client
	}
	return nss("certutil", "", "-V", "-e", "-n", "leaf", "-u", usage, "-b", q.At.UTC().Format("060102150405")+"Z")
}

func hasUsage(crt *x509.Certificate, usage x509.ExtKeyUsage) bool {
	for _, u := range crt.ExtKeyUsage {
		if u == usage || u == x509.ExtKeyUsageAny {
			return true
		}
	}
	return len(crt.ExtKeyUsage) == 0
}

func (f *caseFiles) askJava(t testing.TB, java *validator) error {
	lists := "-"
	if f.revocation {
		lists = f.lists
	}
	answer, err := java.ask(strings.Join([]string{f.roots, f.chain, lists, strconv.FormatInt(f.at.Unix(), 10)}, "\t"))
	switch {
	case err != nil:
		t.Fatalf("java: %v", err) // which says nothing about the certificate
	case answer != "valid":
		return errors.New(answer)
	}
	return nil
}

func run(ctx context.Context, input, program string, args ...string) (string, error) {
	return runIn(ctx, "", nil, input, program, args...)
}

func runIn(ctx context.Context, dir string, env []string, input, program string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir, cmd.Env, cmd.Stdin = dir, append(os.Environ(), env...), strings.NewReader(input)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("%s: %w: %s", program, err, strings.TrimSpace(out.String()+errs.String()))
	}
	return out.String(), nil
}

func raw(crts ...*x509.Certificate) [][]byte {
	var all [][]byte
	for _, crt := range crts {
		all = append(all, crt.Raw)
	}
	return all
}
