package adversaries

import (
	"bytes"
	"crypto"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"fmt"
	"math/big"

	"cauase/pkg/testkit/envelopetest"
	"cauase/pkg/testkit/pkitest"
)

func keyRows() []row {
	e := big.NewInt(65537)
	lifted := new(big.Int).Lsh(big.NewInt(1), 2047) // a power of two
	return []row{
		{class: 1, name: "RSA modulus of 262,144 bits", try: weak(sized(262_144), e), want: "400", says: "at most 8192 accepted"},
		{class: 1, name: "RSA modulus of 8,193 bits", try: weak(sized(8193), e), want: "400", says: "at most 8192 accepted"},
		{class: 1, name: "RSA modulus of 700,000 bits, beyond the limit of a request", try: weak(sized(700_000), e), want: "400", says: "bytes"},
		{class: 1, name: "RSA exponent 1, with which every signature verifies", try: weak(sized(2048), big.NewInt(1)), want: "400", says: "RSA exponent 1"},
		{class: 1, name: "RSA exponent 2", try: weak(sized(2048), big.NewInt(2)), want: "400", says: "RSA exponent 2"},
		{class: 1, name: "RSA exponent 3", try: weak(sized(2048), big.NewInt(3)), want: "400", says: "RSA exponent 3"},
		{class: 1, name: "RSA exponent of 61 bits", try: weak(sized(2048), big.NewInt(1<<60+1)), want: "400", says: "only 65537"},
		{class: 1, name: "RSA exponent of 8,192 bits", try: weak(sized(2048), ofSize(8192)), want: "400", says: "exponent"},
		{class: 1, name: "negative RSA exponent", try: weak(sized(2048), big.NewInt(-65537)), want: "400", says: "exponent"},
		{class: 1, name: "even RSA modulus", try: weak(func() *big.Int { return lifted }, e), want: "400", says: "odd primes"},
		{class: 1, name: "negative RSA modulus", try: weak(func() *big.Int { return new(big.Int).Neg(ofSize(2048)) }, e), want: "400", says: "modulus"},
		{class: 1, name: "RSA modulus 0", try: weak(func() *big.Int { return new(big.Int) }, e), want: "400", says: "modulus"},

		{class: 2, name: "RSA of 1,024 bits", try: weak(sized(1024), e), want: "400", says: "at least 2048 needed"},
		{class: 2, name: "RSA of 2,047 bits", try: weak(sized(2047), e), want: "400", says: "at least 2048 needed"},
		{class: 2, name: "DSA", try: keyed(func() []byte {
			n := integer(ofSize(2048))
			return seq(seq(oid(o(1, 2, 840, 10040, 4, 1)), seq(n, integer(e), integer(e))), bits(n))
		}), want: "400", says: "RSA, ECDSA or Ed25519 needed"},
		{class: 2, name: "RSA with the fingerprint of ROCA (CVE-2017-15361)", try: weak(roca, e), want: "400", says: "Infineon"},
		{class: 2, name: "RSA of two primes side by side (CVE-2022-26320)", try: weak(closePrimes, e), want: "400", says: "too close together"},
		{class: 2, name: "RSA with the factor 251", try: weak(func() *big.Int { return new(big.Int).Mul(ofSize(2040), big.NewInt(251)) }, e), want: "400", says: "small prime"},
		{class: 2, name: "Ed25519, a point of order 1", try: keyed(func() []byte {
			return seq(seq(oid(oidEd25519)), bits(append([]byte{1}, make([]byte, 31)...)))
		}), want: "400", says: "small order"},

		{class: 3, name: "a point that is not on P-256", try: point(oid(oidP256), append([]byte{4}, make([]byte, 64)...)), want: "400", says: "P256"},
		{class: 3, name: "the point at infinity", try: point(oid(oidP256), []byte{0}), want: "400", says: "ecdsa"},
		{class: 3, name: "no point", try: point(oid(oidP256), nil), want: "400", says: "ecdsa"},
		{class: 3, name: "coordinates above the field's prime", try: point(oid(oidP256), append([]byte{4}, bytes.Repeat([]byte{0xff}, 64)...)), want: "400", says: "P256"},
		{class: 3, name: "a point of P-384 said to be on P-256", try: point(oid(oidP256), append([]byte{4}, make([]byte, 96)...)), want: "400", says: "P256"},
		{class: 3, name: "a curve of explicit parameters (CVE-2022-0778)", try: point(seq(integer(big.NewInt(1)),
			seq(oid(o(1, 2, 840, 10045, 1, 1)), integer(new(big.Int).Mul(big.NewInt(697), big.NewInt(17)))),
			seq(tlv(4, []byte{23}), tlv(4, []byte{41})), tlv(4, []byte{2, 1}), integer(big.NewInt(1))), make([]byte, 65)), want: "400", says: "ECDSA parameters"},
		{class: 3, name: "secp256k1", try: point(oid(o(1, 3, 132, 0, 10)), make([]byte, 65)), want: "400", says: "curve"},
		{class: 3, name: "a curve that nobody knows", try: point(oid(o(1, 2, 3, 4)), make([]byte, 65)), want: "400", says: "curve"},
		{class: 3, name: "P-224", try: func(w *world) answer { return w.submit(csr{key: ecKey(elliptic.P224())}.pem()) }, want: "400", says: "P-224"},
		{class: 3, name: "X25519, which does not sign", try: keyed(func() []byte {
			return seq(seq(oid(o(1, 3, 101, 110))), bits(make([]byte, 32)))
		}), want: "400", says: "RSA, ECDSA or Ed25519 needed"},

		{class: 4, name: "the key of a CA of services, for a service", try: barred("cas", "cas"), want: "400", says: "key"},
		{class: 4, name: "the key of a CA of users, for a service", try: barred("cau", "cas"), want: "400", says: "key"},
		{class: 4, name: "the key of a CA of services, for a user", try: barred("cas", "cau"), want: "400", says: "key"},
		{class: 4, name: "the key of a CA, in a renewal", try: func(w *world) answer {
			h := w.issue("cas", "climber", "")
			return w.envelope("/cas/crt/renew", envelopetest.Renewal(w, h.crt, h.key, pkitest.NamedRequest(w, w.caKey("cas"), "climber")))
		}, want: "400", says: "key", signed: 1},
		{class: 4, name: "a key revoked for keyCompromise", try: func(w *world) answer {
			h := w.issue("cas", "robbed", "")
			w.expect("204", w.envelope("/cas/crt/revoke", envelopetest.Revocation(w, h.crt, h.key, 1)))
			return w.submit(pkitest.NamedRequest(w, h.key, "robbed again"))
		}, want: "400", says: "compromise", signed: 1, revoked: 1},
		{class: 4, name: "a key revoked for keyCompromise, in another host's renewal", try: func(w *world) answer {
			h, other := w.issue("cas", "robbed-2", ""), w.issue("cas", "innocent", "")
			w.expect("204", w.envelope("/cas/crt/revoke", envelopetest.Revocation(w, h.crt, h.key, 1)))
			return w.envelope("/cas/crt/renew", envelopetest.Renewal(w, other.crt, other.key, pkitest.NamedRequest(w, h.key, "innocent")))
		}, want: "400", says: "compromise", signed: 2, revoked: 1},
		{class: 4, name: "the key of a user, for another user", try: func(w *world) answer {
			status, _, text := w.put("/cau/csr", pkitest.NamedRequest(w, w.otherUser.key, "mallory"))
			return answer{fmt.Sprint(status), text}
		}, want: "409", says: "key"},
	}
}

