package main

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"database/sql"
	"math/big"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sys/unix"
	_ "modernc.org/sqlite"

	"cauase/pkg/clock"
	"cauase/pkg/pki"
)

// Limits of the machine, as rows of the results. The first are by the time of one processor, the last three by the clock.
const (
	limitVerify  = "P-256 verifications"
	limitSign    = "P-256 signatures"
	limitRSA     = "RSA-2048 signatures"
	limitCreate  = "x509.CreateCertificate"
	limitHash    = "SHA-256, MB"
	limitAllRSA  = "RSA-2048 signatures, all processors"
	limitFlush   = "write and fdatasync"
	limitCommits = "commits of one writer" // and the engine
)

// A prober measures what the machine can do, for as long as it is told each time.
type prober struct {
	each    time.Duration
	dir     string
	results *results

	digest    []byte
	signature []byte
	key       *ecdsa.PrivateKey
	rsa       crypto.Signer
}

func newProber(each time.Duration, dir string, r *results) (*prober, error) {
	key, err := pki.KeyECDSAP256.Generate()
	if err != nil {
		return nil, err
	}
	rsaKey, err := pki.KeyRSA2048.Generate()
	if err != nil {
		return nil, err
	}
	digest := sha256.Sum256([]byte("what is signed"))
	p := &prober{each: each, dir: dir, results: r, digest: digest[:], key: key.(*ecdsa.PrivateKey), rsa: rsaKey}
	p.signature, err = ecdsa.SignASN1(rand.Reader, p.key, p.digest)
	return p, err
}

// rate repeats work for a while.
func (p *prober) rate(work func() error) (float64, error) {
	count, d, err := p.repeat(work)
	return float64(count) / d.Seconds(), err
}

func (p *prober) repeat(work func() error) (count int, d time.Duration, err error) {
	began := elapsed()
	for ; d < p.each; d = elapsed() - began {
		if err := work(); err != nil {
			return count, d, err
		}
		count++
	}
	return count, d, nil
}

// ownRate is the rate by the time that a processor spends on the work, as that of servers is counted, too. What else the
// machine does meanwhile changes it little.
func (p *prober) ownRate(work func() error) (float64, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before, err := threadCPU()
	if err != nil {
		return 0, err
	}
	count, _, err := p.repeat(work)
	if err != nil {
		return 0, err
	}
	after, err := threadCPU()
	return float64(count) / (after - before).Seconds(), err
}

// threadCPU is how long the calling thread has computed.
func threadCPU() (time.Duration, error) {
	var t unix.Timespec
	err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t)
	return time.Duration(t.Nano()), err
}

func (p *prober) signRSA() error {
	_, err := p.rsa.Sign(rand.Reader, p.digest, crypto.SHA256)
	return err
}

// computing measures arithmetic once. It is done before each repetition of anything, so that both see the same machine.
func (p *prober) computing() error {
	block := make([]byte, 1<<20)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(4711), Subject: pkix.Name{CommonName: "host"}, DNSNames: []string{"host.example"},
		NotBefore: clock.System().Now(), NotAfter: clock.System().Now().AddDate(0, 3, 0),
	}
	for _, limit := range []struct {
		name string
		work func() error
	}{
		{limitVerify, func() error {
			ecdsa.VerifyASN1(&p.key.PublicKey, p.digest, p.signature)
			return nil
		}},
		{limitSign, func() error {
			_, err := ecdsa.SignASN1(rand.Reader, p.key, p.digest)
			return err
		}},
		{limitRSA, p.signRSA},
		{limitCreate, func() error {
			_, err := x509.CreateCertificate(rand.Reader, template, template, &p.key.PublicKey, p.key)
			return err
		}},
		{limitHash, func() error {
			sha256.Sum256(block)
			return nil
		}},
	} {
		rate, err := p.ownRate(limit.work)
		if err != nil {
			return err
		}
		p.results.add(limit.name, machineSubject, perSecond, rate)
	}
	return p.allRSA()
}

// allRSA is what all processors together sign, which is less than each of them alone where they share a core.
func (p *prober) allRSA() error {
	processors := runtime.GOMAXPROCS(0)
	rates := make([]float64, processors)
	err := inParallel(processors, processors, func(i int) (err error) {
		rates[i], err = p.rate(p.signRSA)
		return err
	})
	sum := 0.0
	for _, rate := range rates {
		sum += rate
	}
	p.results.add(limitAllRSA, machineSubject, perSecond, sum)
	return err
}

// flushing measures how often the file system of the databases makes a page durable.
func (p *prober) flushing() error {
	path := filepath.Join(p.dir, "flush")
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer os.Remove(path)
	defer f.Close()
	page := make([]byte, 4096)
	rate, err := p.rate(func() error {
		if _, err := f.Write(page); err != nil {
			return err
		}
		return flush(f)
	})
	p.results.add(limitFlush, machineSubject, perSecond, rate)
	return err
}

// commitsSQLite measures transactions of one row each, with the settings of the daemon.
func (p *prober) commitsSQLite(ctx context.Context) error {
	path := filepath.Join(p.dir, "commits.sqlite")
	db, err := sql.Open("sqlite", "file:"+path+"?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)")
	if err != nil {
		return err
	}
	defer func() {
		db.Close()
		for _, ending := range []string{"", "-wal", "-shm"} {
			_ = os.Remove(path + ending) // the folder goes anyway
		}
	}()
	db.SetMaxOpenConns(1)
	if _, err := db.ExecContext(ctx, "CREATE TABLE t (n INTEGER PRIMARY KEY, v BLOB)"); err != nil {
		return err
	}
	rate, err := p.rate(func() error {
		_, err := db.ExecContext(ctx, "INSERT INTO t (v) VALUES (zeroblob(1000))")
		return err
	})
	p.results.add(limitCommits, sqliteEngine, perSecond, rate)
	return err
}

// commitsPostgres is the same in PostgreSQL.
func (p *prober) commitsPostgres(ctx context.Context, dsn string) error {
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, "CREATE TABLE IF NOT EXISTS t (n BIGSERIAL PRIMARY KEY, v BYTEA)"); err != nil {
		return err
	}
	value := make([]byte, 1000)
	rate, err := p.rate(func() error {
		_, err := conn.Exec(ctx, "INSERT INTO t (v) VALUES ($1)", value)
		return err
	})
	p.results.add(limitCommits, postgresEngine, perSecond, rate)
	return err
}
