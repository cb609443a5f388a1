package adversaries

import (
	"bytes"
	"crypto"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"

	"cauase/pkg/testkit/envelopetest"
	"cauase/pkg/testkit/pkitest"
)

// A message is an envelope in parts, to be put together in other ways than ours.
type message struct{ Payload, Digest, Signature string }

func (m message) json() []byte {
	return mustJSON(map[string]any{"payload": m.Payload, "digest": m.Digest, "signature": m.Signature})
}

// renewal is a good message of the world's host, whose key signs it.
func renewal(w *world) message {
	var m struct{ Payload, Digest, Signature string }
	data := envelopetest.Renewal(w, w.host.crt, w.host.key, pkitest.NamedRequest(w, pkitest.Key(w), "host"))
	if err := json.Unmarshal(data, &m); err != nil {
		w.Fatal(err)
	}
	return message(m)
}

// bent sends a renewal that was changed.
func bent(change func(m message) []byte) func(*world) answer {
	return func(w *world) answer { return w.envelope("/cas/crt/renew", change(renewal(w))) }
}

// rsaHost is a host whose key is RSA, which has more ways to sign.
func (w *world) rsaHost() holding {
	if w.rsa.crt == nil {
		w.rsa = w.issueFor("cas", rsaKey(), pkitest.NamedRequest(w, rsaKey(), "rsa", "rsa.example"), "")
	}
	return w.rsa
}

// padded signs a renewal with an RSA key in a way.
func padded(digest string, sign func(message []byte) []byte) func(*world) answer {
	return func(w *world) answer {
		h := w.rsaHost()
		payload := string(mustJSON(map[string]string{"crt_pem": pemOf(h.crt), "renew_csr_pem": string(pkitest.NamedRequest(w, pkitest.Key(w), "rsa"))}))
		return w.envelope("/cas/crt/renew", message{payload, digest, base64.StdEncoding.EncodeToString(sign([]byte(payload + digest + " ")))}.json())
	}
}

func envelopeRows() []row {
	hashed := func(data []byte) []byte { sum := sha256.Sum256(data); return sum[:] }
	pss := func(salt int) func([]byte) []byte {
		return func(data []byte) []byte {
			return must(rsa.SignPSS(rand.Reader, rsaKey(), crypto.SHA256, hashed(data), &rsa.PSSOptions{SaltLength: salt, Hash: crypto.SHA256}))
		}
	}
	replace := func(old, new string) func(message) []byte {
		return func(m message) []byte {
			return bytes.Replace(m.json(), []byte(old), []byte(new), 1)
		}
	}
	digest := func(name string) func(message) []byte {
		return func(m message) []byte { m.Digest = name; return m.json() }
	}
	return []row{
		{class: 23, name: "a member twice", try: bent(replace(`{"digest"`, `{"digest":"sha512","digest"`)), want: "400", says: "duplicate"},
		{class: 23, name: "a member in another case", try: bent(replace(`"digest"`, `"Digest"`)), want: "400", says: "Digest"},
		{class: 23, name: "an unknown member", try: bent(replace(`{`, `{"extra":1,`)), want: "400", says: "extra"},
		{class: 23, name: "something behind it", try: bent(func(m message) []byte { return append(m.json(), "{}"...) }), want: "400", says: ""},
		{class: 23, name: "a payload that was serialised again", try: bent(func(m message) []byte {
			m.Payload = strings.Replace(m.Payload, `","`, `", "`, 1)
			return m.json()
		}), want: "401", says: "signature"},
		{class: 23, name: "a member twice in the payload, signed", try: func(w *world) answer {
			request, other := mustJSON(string(pkitest.NamedRequest(w, pkitest.Key(w), "host"))), mustJSON(string(pkitest.NamedRequest(w, pkitest.Key(w), "mallory")))
			payload := fmt.Sprintf(`{"crt_pem": %s, "renew_csr_pem": %s, "renew_csr_pem": %s}`, mustJSON(pemOf(w.host.crt)), request, other)
			return w.envelope("/cas/crt/renew", envelopetest.Sign(w, w.host.key, []byte(payload)))
		}, want: "400", says: "duplicate"},
		{class: 23, name: "digest `sha1`", try: bent(digest("sha1")), want: "400", says: "digest"},
		{class: 23, name: "digest `SHA256`", try: bent(digest("SHA256")), want: "400", says: "digest"},
		{class: 23, name: "digest `sha256 ` with a space", try: bent(digest("sha256 ")), want: "400", says: "digest"},
		{class: 23, name: "digest `sha512` over what was signed with `sha256`", try: bent(digest("sha512")), want: "401", says: "signature"},
		{class: 23, name: "digest `null`", try: bent(func(m message) []byte {
			return bytes.Replace(m.json(), []byte(`"digest":"sha256"`), []byte(`"digest":null`), 1)
		}), want: "400", says: "signature"},
		{class: 23, name: "nobody's signature", try: bent(func(m message) []byte { m.Signature = ""; return m.json() }), want: "400", says: "signature"},
		{class: 23, name: "a signature that is no base64", try: bent(func(m message) []byte { m.Signature = "@@@@"; return m.json() }), want: "400", says: "base64"},
		{class: 23, name: "PKCS #1 v1.5 in place of PSS", try: padded("sha256", func(data []byte) []byte {
			return must(rsa.SignPKCS1v15(rand.Reader, rsaKey(), crypto.SHA256, hashed(data)))
		}), want: "401", says: "signature", wild: true},
		{class: 23, name: "PSS with a salt as long as the digest", try: padded("sha256", pss(32)), want: "401", says: "signature", wild: true},
		{class: 23, name: "PSS with a salt of one byte", try: padded("sha256", pss(1)), want: "401", says: "signature", wild: true},
		{class: 23, name: "invalid UTF-8 in the payload", try: bent(replace(`"payload":"`, "\"payload\":\"\xff")), want: "400", says: "UTF-8"},
	}
}