// barred asks for a certificate for the key of a CA, which whoever asks has.
func barred(of, at string) func(*world) answer {
	return func(w *world) answer {
		status, _, text := w.put("/"+at+"/csr", pkitest.NamedRequest(w, w.caKey(of), "mallory"))
		return answer{fmt.Sprint(status), text}
	}
}

func signatureRows() []row {
	rsaSigned := func(algorithm []byte, sign func(info []byte) []byte) func(*world) answer {
		return func(w *world) answer {
			return w.submit(csr{key: rsaKey(), algorithm: algorithm, sign: sign}.pem())
		}
	}
	pss := func(salt int) func([]byte) []byte {
		return func(info []byte) []byte {
			sum := sha256.Sum256(info)
			return must(rsa.SignPSS(rand.Reader, rsaKey(), crypto.SHA256, sum[:], &rsa.PSSOptions{SaltLength: salt}))
		}
	}
	hash := func(id ...int) []byte { return seq(oid(id), null) }
	sha1OID, sha256OID, mgf1 := o(1, 3, 14, 3, 2, 26), o(2, 16, 840, 1, 101, 3, 4, 2, 1), o(1, 2, 840, 113549, 1, 1, 8)
	pssParameters := func(digest, maskDigest []int, salt int64) []byte {
		return seq(oid(oidRSAPSS), seq(tlv(0xa0, hash(digest...)), tlv(0xa1, seq(oid(mgf1), hash(maskDigest...))), tlv(0xa2, integer(big.NewInt(salt)))))
	}
	with := func(c csr) func(*world) answer { return func(w *world) answer { return w.submit(c.pem()) } }
	thief := ecKey(elliptic.P256())
	return []row{
		{class: 5, name: "by another key", try: with(csr{sign: signer(thief, crypto.SHA256)}), want: "400", says: "does not verify"},
		{class: 5, name: "empty", try: with(csr{sign: func([]byte) []byte { return nil }}), want: "400", says: "does not verify"},
		{class: 5, name: "of zeros, r = s = 0", try: with(csr{sign: func([]byte) []byte { return seq(integer(new(big.Int)), integer(new(big.Int))) }}), want: "400", says: "does not verify"},
		{class: 5, name: "a subject that was changed after signing", try: func(w *world) answer {
			return w.submit(csr{mangle: func(der []byte) []byte { return bytes.Replace(der, []byte("mallory"), []byte("malloru"), 1) }}.pem())
		}, want: "400", says: "does not verify"},
		{class: 5, name: "MD5 with RSA", try: rsaSigned(seq(oid(oidMD5RSA), null), signer(rsaKey(), crypto.MD5)), want: "400", says: "is not accepted"},
		{class: 5, name: "SHA-1 with RSA", try: rsaSigned(seq(oid(oidSHA1RSA), null), signer(rsaKey(), crypto.SHA1)), want: "400", says: "SHA1-RSA is not accepted"},
		{class: 5, name: "SHA-1 with ECDSA", try: func(w *world) answer {
			key := ecKey(elliptic.P256())
			return w.submit(csr{key: key, algorithm: seq(oid(oidECDSASHA1)), sign: signer(key, crypto.SHA1)}.pem())
		}, want: "400", says: "ECDSA-SHA1 is not accepted"},
		{class: 5, name: "PSS without parameters, which means SHA-1", try: rsaSigned(seq(oid(oidRSAPSS), seq()), pss(20)), want: "400", says: "not known"},
		{class: 5, name: "PSS whose mask is of SHA-1", try: rsaSigned(pssParameters(sha256OID, sha1OID, 32), pss(32)), want: "400", says: "not known"},
		{class: 5, name: "PSS with a salt of 0 bytes", try: rsaSigned(pssParameters(sha256OID, sha256OID, 0), pss(0)), want: "400", says: "not known"},
		{class: 5, name: "PSS with a salt of -1 bytes", try: rsaSigned(pssParameters(sha256OID, sha256OID, -1), pss(32)), want: "400", says: "not known"},
		{class: 5, name: "RSA said to be ECDSA", try: rsaSigned(seq(oid(oidECDSASHA256)), signer(rsaKey(), crypto.SHA256)), want: "400", says: "does not verify"},
		{class: 5, name: "an algorithm with parameters that it does not have", try: with(csr{algorithm: seq(oid(oidECDSASHA256), null)}), want: "400", says: "parameters that it does not have"},
	}
}
