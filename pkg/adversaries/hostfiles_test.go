package adversaries

import (
	"crypto"
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
	ca := pkitest.CA{Crt: w.cas[0], Key: w.caKey("cas")}
	return ca.Issue(w, name, w.keyIn(renewal), func(c *x509.Certificate) { c.NotBefore, c.NotAfter = old.NotBefore, old.NotAfter })
}

// keyIn is the key that a renewal asks a certificate for.
func (w *world) keyIn(renewal []byte) crypto.PublicKey {
	var e envelopeText
	if err := json.Unmarshal(renewal, &e); err != nil {
		w.Fatal(err)
	}
	block, _ := pem.Decode([]byte(must(envelope.DecodeRenewal([]byte(e.Payload))).RequestPEM))
	return must(x509.ParseCertificateRequest(block.Bytes)).PublicKey
}

// dueFor is a certificate by the daemon's CA that has most of its life behind it.
func (w *world) dueFor(name string, pub crypto.PublicKey) *x509.Certificate {
	ca := pkitest.CA{Crt: w.cas[0], Key: w.caKey("cas")}
	return ca.Issue(w, name, pub, func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter, c.DNSNames = now().Add(-80*day), now().Add(10*day), []string{name + ".example"}
		c.AuthorityKeyId = w.cas[0].SubjectKeyId
	})
}

type envelopeText struct{ Payload string }

// outdated has a newer list made than the one in the folder, so that the agent has something to write.
func (f folder) outdated() {
	f.Helper()
	f.expect("204", f.revoke(map[string]any{"revoke_serial": must(pki.NewSerial())}))
}

// replaced puts something else where the certificate is, and has the agent renew.
func replaced(name string, by func(f folder, path string), more ...string) func(*world) answer {
	return func(w *world) answer {
		f := w.placed("?validity=864000")
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
		{class: 32, name: "a list that is a symbolic link, with `--follow-symlinks`: what it points to is replaced", try: func(w *world) answer {
			f := w.placed("?validity=864000")
			path := filepath.Join(f.dir, "cas.crl.pem")
			link(f, path)
			f.outdated()
			before := string(must(os.ReadFile(path + ".real")))
			a := f.agent(w.daemon.url(), "--follow-symlinks")
			if info := must(os.Lstat(path)); info.Mode()&os.ModeSymlink == 0 || string(must(os.ReadFile(path+".real"))) == before {
				return answer{"the link was replaced", a.text}
			}
			return a
		}, want: "exit 0", signed: 1, revoked: 1},
		{class: 32, name: "a list by way of `..data`, as Kubernetes has it, with `--follow-symlinks`", try: func(w *world) answer {
			f := w.placed("?validity=864000")
			data := filepath.Join(f.dir, "..2026_11_28")
			ok(os.Mkdir(data, 0o700))
			ok(os.Symlink("..2026_11_28", filepath.Join(f.dir, "..data")))
			for _, name := range []string{"cas.crl.pem"} {
				ok(os.Rename(filepath.Join(f.dir, name), filepath.Join(data, name)))
				ok(os.Symlink(filepath.Join("..data", name), filepath.Join(f.dir, name)))
			}
			f.outdated()
			return f.agent(w.daemon.url(), "--follow-symlinks")
		}, want: "exit 0", signed: 1, revoked: 1},
		{class: 32, name: "a certificate that is a FIFO", try: replaced("host.crt", func(_ folder, path string) { ok(os.Remove(path)); ok(syscall.Mkfifo(path, 0o600)) }), want: "exit 1", says: "host.crt", signed: 1},
		{class: 32, name: "a certificate that is a folder", try: replaced("host.crt", func(_ folder, path string) { ok(os.Remove(path)); ok(os.Mkdir(path, 0o700)) }), want: "exit 1", says: "host.crt", signed: 1},
		{class: 32, name: "a certificate that is `/dev/zero`", try: replaced("host.crt", func(_ folder, path string) { ok(os.Remove(path)); ok(os.Symlink("/dev/zero", path)) }, "--follow-symlinks"), want: "exit 1", says: "blocked", signed: 1},
		{class: 32, name: "a list with a hard link elsewhere, which stays as it is", try: func(w *world) answer {
			f := w.placed("?validity=864000")
			ok(os.Link(filepath.Join(f.dir, "cas.crl.pem"), filepath.Join(f.dir, "elsewhere")))
			f.outdated()
			before := string(must(os.ReadFile(filepath.Join(f.dir, "elsewhere"))))
			a := f.agent(w.daemon.url())
			if string(must(os.ReadFile(filepath.Join(f.dir, "elsewhere")))) != before {
				return answer{"rewritten", a.text}
			}
			return a
		}, want: "exit 0", signed: 1, revoked: 1},
		{class: 32, name: "files that may not grow: key and certificate stay a pair", try: func(w *world) answer {
			f := w.placed("?validity=864000")
			before := f.contents()
			code, text := runWith(f, f.dir, nil, "/bin/sh", "-c", fmt.Sprintf("ulimit -f 0; exec %s/cauase --ca-url %s --store . crt renew --force host.crt host.key", plain, w.daemon.url()))
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
		f := w.placed("?validity=864000")
		f.outdated()
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
		{class: 33, name: "a hook that fails", try: hooked("exit 7"), want: "exit 3", says: "7", signed: 1, revoked: 1},
		{class: 33, name: "a hook that is not there", try: func(w *world) answer {
			f := w.placed("?validity=864000")
			f.outdated()
			return f.agent(w.daemon.url(), "--on-renew", filepath.Join(f.dir, "nothing"))
		}, want: "exit 3", says: "nothing", signed: 1, revoked: 1},
		{class: 33, name: "a hook that hangs", try: hooked("sleep 1000", "--hook-timeout", "0.3"), want: "exit 3", says: "hook", signed: 1, revoked: 1},
		{class: 33, name: "a hook that hangs, with children that do not listen", try: hooked("trap '' TERM INT; (trap '' TERM; sleep 1000) & sleep 1000", "--hook-timeout", "0.3"), want: "exit 3", says: "hook", signed: 1, revoked: 1},
		{class: 33, name: "a hook that prints 100 MB", try: hooked("head -c 100000000 /dev/zero; exit 1"), want: "exit 3", says: "", signed: 1, revoked: 1},
		{class: 33, name: "a hook that kills the agent: it is run again by the next", try: func(w *world) answer {
			f := w.placed("?validity=864000")
			f.outdated()
			f.agent(w.daemon.url(), "--on-renew", f.script("kill -9 $PPID"))
			return f.agent(w.daemon.url(), "--on-renew", f.script("echo done >done"))
		}, want: "exit 0", signed: 1, revoked: 1},
		{class: 33, name: "four agents at once on the same files", try: func(w *world) answer {
			f := w.placed("?validity=864000")
			f.outdated()
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
			f := w.placed("?validity=864000")
			old := pkitest.NewCA(w, w.cas[0].Subject.CommonName, now().Add(-400*day), now().Add(-day))
			write(w, filepath.Join(f.dir, "cas.crt.pem"), pkitest.PEM(old.Crt))
			return f.agent(w.daemon.url())
		}, want: "exit 1", says: strings.ToLower("expired"), signed: 1},
	}
}
