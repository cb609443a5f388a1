package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cauase/pkg/client/clienttest"
	"cauase/pkg/clock"
	"cauase/pkg/testkit/pkitest"
)

// A request that was rejected is told of with the reason that was given and the code that the client has for it, as often
// as somebody looks, and is not handed in again.
func TestRejected(t *testing.T) {
	onMachine(t, "")
	dir := t.TempDir()
	d := clienttest.Start(t, clock.NewFake(time.Now()))
	d.CAS.AutoApprove = 0
	key := pkitest.Key(t)
	must(t, os.WriteFile(filepath.Join(dir, "web.key"), pkitest.KeyPEM(t, key), 0o600))
	must(t, os.WriteFile(filepath.Join(dir, "web.csr"), pkitest.NamedRequest(t, key, "web", "web.example"), 0o644))
	job := []string{"--ca-url", d.URL, "--store", dir, "--crt", dir + "/web.crt", "--key", dir + "/web.key", "--csr", dir + "/web.csr"}
	puts := func() (n int) {
		for _, seen := range d.Seen() {
			if strings.HasPrefix(seen, "PUT") {
				n++
			}
		}
		return n
	}
	if code, stdout, stderr := execute(t.Context(), append(job, "--once")...); code != 2 {
		t.Fatalf("exit code %d\n%s%s", code, stdout, stderr)
	}
	d.CAS.RejectFor(1000, "no such host")
	for range 2 {
		for _, verb := range []string{"--once", "--status"} {
			code, stdout, stderr := execute(t.Context(), append(job, verb)...)
			if all := stdout + stderr; code != 4 || strings.Count(all, "no such host") != 1 {
				t.Errorf("%s: exit code %d\n%s%s", verb, code, stdout, stderr)
			}
			code, stdout, _ = execute(t.Context(), append(job, verb, "--json")...)
			if code != 4 || !strings.Contains(stdout, `"state": "rejected"`) || !strings.Contains(stdout, "no such host") {
				t.Errorf("%s: exit code %d\n%s", verb, code, stdout)
			}
		}
	}
	if n := puts(); n != 1 {
		t.Errorf("handed in %d times", n)
	}
}

// What is not there is named, with what to do about it.
func TestMissingPlaces(t *testing.T) {
	onMachine(t, "")
	dir := t.TempDir()
	t.Chdir(dir)
	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{"--store", dir + "/a/b"}, "there is no folder " + dir + "/a, where "},
		{[]string{"--store", dir, "--crt", dir + "/a/web.crt", "--key", dir + "/web.key"}, "there is no folder " + dir + "/a, where " + dir + "/a/web.crt belongs"},
		{[]string{"--store", dir, "--state", "a/state"}, "there is no folder a, where a/state belongs"},
	} {
		for _, verb := range []string{"--once", "--refresh", "--status"} {
			code, stdout, stderr := execute(t.Context(), append(c.args, verb, "--ca-url", "http://127.0.0.1:1")...)
			if all := stdout + stderr; code != 1 || strings.Count(all, c.says) != 1 || !strings.Contains(all, "make that folder") || strings.Contains(all, "no such file") {
				t.Errorf("%s %v: exit code %d\n%s%s", verb, c.args, code, stdout, stderr)
			}
		}
	}
	d := clienttest.Start(t, clock.NewFake(time.Now()))
	code, stdout, stderr := execute(t.Context(), "--ca-url", d.URL, "--store", dir, "--once", "--on-renew", "./nohook")
	if all := stdout + stderr; code != 3 || strings.Count(all, "--on-renew: there is no ./nohook to run") != 1 || strings.Contains(all, "lstat") {
		t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
	}
}

// A certificate behind a symbolic link is there, although it is not used: nobody is told that it is missing, and no other
// one is asked for.
func TestCertificateBehindALink(t *testing.T) {
	onMachine(t, "")
	dir := t.TempDir()
	d := clienttest.Start(t, clock.NewFake(time.Now()))
	d.CAS.AutoApprove = 1
	key := pkitest.Key(t)
	must(t, os.WriteFile(filepath.Join(dir, "web.key"), pkitest.KeyPEM(t, key), 0o600))
	must(t, os.WriteFile(filepath.Join(dir, "web.csr"), pkitest.NamedRequest(t, key, "web", "web.example"), 0o644))
	job := []string{"--ca-url", d.URL, "--store", dir, "--crt", dir + "/web.crt", "--key", dir + "/web.key", "--csr", dir + "/web.csr"}
	if code, stdout, stderr := execute(t.Context(), append(job, "--once")...); code != 0 {
		t.Fatalf("exit code %d\n%s%s", code, stdout, stderr)
	}
	must(t, os.Rename(dir+"/web.crt", dir+"/real.crt"))
	if _, stdout, _ := execute(t.Context(), append(job, "--status")...); !strings.Contains(stdout, "none: the certificate is missing") {
		t.Errorf("without a certificate:\n%s", stdout)
	}
	must(t, os.Symlink("real.crt", dir+"/web.crt"))
	before := len(d.Seen())
	for _, verb := range []string{"--status", "--once"} {
		code, stdout, stderr := execute(t.Context(), append(job, verb)...)
		if all := stdout + stderr; code != 1 || strings.Contains(all, "missing") || !strings.Contains(all, "web.crt is a symbolic link") || !strings.Contains(all, "not known: the certificate cannot be used") {
			t.Errorf("%s: exit code %d\n%s%s", verb, code, stdout, stderr)
		}
	}
	for _, seen := range d.Seen()[before:] {
		if strings.HasPrefix(seen, "PUT") {
			t.Errorf("asks for a certificate: %s", seen)
		}
	}
	if code, stdout, _ := execute(t.Context(), append(job, "--status", "--follow-symlinks")...); code != 0 || !strings.Contains(stdout, "days, then the") {
		t.Errorf("links are followed: exit code %d\n%s", code, stdout)
	}
}
