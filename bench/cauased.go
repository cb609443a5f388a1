package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"cauase/pkg/pki"
)

// A daemon speaks the protocol of caucase: cauased, or caucased itself.
type daemon struct {
	*process
	name     string // what results call it
	port     int
	host     string // for the header of requests
	database database
	keyType  pki.KeyType // of its CA and of all hosts
	brief    bool        // it closes each connection after an answer

	public *endpoint
	user   *endpoint // with the certificate of a user
	https  *endpoint // where a user has to go who has none yet
	ca     *x509.Certificate

	hosts []host
}

// newDaemon is a daemon on two ports in a row.
func newDaemon(name string, port int, db database, keyType pki.KeyType) *daemon {
	return &daemon{
		name: name, port: port, host: loopback(port), database: db, keyType: keyType,
		public: &endpoint{address: loopback(port)},
		https:  &endpoint{address: loopback(port + 1), tls: trusting(nil)},
	}
}

func (d *daemon) label() string { return d.name }

func (d *daemon) servers() []*process { return append([]*process{d.process}, d.database.servers()...) }

// startup is how long a server may take until it is ready.
const startup = 5 * time.Minute

// unlimited are the options without which all requests would be refused that come from one address. What they
// limit costs nothing else; everything that costs, such as flushing to disk and the access log, is as shipped.
func unlimited() []string {
	return []string{
		"--write-rate", "0", "--handshake-rate", "0", "--max-connections-per-address", "512",
		"--service-max-csr", "100000", "--pending-per-address", "100000", "--renewals-per-day", "100000000",
		"--user-auto-approve-count", "1",
	}
}

// startDaemon starts cauased with its data in dir, and waits until it is ready.
func (b *bench) startDaemon(ctx context.Context, dir string, db database, keyType pki.KeyType, flags ...string) (*daemon, error) {
	port, err := freePorts(2)
	if err != nil {
		return nil, err
	}
	return b.startDaemonAt(ctx, dir, port, db, keyType, flags...)
}

// startDaemonAt starts it on given ports.
func (b *bench) startDaemonAt(ctx context.Context, dir string, port int, db database, keyType pki.KeyType, flags ...string) (*daemon, error) {
	db.secret = filepath.Join(b.dir, "key-secret")
	d := newDaemon("cauased "+db.engine, port, db, keyType)
	var err error
	args := slices.Concat([]string{"--netloc", d.host, "--server-key", "server.key.pem", "--key-type", string(keyType)}, unlimited(), flags)
	if d.process, err = start(dir, b.daemon, args, append([]string{"CAUASED_DB=" + db.dsn, "CAUASED_KEY_SECRET=" + db.secret}, b.environment...)); err != nil {
		return nil, err
	}
	ready := request("GET", "/readyz", d.host, "", nil)
	ctx, cancel := context.WithTimeout(ctx, startup)
	defer cancel()
	return d, d.await(ctx, func() error {
		_, err := d.public.once(ctx, ready, http.StatusOK)
		return err
	})
}

// trusting is TLS towards a server that this program has started itself.
func trusting(crt *tls.Certificate) *tls.Config {
	//nolint:gosec // nobody else listens on the port
	config := &tls.Config{InsecureSkipVerify: true}
	if crt != nil {
		config.Certificates = []tls.Certificate{*crt}
	}
	return config
}

// prepare fetches the CA certificate and makes a user, who then approves requests.
func (d *daemon) prepare(ctx context.Context) error {
	a, err := d.public.once(ctx, request("GET", "/cas/crt/ca.crt.pem", d.host, "", nil), http.StatusOK)
	if err != nil {
		return err
	}
	if d.ca, err = pki.ParseCertificatePEM(a.body); err != nil {
		return err
	}
	key, err := d.keyType.Generate()
	if err != nil {
		return err
	}
	csr, err := makeCSR(key, "user")
	if err != nil {
		return err
	}
	if a, err = d.public.once(ctx, request("PUT", "/cau/csr", d.host, "application/pkcs10", csr), http.StatusCreated); err != nil {
		return err
	}
	if a, err = d.public.once(ctx, request("GET", "/cau/crt/"+a.location, d.host, "", nil), http.StatusOK); err != nil {
		return err
	}
	crt, err := pki.ParseCertificatePEM(a.body)
	if err != nil {
		return err
	}
	d.user = &endpoint{address: d.https.address, tls: trusting(&tls.Certificate{Certificate: [][]byte{crt.Raw}, PrivateKey: key})}
	return nil
}

// startCaucase starts the reference from its virtual environment.
func startCaucase(ctx context.Context, venv, dir string) (*daemon, error) {
	port, err := freePorts(2)
	if err != nil {
		return nil, err
	}
	d := newDaemon("caucased", port, database{engine: sqliteEngine}, pki.KeyRSA2048)
	d.brief = true
	d.process, err = start(dir, filepath.Join(venv, "bin", "caucased"), []string{
		"--netloc", d.host, "--user-auto-approve-count", "1", "--service-max-csr", strconv.Itoa(100_000)}, nil)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, startup)
	defer cancel()
	// It opens HTTPS last.
	err = d.await(ctx, func() error {
		conn, err := d.https.dial(ctx)
		if err == nil {
			conn.Close()
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return d, d.prepare(ctx)
}
