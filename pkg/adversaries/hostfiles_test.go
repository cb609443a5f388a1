package adversaries

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"cauase/pkg/envelope"
	"cauase/pkg/pki"
	"cauase/pkg/testkit/envelopetest"
	"cauase/pkg/testkit/pkitest"
)

// linkBy is the statement that a CA succeeds another, signed by somebody.
func linkBy(w *world, by pkitest.CA, old, successor *x509.Certificate) []byte {
	return envelopetest.Link(w, by.Key, pkitest.PEM(old), pkitest.PEM(successor))
}

// certifiedFor has the daemon certify the key of a renewal that a host has sent, under another name.
func (w *world) certifiedFor(renewal []byte, name string) *x509.Certificate {
	var e envelopeText
	if err := json.Unmarshal(renewal, &e); err != nil {
		w.Fatal(err)
	}
	r := must(envelope.DecodeRenewal([]byte(e.Payload)))
	old := must(pki.ParseCertificatePEM([]byte(r.CertificatePEM)))
	block, _ := pem.Decode([]byte(r.RequestPEM))
	request := must(x509.ParseCertificateRequest(block.Bytes))
	ca := pkitest.CA{Crt: w.cas[0], Key: w.caKey("cas")}
	return ca.Issue(w, name, request.PublicKey, func(c *x509.Certificate) { c.NotBefore, c.NotAfter = old.NotBefore, old.NotAfter })
}

type envelopeText struct{ Payload string }

// replaced puts something else where the certificate is, and has the agent renew.
func replaced(name string, by func(f folder, path string), more ...string) func(*world) answer {
	return func(w *world) answer {
		f := w.placed("?validity=50")
		by(f, filepath.Join(f.dir, name))
		return f.agent(w.daemon.url(), more...)
	}
}

func fileRows() []row {
	ok := func(err error) {
		if err != nil {
			panic(err)
		}
	}
	link := func(f folder, path string) {
		ok(os.Rename(path, path+".real"))
		ok(os.Symlink(path+".real", path))
	}
	return []row{
		{class: 32, name: "a certificate that is a symbolic link", try: replaced("host.crt", link), want: "exit 1", says: "symbolic link", signed: 1},
		{class: 32, name: "a key that is a symbolic link", try: replaced("host.key", link), want: "exit 1", says: "symbolic link", signed: 1},
		{class: 32, name: "the same, with `--follow-symlinks`: what it points to is replaced", try: replaced("host.crt", link, "--follow-symlinks"), want: "exit 0", signed: 2},
		{class: 32, name: "a folder by way of `..data`, as Kubernetes has it, with `--follow-symlinks`", try: func(w *world) answer {
			f := w.placed("?validity=50")
			data := filepath.Join(f.dir, "..2026_11_28")
			ok(os.Mkdir(data, 0o700))
			ok(os.Symlink("..2026_11_28", filepath.Join(f.dir, "..data")))
			for _, name := range []string{"host.crt", "host.key"} {
				ok(os.Rename(filepath.Join(f.dir, name), filepath.Join(data, name)))
				ok(os.Symlink(filepath.Join("..data", name), filepath.Join(f.dir, name)))
			}
			return f.agent(w.daemon.url(), "--follow-symlinks")
		}, want: "exit 0", signed: 2},
		{class: 32, name: "a certificate that is a FIFO", try: replaced("host.crt", func(_ folder, path string) { ok(os.Remove(path)); ok(syscall.Mkfifo(path, 0o600)) }), want: "exit 1", says: "host.crt", signed: 1},
		{class: 32, name: "a certificate that is a folder", try: replaced("host.crt", func(_ folder, path string) { ok(os.Remove(path)); ok(os.Mkdir(path, 0o700)) }), want: "exit 1", says: "host.crt", signed: 1},
		{class: 32, name: "a certificate that is `/dev/zero`", try: replaced("host.crt", func(_ folder, path string) { ok(os.Remove(path)); ok(os.Symlink("/dev/zero", path)) }, "--follow-symlinks"), want: "exit 1", says: "host.crt", signed: 1},
		{class: 32, name: "a certificate with a hard link elsewhere, which stays as it is", try: func(w *world) answer {
			f := w.placed("?validity=50")
			ok(os.Link(filepath.Join(f.dir, "host.crt"), filepath.Join(f.dir, "elsewhere")))
			before := string(must(os.ReadFile(filepath.Join(f.dir, "elsewhere"))))
			a := f.agent(w.daemon.url())
			if string(must(os.ReadFile(filepath.Join(f.dir, "elsewhere")))) != before {
				return answer{"rewritten", a.text}
			}
			return a
		}, want: "exit 0", signed: 2},
		{class: 32, name: "files that may not grow: key and certificate stay a pair", try: func(w *world) answer {
			f := w.placed("?validity=50")
			before := f.contents()
			code, text := runWith(f, f.dir, nil, "/bin/sh", "-c", fmt.Sprintf("ulimit -f 0; exec %s/cauase-updater --once --ca-url %s --store . --key host.key --crt host.crt", plain, w.daemon.url()))
			after := f.contents()
			if before["host.key"] != after["host.key"] || before["host.crt"] != after["host.crt"] {
				return answer{"half of it is new", text}
			}
			return answer{fmt.Sprint("exit ", code), text}
		}, want: "exit 1", says: "file", signed: 1},
		{class: 32, name: "a key that does not belong to the certificate", try: replaced("host.key", func(f folder, path string) { write(f, path, pkitest.KeyPEM(f, f.host.key)) }), want: "exit 1", says: "key", signed: 1},
		{class: 32, name: "CA certificates of 64 MiB", try: replaced("cas.crt.pem", func(f folder, path string) { write(f, path, make([]byte, 64<<20)) }), want: "exit 1", says: "cas.crt.pem", signed: 1},
	}
}

