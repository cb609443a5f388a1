package adversaries

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"time"

	"cauase/pkg/pki"
	"cauase/pkg/testkit/pkitest"
)

// A folder is that of a host: its key and certificate, the CA certificates that it trusts, and lists.
type folder struct {
	*world
	dir string
	h   holding
}

// placed makes a host's folder, and has the client fill it.
func (w *world) placed(validity string) folder {
	w.Helper()
	f := folder{w, w.TempDir(), w.issue("cas", "placed", validity)}
	write(w, filepath.Join(f.dir, "host.key"), pkitest.KeyPEM(w, f.h.key))
	write(w, filepath.Join(f.dir, "host.crt"), pkitest.PEM(f.h.crt))
	w.expect("exit 0", f.run(w.daemon.url(), "cauase", "crl", "update"))
	return f
}

// run runs a tool in the folder, with a daemon.
func (f folder) run(url, name string, args ...string) answer {
	f.Helper()
	code, text := runWith(f, f.dir, []string{"CAUASE_CA_URL=" + url, "CAUASE_STORE=."}, filepath.Join(plain, name), args...)
	return answer{fmt.Sprint("exit ", code), text}
}

// contents are the files of the folder that are not for tools alone.
func (f folder) contents() map[string]string {
	files := map[string]string{}
	for _, name := range []string{"host.key", "host.crt", "cas.crt.pem", "cas.crl.pem"} {
		data, err := os.ReadFile(filepath.Join(f.dir, name))
		if err != nil {
			data = []byte(err.Error())
		}
		files[name] = string(data)
	}
	return files
}

// unharmed has a tool do something, which may fail, and must not touch what is there.
func (f folder) unharmed(do func() answer) answer {
	before := f.contents()
	a := do()
	if after := f.contents(); !maps.Equal(before, after) {
		for name := range before {
			if before[name] != after[name] {
				return answer{a.got + ", and has changed " + name, a.text}
			}
		}
	}
	return a
}

// between is a daemon that passes everything on to the real one, but for what answers says itself.
func (w *world) between(answers func(r *http.Request, body []byte) (status int, contentType string, text []byte)) string {
	s := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if status, contentType, text := answers(r, body); status != 0 {
			rw.Header().Set("Content-Type", contentType)
			rw.WriteHeader(status)
			_, _ = rw.Write(text)
			return
		}
		req := must(http.NewRequest(r.Method, w.daemon.url()+r.URL.RequestURI(), bytes.NewReader(body)))
		req.Header = r.Header
		resp, err := w.plain.Do(req)
		if err != nil {
			rw.WriteHeader(http.StatusBadGateway)
			return
		}
		defer resp.Body.Close()
		maps.Copy(rw.Header(), resp.Header)
		rw.WriteHeader(resp.StatusCode)
		_, _ = io.Copy(rw, resp.Body)
	}))
	w.Cleanup(s.Close)
	return s.URL
}

// everywhere is a server that says the same to everything.
func everywhere(handler http.HandlerFunc, command ...string) func(*world) answer {
	return func(w *world) answer {
		f := w.placed("")
		s := httptest.NewServer(handler)
		defer s.Close()
		return f.unharmed(func() answer { return f.run(s.URL, "cauase", command...) })
	}
}

var renewing = []string{"crt", "renew", "--force", "host.crt", "host.key"}

