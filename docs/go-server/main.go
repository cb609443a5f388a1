// Command go-server is the program of docs/go.md: an HTTPS server whose certificate, CA
// certificates and revocation lists change while it runs. It needs the standard library alone.
package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"time"
)

// Identity is a key pair, and whom to trust, from files that cauase keeps fresh.
type Identity struct {
	dir     string
	current atomic.Pointer[state]
}

type state struct {
	pair tls.Certificate
	cas  []*x509.Certificate
	pool *x509.CertPool
	crls []*x509.RevocationList
}

// Load reads the files anew. If any is bad, what was read before stays in use.
func (id *Identity) Load() error {
	var s state
	var err error
	if s.pair, err = tls.LoadX509KeyPair(filepath.Join(id.dir, "www.crt.pem"), filepath.Join(id.dir, "www.key.pem")); err != nil {
		return err
	}
	s.pool = x509.NewCertPool()
	err = eachPEM(filepath.Join(id.dir, "ca.pem"), func(der []byte) error {
		ca, err := x509.ParseCertificate(der)
		if err == nil {
			s.pool.AddCert(ca)
			s.cas = append(s.cas, ca)
		}
		return err
	})
	if err != nil {
		return err
	}
	err = eachPEM(filepath.Join(id.dir, "crl.pem"), func(der []byte) error {
		crl, err := x509.ParseRevocationList(der)
		s.crls = append(s.crls, crl)
		return err
	})
	if err != nil {
		return err
	}
	id.current.Store(&s)
	return nil
}

func eachPEM(path string, use func(der []byte) error) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if err := use(block.Bytes); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	return nil
}

// Server is for tls.Listen and http.Server. Each connection sees the files as last loaded.
func (id *Identity) Server() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			s := id.current.Load()
			return &tls.Config{
				MinVersion:   tls.VersionTLS12,
				Certificates: []tls.Certificate{s.pair},
				ClientAuth:   tls.RequireAndVerifyClientCert,
				ClientCAs:    s.pool,
				// Go verifies chains and dates, but knows nothing of revocation. This is
				// called for resumed sessions, too.
				VerifyConnection: s.refuseRevoked,
			}, nil
		},
	}
}

// Client is for connections to a server of this CA.
func (id *Identity) Client(host string) *tls.Config {
	s := id.current.Load()
	return &tls.Config{
		MinVersion:       tls.VersionTLS12,
		ServerName:       host,
		Certificates:     []tls.Certificate{s.pair},
		RootCAs:          s.pool,
		VerifyConnection: s.refuseRevoked,
	}
}

// refuseRevoked wants a list of the peer's CA that is not expired and does not name the peer.
func (s *state) refuseRevoked(c tls.ConnectionState) error {
	for _, chain := range c.VerifiedChains {
		leaf, ca := chain[0], chain[1]
		crl := s.listOf(ca)
		if crl == nil {
			return errors.New("no valid revocation list of the peer's CA")
		}
		for _, entry := range crl.RevokedCertificateEntries {
			if entry.SerialNumber.Cmp(leaf.SerialNumber) == 0 {
				return errors.New("the peer's certificate is revoked")
			}
		}
	}
	return nil
}

func (s *state) listOf(ca *x509.Certificate) *x509.RevocationList {
	for _, crl := range s.crls {
		if bytes.Equal(crl.AuthorityKeyId, ca.SubjectKeyId) && crl.CheckSignatureFrom(ca) == nil &&
			time.Now().Before(crl.NextUpdate) { //permit:time.Now
			return crl
		}
	}
	return nil
}

func main() {
	listen := flag.String("listen", ":443", "address to listen on")
	dir := flag.String("tls", "/etc/www/tls", "folder that cauase keeps fresh")
	flag.Parse()
	if err := serve(*listen, *dir); err != nil {
		log.Print(err)
		os.Exit(1)
	}
}

func serve(listen, dir string) error {
	id := &Identity{dir: dir}
	if err := id.Load(); err != nil {
		return err
	}
	// The hook sends SIGHUP after files have changed.
	reload := make(chan os.Signal, 1)
	signal.Notify(reload, syscall.SIGHUP)
	go func() {
		for range reload {
			if err := id.Load(); err != nil {
				log.Printf("keeping the old files: %v", err)
			}
		}
	}()
	server := &http.Server{
		Addr: listen, TLSConfig: id.Server(), ReadHeaderTimeout: 10 * time.Second,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(w, "hello %s\n", r.TLS.PeerCertificates[0].Subject.CommonName)
		}),
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	go func() {
		<-ctx.Done()
		grace, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = server.Shutdown(grace)
	}()
	if err := server.ListenAndServeTLS("", ""); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