// hooked renews with a program to be run afterwards.
func hooked(script string, more ...string) func(*world) answer {
	return func(w *world) answer {
		f := w.placed("?validity=50")
		return f.agent(w.daemon.url(), append([]string{"--on-renew", f.script(script)}, more...)...)
	}
}

func (f folder) script(text string) string {
	path := filepath.Join(f.dir, "hook")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text+"\n"), 0o700); err != nil {
		f.Fatal(err)
	}
	return path
}

func hookRows() []row {
	return []row{
		{class: 33, name: "a hook that fails", try: hooked("exit 7"), want: "exit 3", says: "7", signed: 2},
		{class: 33, name: "a hook that is not there", try: func(w *world) answer {
			f := w.placed("?validity=50")
			return f.agent(w.daemon.url(), "--on-renew", filepath.Join(f.dir, "nothing"))
		}, want: "exit 3", says: "nothing", signed: 2},
		{class: 33, name: "a hook that hangs", try: hooked("sleep 1000", "--hook-timeout", "0.3"), want: "exit 3", says: "hook", signed: 2},
		{class: 33, name: "a hook that hangs, with children that do not listen", try: hooked("trap '' TERM INT; (trap '' TERM; sleep 1000) & sleep 1000", "--hook-timeout", "0.3"), want: "exit 3", says: "hook", signed: 2},
		{class: 33, name: "a hook that prints 100 MB", try: hooked("head -c 100000000 /dev/zero; exit 1"), want: "exit 3", says: "", signed: 2},
		{class: 33, name: "a hook that kills the agent: it is run again by the next", try: func(w *world) answer {
			f := w.placed("?validity=50")
			f.agent(w.daemon.url(), "--on-renew", f.script("kill -9 $PPID"))
			return f.agent(w.daemon.url(), "--on-renew", f.script("echo done >done"))
		}, want: "exit 0", signed: 2},
		{class: 33, name: "four agents at once on the same files", try: func(w *world) answer {
			f := w.placed("?validity=50")
			answers := make([]answer, 4)
			each(len(answers), func(i int) { answers[i] = f.agent(w.daemon.url()) })
			pair := must(pki.ParseCertificatePEM(must(os.ReadFile(filepath.Join(f.dir, "host.crt")))))
			key := must(pki.ParsePrivateKeyPEM(must(os.ReadFile(filepath.Join(f.dir, "host.key")))))
			if !pki.SameKey(pair.PublicKey, key.Public()) {
				return answer{"no pair", tally(answers).text}
			}
			return onlyThese(answers, "exit 0", "exit 1")
		}, want: "exit 0 or exit 1", wild: true},
		{class: 33, name: "a host that was away past the end of its certificate", try: func(w *world) answer {
			f := w.placed("?validity=1")
			w.until(f.h.crt.NotAfter)
			return f.agent(w.daemon.url())
		}, want: "exit 1", says: "expired", signed: 1},
		{class: 33, name: "a host that was away past the end of its CA", try: func(w *world) answer {
			f := w.placed("?validity=50")
			old := pkitest.NewCA(w, w.cas[0].Subject.CommonName, now().Add(-400*day), now().Add(-day))
			write(w, filepath.Join(f.dir, "cas.crt.pem"), pkitest.PEM(old.Crt))
			return f.agent(w.daemon.url())
		}, want: "exit 1", says: strings.ToLower("expired"), signed: 1},
	}
}