func replayRows() []row {
	return []row{
		{class: 24, name: "a payload other than the one that is signed", try: bent(func(m message) []byte {
			m.Payload = strings.Replace(m.Payload, "renew_csr_pem", "renew_csr_pem ", 1)
			return m.json()
		}), want: "400", says: "renew_csr_pem"},
		{class: 24, name: "a renewal, sent to be revoked", try: func(w *world) answer { return w.envelope("/cas/crt/revoke", renewal(w).json()) }, want: "400", says: "crt_pem"},
		{class: 24, name: "a revocation, sent to be renewed", try: func(w *world) answer {
			return w.envelope("/cas/crt/renew", envelopetest.Revocation(w, w.host.crt, w.host.key, 0))
		}, want: "400", says: "revoke_crt_pem"},
		{class: 24, name: "a host's renewal, sent to the authority for users", try: func(w *world) answer { return w.envelope("/cau/crt/renew", renewal(w).json()) },
			want: "400", says: "certificate"},
		{class: 24, name: "a user's renewal, sent to the authority for services", try: func(w *world) answer {
			return w.envelope("/cas/crt/renew", envelopetest.Renewal(w, w.otherUser.crt, w.otherUser.key, pkitest.NamedRequest(w, pkitest.Key(w), "bob")))
		}, want: "400", says: "certificate"},
		{class: 24, name: "a host's confirmation, sent as a renewal", try: func(w *world) answer {
			return w.envelope("/cas/crt/renew", envelopetest.Sign(w, w.host.key, mustJSON(map[string]string{"crt_pem": pemOf(w.host.crt), "holds_ca": "00"})))
		}, want: "400", says: "holds_ca"},
		{class: 24, name: "the same renewal 100 times in parallel: one certificate", try: func(w *world) answer {
			h := w.issue("cas", "echo", "")
			data := envelopetest.Renewal(w, h.crt, h.key, pkitest.NamedRequest(w, pkitest.Key(w), "echo"))
			answers := make([]answer, 100)
			each(len(answers), func(i int) { answers[i] = w.envelope("/cas/crt/renew", data) })
			for _, a := range answers {
				if a != answers[0] {
					return tally(answers)
				}
			}
			return answer{"100 times the same certificate", ""}
		}, want: "100 times the same certificate", signed: 2},
		{class: 24, name: "the same revocation 50 times in parallel", try: func(w *world) answer {
			h := w.issue("cas", "echo-2", "")
			data := envelopetest.Revocation(w, h.crt, h.key, 0)
			answers := make([]answer, 50)
			each(len(answers), func(i int) { answers[i] = w.envelope("/cas/crt/revoke", data) })
			return tally(answers)
		}, want: "1×204 49×409", says: "revoked", signed: 1, revoked: 1},
		{class: 24, name: "a recorded renewal, after the certificate was revoked", try: func(w *world) answer {
			h := w.issue("cas", "recorded", "")
			data := envelopetest.Renewal(w, h.crt, h.key, pkitest.NamedRequest(w, pkitest.Key(w), "recorded"))
			w.expect("200", w.envelope("/cas/crt/renew", data))
			w.expect("204", w.revoke(map[string]any{"revoke_crt_pem": pemOf(h.crt)}))
			return w.envelope("/cas/crt/renew", data)
		}, want: "409", says: "renewed", signed: 2, revoked: 2},
	}
}

