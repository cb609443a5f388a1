package adversaries

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"strings"

	"cauase/pkg/testkit/envelopetest"
	"cauase/pkg/testkit/pkitest"
)

// forUsers are the routes that only users may call.
var forUsers = []struct{ method, path string }{
	{"GET", "/cas/csr"}, {"GET", "/cau/csr"}, {"DELETE", "/cas/csr/1"}, {"DELETE", "/cau/csr/1"}, {"PUT", "/cas/crt/1"}, {"PUT", "/cau/crt/1"},
	{"GET", "/cas/invite"}, {"DELETE", "/cas/invite/00112233445566778899aabbccddeeff"}, {"GET", "/cas/lineage"}, {"GET", "/cau/lineage"},
	{"GET", "/cas/lineage/1"}, {"DELETE", "/cas/lineage/1"}, {"GET", "/cau/cors"},
}

// stranger calls every route of users.
func stranger(who func(w *world) *tls.Certificate, header ...string) func(*world) answer {
	return func(w *world) answer {
		c := w.browser(who(w))
		defer c.CloseIdleConnections()
		var answers []answer
		for _, route := range forUsers {
			answers = append(answers, w.ask(c, route.method, route.path, nil, "", header...))
		}
		answers = append(answers, w.ask(c, "PUT", "/cas/crt/revoke",
			envelopetest.Unsigned(w, mustJSON(map[string]any{"revoke_crt_pem": pemOf(w.host.crt)})), "application/json", header...))
		if a := w.ask(c, "GET", "/cas/crl", nil, "", header...); a.got != "200" {
			return answer{"no list", a.text} // that is for everybody
		}
		return tally(answers)
	}
}

func nobody(*world) *tls.Certificate { return nil }

// like makes a certificate by somebody else, with what a user has in its own.
func like(change func(c *x509.Certificate)) func(*world) *tls.Certificate {
	return func(w *world) *tls.Certificate {
		ca := pkitest.NewCA(w, w.cau[0].Subject.CommonName, now().Add(-day), now().Add(day), func(c *x509.Certificate) {
			c.SubjectKeyId, c.AuthorityKeyId = w.cau[0].SubjectKeyId, w.cau[0].AuthorityKeyId
		})
		key := pkitest.Key(w)
		crt := ca.Issue(w, w.user.crt.Subject.CommonName, key.Public(), func(c *x509.Certificate) {
			c.SerialNumber, c.SubjectKeyId = w.user.crt.SerialNumber, w.user.crt.SubjectKeyId
			change(c)
		})
		return holding{"", crt, key}.tls()
	}
}

func callerRows() []row {
	return []row{
		{class: 17, name: "no certificate, all routes of users", try: stranger(nobody), want: "14×401"},
		{class: 17, name: "the certificate of a service", try: stranger(func(w *world) *tls.Certificate { return w.host.tls() }), want: "14×401"},
		{class: 17, name: "an expired user", try: stranger(func(w *world) *tls.Certificate { w.until(w.expiredUser.crt.NotAfter); return w.expiredUser.tls() }), want: "14×401"},
		{class: 17, name: "a revoked user", try: stranger(func(w *world) *tls.Certificate { return w.revokedUser.tls() }), want: "14×401"},
		{class: 17, name: "a user's name, number and key identifier, signed by a CA of the same name", try: stranger(like(func(*x509.Certificate) {})), want: "14×401"},
		{class: 17, name: "the same, a CA itself", try: stranger(like(func(c *x509.Certificate) { c.IsCA, c.BasicConstraintsValid = true, true })), want: "14×401"},
		{class: 17, name: "a certificate signed by a user's key", try: stranger(func(w *world) *tls.Certificate {
			key := pkitest.Key(w)
			return holding{"", pkitest.CA{Crt: w.user.crt, Key: w.user.key}.Issue(w, "heir", key.Public()), key}.tls()
		}), want: "14×401"},
		{class: 17, name: "a user's certificate without its key", try: func(w *world) answer {
			return w.do(holding{"", w.user.crt, pkitest.Key(w)}.tls(), "GET", "/cau/csr", nil, "")
		}, want: "closed", says: ""},
		{class: 17, name: "a user's certificate behind a stranger's", try: stranger(func(w *world) *tls.Certificate {
			mine := like(func(*x509.Certificate) {})(w)
			mine.Certificate = append(mine.Certificate, w.user.crt.Raw)
			return mine
		}), want: "14×401"},

		{class: 18, name: "a user that is revoked between two requests on one connection, HTTP/2", try: midway(true), want: "200, then 401", says: "revoked", signed: 1, revoked: 1},
		{class: 18, name: "a user that is revoked between two requests on one connection, HTTP/1.1", try: midway(false), want: "200, then 401", says: "revoked", signed: 1, revoked: 1},
		{class: 18, name: "a session of TLS 1.3 to be resumed", try: resumed(tls.VersionTLS13), want: "resumed false"},
		{class: 18, name: "a session of TLS 1.2 to be resumed (CVE-2025-23419)", try: resumed(tls.VersionTLS12), want: "resumed false"},
		{class: 18, name: "a host revoked between its request and its renewal", try: func(w *world) answer {
			h := w.issue("cas", "late", "")
			message := envelopetest.Renewal(w, h.crt, h.key, pkitest.NamedRequest(w, pkitest.Key(w), "late"))
			w.expect("204", w.revoke(map[string]any{"revoke_crt_pem": pemOf(h.crt)}))
			return w.envelope("/cas/crt/renew", message)
		}, want: "400", says: "revoked", signed: 1, revoked: 1},
	}
}