func answerRows() []row {
	say := func(status int, contentType, text string) http.HandlerFunc {
		return func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Content-Type", contentType)
			rw.WriteHeader(status)
			_, _ = io.WriteString(rw, text)
		}
	}
	endless := func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Type", "application/pkix-crl")
		for range 256 {
			if _, err := rw.Write(bytes.Repeat([]byte("-----BEGIN X509 CRL-----\n"), 40_000)); err != nil {
				return
			}
		}
	}
	return []row{
		{class: 30, name: "nobody listens", try: func(w *world) answer {
			f := w.placed("")
			s := httptest.NewServer(nil)
			s.Close()
			return f.unharmed(func() answer { return f.run(s.URL, "cauase", renewing...) })
		}, want: "exit 1", says: "refused", signed: 1},
		{class: 30, name: "HTML with status 200", try: everywhere(say(200, "text/html", "<!DOCTYPE html><title>Log in</title>"), renewing...), want: "exit 1", says: "error", signed: 1},
		{class: 30, name: "HTML with status 200, for lists", try: everywhere(say(200, "text/html", "<!DOCTYPE html><title>Log in</title>"), "crl", "update"), want: "exit 1", says: "error", signed: 1},
		{class: 30, name: "redirects in a circle", try: everywhere(func(rw http.ResponseWriter, r *http.Request) { http.Redirect(rw, r, r.URL.Path+"x", http.StatusFound) }, renewing...),
			want: "exit 1", says: "error", signed: 1},
		{class: 30, name: "a redirect to a file", try: everywhere(func(rw http.ResponseWriter, r *http.Request) {
			rw.Header().Set("Location", "file:///etc/passwd")
			rw.WriteHeader(http.StatusFound)
		}, "ca", "update"), want: "exit 1", says: "error", signed: 1},
		{class: 30, name: "control sequences of terminals in an error", try: everywhere(say(403, "text/plain", "go \x1b[31maway\x1b[0m"), renewing...), want: "exit 1", says: "error", signed: 1},
		{class: 30, name: "256 MB of a list", try: everywhere(endless, "crl", "update"), want: "exit 1", says: "error", signed: 1},
		{class: 30, name: "connections that are cut within an answer", try: everywhere(func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Content-Length", "1000")
			_, _ = io.WriteString(rw, "-----BEGIN")
			panic(http.ErrAbortHandler)
		}, renewing...), want: "exit 1", says: "error", signed: 1},
		{class: 30, name: "JSON 100,000 levels deep for the chain", try: everywhere(say(200, "application/json", strings.Repeat("[", 100_000)), "ca", "update"), want: "exit 1", says: "error", signed: 1},
		{class: 30, name: "the agent, a server that answers 500", try: func(w *world) answer {
			f := w.placed("?validity=864000")
			s := httptest.NewServer(say(500, "text/plain", "oops"))
			defer s.Close()
			return f.unharmed(func() answer { return f.agent(s.URL) })
		}, want: "exit 1", says: "500", signed: 1},
	}
}

// agent has the agent do what is due.
func (f folder) agent(url string, more ...string) answer {
	f.Helper()
	return f.run(url, "cauase-updater", append([]string{"--once", "--ca-url", url, "--store", ".", "--key", "host.key", "--crt", "host.crt"}, more...)...)
}

// swapped renews, and the daemon answers with a certificate of somebody's choice.
func swapped(answers func(f folder) []byte) func(*world) answer {
	return func(w *world) answer {
		f := w.placed("")
		text := answers(f)
		url := w.between(func(r *http.Request, _ []byte) (int, string, []byte) {
			if r.URL.Path == "/cas/crt/renew" {
				return 200, "application/pkix-cert", text
			}
			return 0, "", nil
		})
		return f.unharmed(func() answer { return f.run(url, "cauase", renewing...) })
	}
}

// forgedAs makes a CA of the name and key identifier of the world's.
func (w *world) forgedAs(change ...func(*x509.Certificate)) pkitest.CA {
	change = append([]func(*x509.Certificate){func(c *x509.Certificate) {
		c.Subject = w.cas[0].Subject
		c.SubjectKeyId, c.AuthorityKeyId = w.cas[0].SubjectKeyId, w.cas[0].AuthorityKeyId
	}}, change...)
	return pkitest.NewCA(w, "", now().Add(-day), now().Add(300*day), change...)
}

