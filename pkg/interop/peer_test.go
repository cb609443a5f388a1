//go:build interop

package interop

import (
	"bufio"
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"cauase/pkg/envelope"
	"cauase/pkg/testkit/pkitest"
)

// A peer is a daemon with a user, one pending and one signed request, to be asked in HTTP.
type peer struct {
	*daemon
	at    *desk             // where alice.pem, web.pem, gone.pem (revoked) and requests are
	user  *tls.Certificate  // alice
	words *strings.Replacer // for {pending} and the like in paths and bodies
}

func newPeer(t *testing.T, d *daemon) *peer {
	t.Helper()
	at := d.desk(t)
	at.enrols("alice")
	at.obtains("alice.pem", "web")
	for _, name := range []string{"mail", "ftp", "new"} {
		at.makesRequest(name)
	}
	pending := at.cauase("csr", "send", "mail.csr.pem").ids()["mail.csr.pem"]
	// The same request again has the same id, also when it is signed.
	signed := at.cauase("csr", "send", "web.csr.pem").ids()["web.csr.pem"]
	at.copy("web.pem", "gone.pem")
	at.cauase("crt", "revoke", "gone.pem").ok()

	pair, err := tls.LoadX509KeyPair(at.path("alice.pem"), at.path("alice.pem"))
	if err != nil {
		t.Fatal(err)
	}
	p := &peer{daemon: d, at: at, user: &pair}
	p.words = strings.NewReplacer(
		"{netloc}", d.netloc, "{https}", strings.TrimPrefix(d.https, "https://"), "{pending}", pending, "{signed}", signed,
		"{aki}", akiOf(at.certificate("web.pem").AuthorityKeyId),
		"{csr}", string(at.read("ftp.csr.pem")), "{new csr}", inside(string(at.read("new.csr.pem"))),
		"{csr of 1024 bits}", string(pkitest.Request(t, oldKey(t), pkitest.Named("weak"))),
		"{csr of nobody}", p.asking(func(r *x509.CertificateRequest) { r.Subject = pkix.Name{} }),
		"{csr of a network}", p.asking(alternative(7, "\x0a\x00\x00\x00\xff\x00\x00\x00")),
		"{csr of a malformed URI}", p.asking(alternative(6, "http://[::1/%zz")),
		"{csr that is forged}", forged(t, at.read("ftp.csr.pem")),
		"{csr of alice}", p.anotherOf("alice.pem"),
		"{web}", inside(p.certificate("web.pem")),
		"{revoked}", inside(p.certificate("gone.pem")),
		"{foreign}", inside(p.certificate("alice.pem")),
		"{text}", "Certificate Request:\n", "{11 MiB}", strings.Repeat("x", 11<<20),
	)
	return p
}

// asking is a request of another shape.
func (p *peer) asking(shape func(*x509.CertificateRequest)) string {
	p.at.makesRequest("odd", shape)
	return string(p.at.read("odd.csr.pem"))
}

// anotherOf is another request with the key in a file.
func (p *peer) anotherOf(name string) string {
	return string(pkitest.Request(p.at.t, p.at.readKey(name), pkitest.Named("another")))
}

// alternative asks for a subject alternative name that crypto/x509 would not write.
func alternative(tag int, value string) func(*x509.CertificateRequest) {
	return func(r *x509.CertificateRequest) {
		names := []asn1.RawValue{{Class: asn1.ClassContextSpecific, Tag: tag, Bytes: []byte(value)}}
		r.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Value: derOf(names)}}
	}
}

// oldKey is one that was once thought long enough.
func oldKey(t *testing.T) crypto.Signer {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// forged is a request with another signature.
func forged(t *testing.T, request []byte) string {
	t.Helper()
	block, _ := pem.Decode(request)
	if block == nil {
		t.Fatalf("no PEM: %q", request)
	}
	block.Bytes[len(block.Bytes)-1] ^= 1
	return string(pem.EncodeToMemory(block))
}

// certificate is that of a file, in PEM.
func (p *peer) certificate(name string) string {
	return string(blocksText(p.at.read(name), "CERTIFICATE"))
}

// httpsClient shows a certificate, or none, and looks at none.
func httpsClient(pair *tls.Certificate) *http.Client {
	return &http.Client{
		Timeout:       30 * time.Second,
		Transport:     &http.Transport{TLSClientConfig: shows(pair), DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// shows has a TLS client show a certificate, or none, and look at none.
func shows(pair *tls.Certificate) *tls.Config {
	config := &tls.Config{InsecureSkipVerify: true}
	if pair != nil {
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return pair, nil }
	}
	return config
}

// A reply is what was answered: the head, and the body.
type reply struct {
	*http.Response
	body []byte
}

// form says of what kind a body is.
func (r reply) form() string {
	var value any
	switch block, _ := pem.Decode(r.body); {
	case len(r.body) == 0:
		return "nothing"
	case block != nil:
		return block.Type
	case json.Unmarshal(r.body, &value) == nil:
		return fmt.Sprintf("JSON %T", value)
	case bytes.Contains(r.body, []byte("<html")):
		return "HTML"
	}
	return "text"
}

// send writes a request as it is, which no library would, and reads what is answered.
func (p *peer) send(as, method, request string) (reply, error) {
	at, secure := strings.TrimPrefix(p.http, "http://"), as != ""
	if secure {
		at = strings.TrimPrefix(p.https, "https://")
	}
	var conn net.Conn
	conn, err := net.DialTimeout("tcp", at, 30*time.Second)
	if err != nil {
		return reply{}, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		return reply{}, err
	}
	if secure {
		var pair *tls.Certificate
		if as == "alice" {
			pair = p.user
		}
		conn = tls.Client(conn, shows(pair))
	}
	written := make(chan error, 1)
	go func() {
		_, err := io.WriteString(conn, request)
		written <- err
	}()
	r, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		return reply{}, err
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	conn.Close()
	<-written // a daemon that has heard enough does not read to the end
	return reply{r, body}, err
}

// ask sends a question.
func (p *peer) ask(q question) (reply, error) {
	method, path, _ := strings.Cut(p.words.Replace(q.ask), " ")
	body := p.words.Replace(q.body)
	host := p.netloc
	if q.as != "" {
		host = strings.TrimPrefix(p.https, "https://")
	}
	lines := []string{method + " " + path + " HTTP/1.1", "Host: " + host, "Connection: close"}
	if q.typ != "" {
		lines = append(lines, "Content-Type: "+q.typ)
	}
	lines = append(lines, q.head...)
	if !strings.Contains(strings.Join(q.head, "\n"), "Transfer-Encoding") {
		lines = append(lines, fmt.Sprintf("Content-Length: %d", len(body)))
	}
	return p.send(q.as, method, strings.Join(lines, "\r\n")+"\r\n\r\n"+body)
}

func (p *peer) answer(t *testing.T, q question) reply {
	t.Helper()
	r, err := p.ask(q)
	if err != nil {
		t.Fatalf("%.100s: %v", q.ask, err)
	}
	return r
}

// signedBy is a message of the key in a file.
func (p *peer) signedBy(name, payload string) string {
	p.at.t.Helper()
	return sealed(p.at.t, p.at.readKey(name), payload)
}

func sealed(t *testing.T, key crypto.Signer, payload string) string {
	t.Helper()
	message, err := envelope.Sign(key, []byte(payload))
	if err != nil {
		t.Fatal(err)
	}
	return string(message)
}