// midway revokes a user whose connection goes on.
func midway(http2 bool) func(*world) answer {
	return func(w *world) answer {
		h := w.issue("cau", fmt.Sprint("fired ", http2), "")
		c := w.browser(h.tls())
		defer c.CloseIdleConnections()
		c.Transport.(*http.Transport).ForceAttemptHTTP2 = http2
		before := w.ask(c, "GET", "/cas/csr", nil, "")
		w.expect("204", w.revokeRaw("/cau/crt/revoke", string(mustJSON(map[string]any{"revoke_crt_pem": pemOf(h.crt)}))))
		after := w.ask(c, "GET", "/cas/csr", nil, "")
		return answer{before.got + ", then " + after.got, after.text}
	}
}

func resumed(version uint16) func(*world) answer {
	return func(w *world) answer {
		config := &tls.Config{InsecureSkipVerify: true, MinVersion: version, MaxVersion: version, //nolint:gosec // by its port
			Certificates: []tls.Certificate{*w.user.tls()}, ClientSessionCache: tls.NewLRUClientSessionCache(10)}
		var again bool
		for range 3 {
			c := must(tls.Dial("tcp", strings.TrimPrefix(w.daemon.secure(), "https://"), config))
			must(fmt.Fprintf(c, "GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"))
			must(c.Read(make([]byte, 100)))
			again = again || c.ConnectionState().DidResume
			_ = c.Close()
		}
		return answer{fmt.Sprint("resumed ", again), ""}
	}
}

// headerRows: what proxies say of those behind them means nothing here.
func headerRows() []row {
	said := func(header ...string) func(*world) answer {
		return func(w *world) answer {
			list := bytes.ReplaceAll([]byte(pemOf(w.user.crt)), []byte("\n"), []byte(" "))
			for i, h := range header {
				header[i] = strings.ReplaceAll(h, "CRT", string(list))
			}
			return stranger(nobody, header...)(w)
		}
	}
	return []row{
		{class: 19, name: "`X-SSL-Client-Cert` and `X-SSL-Client-Verify: SUCCESS`", try: said("X-SSL-Client-Cert", "CRT", "X-SSL-Client-Verify", "SUCCESS"), want: "14×401"},
		{class: 19, name: "`X-Forwarded-Client-Cert`, twice", try: said("X-Forwarded-Client-Cert", "CRT", "X-Forwarded-Client-Cert", "CRT"), want: "14×401"},
		{class: 19, name: "`SSL_CLIENT_CERT` and `HTTP_X_CLIENT_CERT`, with underscores", try: said("SSL_CLIENT_CERT", "CRT", "HTTP_X_CLIENT_CERT", "CRT"), want: "14×401"},
		{class: 19, name: "`Client-Cert` (RFC 9440)", try: said("Client-Cert", ":MIIB:", "Client-Cert-Chain", ":MIIB:"), want: "14×401"},
		{class: 19, name: "`X-Forwarded-For` and `X-Real-IP`: 127.0.0.1, `X-Remote-User`", try: said("X-Forwarded-For", "127.0.0.1", "X-Real-Ip", "127.0.0.1", "X-Remote-User", "alice"), want: "14×401"},
		{class: 19, name: "headers that are named in `Connection`", try: func(w *world) answer {
			return raw("GET /cau/csr HTTP/1.1\r\nX-SSL-Client-Verify: SUCCESS\r\nX-Forwarded-Client-Cert: By=a;Hash=b;Subject=\"CN=alice\"\r\n" +
				"Connection: X-SSL-Client-Verify, X-Forwarded-Client-Cert\r\n" + last)(w)
		}, want: "401", says: "certificate"},
		{class: 19, name: "`Authorization: Basic`", try: said("Authorization", "Basic YWxpY2U6YWxpY2U="), want: "14×401"},
	}
}
