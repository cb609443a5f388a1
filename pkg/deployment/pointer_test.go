package deployment

import (
	"crypto/x509"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// pointerValidator asks Java, which fetches the list itself, whether a certificate is revoked.
const pointerValidator = `
import java.io.*; import java.nio.file.*; import java.security.cert.*; import java.util.*;
public class Pointer {
	public static void main(String[] a) throws Exception {
		System.setProperty("com.sun.security.enableCRLDP", "true");
		CertificateFactory f = CertificateFactory.getInstance("X.509");
		X509Certificate ca = (X509Certificate) f.generateCertificate(Files.newInputStream(Path.of(a[0])));
		X509Certificate leaf = (X509Certificate) f.generateCertificate(Files.newInputStream(Path.of(a[1])));
		PKIXParameters p = new PKIXParameters(Set.of(new TrustAnchor(ca, null)));
		p.setRevocationEnabled(true);
		try {
			CertPathValidator.getInstance("PKIX").validate(f.generateCertPath(List.of(leaf)), p);
			System.out.println("good");
		} catch (CertPathValidatorException e) {
			System.out.println(e.getReason() == CertPathValidatorException.BasicReason.REVOKED ? "revoked" : "cannot tell: " + e);
		}
	}
}
`

// TestDistributionPoint: programs that fetch the list a certificate points to learn from it whether that is revoked.
func TestDistributionPoint(t *testing.T) {
	need(t, "openssl", "openssl")
	curl := need(t, "curl", "curl")
	crlutil, certutil := need(t, "crlutil", "libnss3-tools"), need(t, "certutil", "libnss3-tools")
	java := need(t, "java", "default-jdk-headless")
	s := newSite(t, "nginx.md", "etc/nginx/tls", "www.example.org")
	clients := filepath.Join(s.dir, "clients")
	s.client("mallory")
	// Also after a renewal.
	must(t, clients, filepath.Join(bin, "cauase"), "--ca-url", "http://"+s.ca, "crt", "renew", "--force", "alice.crt.pem", "alice.key.pem")
	s.cauase("crt", "revoke", "mallory.crt.pem", "--key", "mallory.key.pem")
	pointer := func(name string) string {
		t.Helper()
		crt, err := x509.ParseCertificate(certificate(t, filepath.Join(clients, name)))
		if err != nil || len(crt.CRLDistributionPoints) != 1 {
			t.Fatalf("%s: %v", name, err)
		}
		return crt.CRLDistributionPoints[0]
	}
	at := pointer("alice.crt.pem")
	if at != pointer("mallory.crt.pem") || !strings.HasSuffix(at, ".crl") {
		t.Errorf("the pointers are %s and %s", at, pointer("mallory.crt.pem"))
	}

	der := filepath.Join(s.dir, "list.crl")
	head := must(t, s.dir, curl, "-sS", "--fail", "-I", at)
	if !strings.Contains(head, "application/pkix-crl") || !strings.Contains(strings.ToLower(head), "etag: ") {
		t.Errorf("HEAD:\n%s", head)
	}
	must(t, s.dir, curl, "-sS", "--fail", "-o", der, at)
	content, err := os.ReadFile(der)
	if err != nil {
		t.Fatal(err)
	}
	if list, err := x509.ParseRevocationList(content); err != nil || len(list.RevokedCertificateEntries) != 1 {
		t.Errorf("what curl got is no list in DER: %v", err)
	}
	again := must(t, s.dir, curl, "-sS", "-o", filepath.Join(s.dir, "again"), "-w", "%{http_code}", "-z", der, "-H", "If-None-Match: "+tagOf(head), at)
	if again != "304" {
		t.Errorf("revalidated: %s", again)
	}

	// A root has no pointer, as nothing above it could say that it is revoked: who wants its list looked at, too, has to
	// give it to OpenSSL.
	must(t, clients, "openssl", "crl", "-inform", "DER", "-in", der, "-out", "list.pem")
	for _, how := range [][]string{{"-crl_check"}, {"-crl_check", "-crl_check_all", "-CRLfile", "list.pem"}} {
		verify := func(name string) error {
			command := append([]string{"openssl", "verify", "-x509_strict", "-crl_download", "-CAfile", "ca.pem"}, how...)
			_, err := try(clients, append(command, name)...)
			return err
		}
		if err := verify("alice.crt.pem"); err != nil {
			t.Errorf("OpenSSL: %v", err)
		}
		if err := verify("mallory.crt.pem"); err == nil || !strings.Contains(err.Error(), "revoked") {
			t.Errorf("OpenSSL, of one that is revoked: %v", err)
		}
	}

	write(t, filepath.Join(s.dir, "Pointer.java"), pointerValidator, 0o644)
	for name, want := range map[string]string{"alice.crt.pem": "good", "mallory.crt.pem": "revoked"} {
		got := must(t, clients, java, filepath.Join(s.dir, "Pointer.java"), "ca.pem", name)
		if strings.TrimSpace(got) != want {
			t.Errorf("Java, of %s: %s", name, got)
		}
	}

	// NSS does not fetch lists by itself; what is fetched from there it takes as it is.
	db := "sql:" + filepath.Join(s.dir, "nss")
	if err := os.Mkdir(filepath.Join(s.dir, "nss"), 0o700); err != nil {
		t.Fatal(err)
	}
	must(t, clients, certutil, "-N", "-d", db, "--empty-password")
	must(t, clients, certutil, "-A", "-d", db, "-n", "ca", "-t", "CT,,", "-i", "ca.pem")
	must(t, clients, crlutil, "-I", "-d", db, "-i", der)
	for name, good := range map[string]bool{"alice": true, "mallory": false} {
		must(t, clients, certutil, "-A", "-d", db, "-n", name, "-t", ",,", "-i", name+".crt.pem")
		_, err := try(clients, certutil, "-V", "-d", db, "-n", name, "-u", "C", "-e")
		if good != (err == nil) || !good && !strings.Contains(strings.ToLower(err.Error()), "revoked") {
			t.Errorf("NSS, of %s: %v", name, err)
		}
	}
}

// certificate returns the DER of a certificate in PEM.
func certificate(t *testing.T, path string) []byte {
	t.Helper()
	out := must(t, filepath.Dir(path), "openssl", "x509", "-in", path, "-outform", "der")
	return []byte(out)
}

func tagOf(head string) string {
	for line := range strings.Lines(head) {
		if name, value, _ := strings.Cut(line, ":"); strings.EqualFold(name, "ETag") {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