// held is a renewal by a holder with a certificate.
func held(h func(w *world) holding) func(*world) answer {
	return func(w *world) answer {
		who := h(w)
		return w.envelope("/cas/crt/renew", envelopetest.Renewal(w, who.crt, who.key, pkitest.NamedRequest(w, pkitest.Key(w), "heir")))
	}
}

func holderRows() []row {
	forged := func(change func(c *x509.Certificate)) func(w *world) holding {
		return func(w *world) holding {
			ca := pkitest.NewCA(w, w.cas[0].Subject.CommonName, now().Add(-day), now().Add(day), func(c *x509.Certificate) {
				c.SubjectKeyId, c.AuthorityKeyId = w.cas[0].SubjectKeyId, w.cas[0].AuthorityKeyId
			})
			key := pkitest.Key(w)
			return holding{"", ca.Issue(w, "host", key.Public(), func(c *x509.Certificate) {
				c.SerialNumber = w.host.crt.SerialNumber
				change(c)
			}), key}
		}
	}
	return []row{
		{class: 25, name: "a certificate that expired a second ago", try: held(func(w *world) holding { w.until(w.gone.crt.NotAfter); return w.gone }), want: "400", says: "expired"},
		{class: 25, name: "a revoked certificate", try: held(func(w *world) holding { return w.revoked }), want: "400", says: "revoked", audited: ""},
		{class: 25, name: "a forged certificate with the number of a good one", try: held(forged(func(*x509.Certificate) {})), want: "400", says: "certificate"},
		{class: 25, name: "a forged certificate that is not valid yet", try: held(forged(func(c *x509.Certificate) { c.NotBefore = now().Add(day / 2) })), want: "400", says: "certificate"},
		{class: 25, name: "the number of a good certificate in one that was made with the CA's stolen key", try: held(func(w *world) holding {
			key := pkitest.Key(w)
			return holding{"", pkitest.CA{Crt: w.cas[0], Key: w.caKey("cas")}.Issue(w, "host", key.Public(), func(c *x509.Certificate) {
				c.SerialNumber, c.NotAfter = w.host.crt.SerialNumber, now().Add(day)
			}), key}
		}), want: "400", says: "certificate"},
		{class: 25, name: "another valid certificate with the same key", try: func(w *world) answer {
			key := pkitest.Key(w)
			one := w.issueFor("cas", key, pkitest.NamedRequest(w, key, "one"), "")
			other := w.issueFor("cas", key, pkitest.NamedRequest(w, key, "other"), "")
			w.expect("204", w.revoke(map[string]any{"revoke_crt_pem": pemOf(one.crt)}))
			return w.envelope("/cas/crt/renew", envelopetest.Renewal(w, other.crt, key, pkitest.NamedRequest(w, pkitest.Key(w), "other")))
		}, want: "200", signed: 3, revoked: 1},
		{class: 25, name: "a holder with somebody else's certificate and the own key", try: held(func(w *world) holding {
			return holding{"", w.host.crt, ecKey(elliptic.P256())}
		}), want: "401", says: "signature"},
		{class: 25, name: "a holder who revokes another's certificate", try: func(w *world) answer {
			return w.envelope("/cas/crt/revoke", envelopetest.Revocation(w, w.host.crt, ecKey(elliptic.P256()), 1))
		}, want: "401", says: "signature"},
		{class: 25, name: "renewals and the revocation of one certificate, all at once", try: func(w *world) answer {
			h := w.issue("cas", "race", "")
			messages := make([][]byte, 20)
			for i := range messages {
				messages[i] = envelopetest.Renewal(w, h.crt, h.key, pkitest.NamedRequest(w, pkitest.Key(w), "race"))
			}
			each(len(messages)+1, func(i int) {
				if i == len(messages)/2 {
					w.revoke(map[string]any{"revoke_crt_pem": pemOf(h.crt)})
					return
				}
				w.envelope("/cas/crt/renew", messages[i%len(messages)])
			})
			// Whatever was issued before the revocation went with it, and nothing came after.
			var live int
			query := fmt.Sprintf(`SELECT count(*) FROM certificate c JOIN certificate f ON f.lineage = c.lineage AND f.authority = c.authority WHERE f.id = %s
				AND NOT EXISTS (SELECT 1 FROM revocation r WHERE r.authority = c.authority AND r.serial = c.serial)`, h.id)
			if err := w.db.QueryRow(query).Scan(&live); err != nil {
				w.Fatal(err)
			}
			return answer{fmt.Sprint("still valid: ", live), ""}
		}, want: "still valid: 0", wild: true},
	}
}