func swappedRows() []row {
	told := func(path string, command []string, text func(w *world) (string, []byte)) func(*world) answer {
		return func(w *world) answer {
			f := w.placed("")
			contentType, body := text(w)
			url := w.between(func(r *http.Request, _ []byte) (int, string, []byte) {
				if r.URL.Path == path {
					return 200, contentType, body
				}
				return 0, "", nil
			})
			return f.unharmed(func() answer { return f.run(url, "cauase", command...) })
		}
	}
	crl, cas := []string{"crl", "update"}, []string{"ca", "update"}
	list := func(make func(w *world) []byte) func(w *world) (string, []byte) {
		return func(w *world) (string, []byte) { return "application/pkix-crl", make(w) }
	}
	chain := func(make func(w *world) []byte) func(w *world) (string, []byte) {
		return func(w *world) (string, []byte) { return "application/json", make(w) }
	}
	return []row{
		{class: 31, name: "a certificate for another key", try: swapped(func(f folder) []byte { return pkitest.PEM(f.host.crt) }), want: "exit 1", says: "key", signed: 1},
		{class: 31, name: "the old certificate", try: swapped(func(f folder) []byte { return pkitest.PEM(f.h.crt) }), want: "exit 1", says: "key", signed: 1},
		{class: 31, name: "a certificate from another CA of the same name", try: swapped(func(f folder) []byte {
			return pkitest.PEM(f.forgedAs().Issue(f, "placed", f.h.key.Public()))
		}), want: "exit 1", says: "error", signed: 1},
		{class: 31, name: "a certificate that has expired", try: swapped(func(f folder) []byte {
			return pkitest.PEM(f.forgedAs().Issue(f, "placed", f.h.key.Public(), func(c *x509.Certificate) { c.NotAfter = now().Add(-time.Hour) }))
		}), want: "exit 1", says: "error", signed: 1},
		{class: 31, name: "a certificate with other names, for the right key", try: func(w *world) answer {
			f := w.placed("")
			url := w.between(func(r *http.Request, body []byte) (int, string, []byte) {
				if r.URL.Path != "/cas/crt/renew" {
					return 0, "", nil
				}
				return 200, "application/pkix-cert", pkitest.PEM(w.certifiedFor(body, "someone-else"))
			})
			return f.unharmed(func() answer { return f.run(url, "cauase", renewing...) })
		}, want: "exit 1", says: "error", signed: 2, wild: true},
		{class: 31, name: "a certificate that is due as soon as it is there: the agent renews once", try: func(w *world) answer {
			f := w.placed("?validity=864000")
			write(w, filepath.Join(f.dir, "host.crt"), pkitest.PEM(w.dueFor("placed", f.h.key.Public())))
			renewals := 0
			url := w.between(func(r *http.Request, body []byte) (int, string, []byte) {
				if r.URL.Path != "/cas/crt/renew" {
					return 0, "", nil
				}
				renewals++
				return 200, "application/pkix-cert", pkitest.PEM(w.dueFor("placed", w.keyIn(body)))
			})
			a := f.agent(url)
			return answer{fmt.Sprintf("%s, %d renewed", a.got, renewals), a.text}
		}, want: "exit 0, 1 renewed", signed: 1},
		{class: 31, name: "two certificates", try: swapped(func(f folder) []byte { return pkitest.PEM(f.h.crt, f.host.crt) }), want: "exit 1", says: "error", signed: 1},
		{class: 31, name: "another CA", try: told("/cas/crt/ca.crt.pem", cas, func(w *world) (string, []byte) {
			return "application/x-x509-ca-cert", pkitest.PEM(w.forgedAs().Crt)
		}), want: "exit 1", says: "error", signed: 1},
		{class: 31, name: "a chain to another CA that nobody vouches for", try: told("/cas/crt/ca.crt.json", cas, chain(func(w *world) []byte {
			evil := w.forgedAs(func(c *x509.Certificate) { c.SubjectKeyId = []byte{1}; c.AuthorityKeyId = []byte{1} })
			return fmt.Appendf(nil, "[%s]", linkBy(w, evil, w.cas[0], evil.Crt))
		})), want: "exit 1", says: "error", signed: 1},
		{class: 31, name: "a chain of 1,001 links", try: told("/cas/crt/ca.crt.json", cas, chain(func(w *world) []byte {
			link := linkBy(w, w.forgedAs(), w.cas[0], w.cas[0])
			return []byte("[" + strings.Repeat(string(link)+",", 1000) + string(link) + "]")
		})), want: "exit 1", says: "error", signed: 1},
		{class: 31, name: "an empty list", try: told("/cas/crl", crl, list(func(*world) []byte { return nil })), want: "exit 1", says: "error", signed: 1},
		{class: 31, name: "a list by another CA of the same name", try: told("/cas/crl", crl, list(func(w *world) []byte {
			return pki.EncodeCRLPEM(w.forgedAs().CRL(w, 1<<40).Raw)
		})), want: "exit 1", says: "error", signed: 1},
		{class: 31, name: "an older list than the one that is there", try: func(w *world) answer {
			_, old := w.get("/cas/crl")
			victim := w.issue("cas", "victim", "")
			w.expect("204", w.revoke(map[string]any{"revoke_crt_pem": pemOf(victim.crt)}))
			f := w.placed("")
			url := w.between(func(r *http.Request, _ []byte) (int, string, []byte) {
				if r.URL.Path == "/cas/crl" {
					return 200, "application/pkix-crl", []byte(old)
				}
				return 0, "", nil
			})
			return f.unharmed(func() answer { return f.run(url, "cauase", crl...) })
		}, want: "exit 1", says: "number", signed: 2, revoked: 1},
	}
}
