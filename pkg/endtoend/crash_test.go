package endtoend

import (
	"bytes"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"flag"
	"math/big"
	mathrand "math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"

	"cauase/pkg/client"
	"cauase/pkg/clock"
)

var (
	crashSeed   = flag.Uint64("crash.seed", 0, "seed of TestCrash, 0 for a new one")
	crashRounds = flag.Int("crash.rounds", 20, "how often TestCrash kills the daemon")
)

// TestCrash kills the daemon at any moment, again and again, while clients submit, sign,
// reject, renew and revoke as fast as they can. Whatever was acknowledged to a client must be
// done after the restart, and nothing may be half done.
func TestCrash(t *testing.T) {
	t.Parallel()
	seed := *crashSeed
	if seed == 0 {
		seed = mathrand.Uint64()
	}
	t.Logf("repeat with -crash.seed %d", seed)
	random := mathrand.New(mathrand.NewPCG(seed, 0))
	c := newCrashTest(t)
	for round := range *crashRounds {
		c.start()
		c.checkLists()
		c.checkAcknowledged()
		// With nothing done in between, a crash changes nothing.
		if round%5 == 4 {
			cas, cau := c.list("cas"), c.list("cau")
			c.daemon.kill()
			c.start()
			if !bytes.Equal(cas, c.list("cas")) || !bytes.Equal(cau, c.list("cau")) {
				t.Error("a restart without a change made other revocation lists")
			}
		}
		c.load(round, 1+random.IntN(100), time.Duration(random.IntN(8000))*time.Microsecond)
		if t.Failed() {
			t.Fatalf("failed in round %d", round)
		}
	}
	c.start()
	c.checkLists()
	c.checkAcknowledged()
	if err := c.daemon.stop(); err != nil {
		t.Fatal(err)
	}
	c.checkDatabase()
	t.Logf("acknowledged in %d rounds: %d requests, %d signed, %d rejected, %d renewed, %d revoked",
		*crashRounds, len(c.submitted), len(c.signed), len(c.rejected), len(c.renewed), len(c.revoked))
	if len(c.signed) == 0 || len(c.renewed) == 0 || len(c.revoked) == 0 || len(c.rejected) == 0 {
		t.Error("something was never done, so that this test has not tested it")
	}
}

// A holding is a certificate and its key.
type holding struct {
	crt *x509.Certificate
	key crypto.Signer
}

// A crashTest records what the daemon has acknowledged.
type crashTest struct {
	t       *testing.T
	dir     string
	netloc  string
	daemon  *daemon
	user    tls.Certificate
	trusted []*x509.Certificate // of services

	mu        sync.Mutex
	submitted map[client.ID][]byte // PEM
	signed    map[client.ID]bool
	rejected  map[client.ID]bool
	rejecting map[client.ID]bool // was asked for
	renewed   []*x509.Certificate
	revoked   map[string]bool   // serials, decimal
	lists     map[string][]byte // by number: the lists of services anybody has seen
	highest   *big.Int          // of these numbers
	users     []byte            // the list of users, with which nothing happens
}

func newCrashTest(t *testing.T) *crashTest {
	netloc, err := freeNetloc()
	if err != nil {
		t.Fatal(err)
	}
	c := &crashTest{t: t, dir: t.TempDir(), netloc: netloc, submitted: map[client.ID][]byte{},
		signed: map[client.ID]bool{}, rejected: map[client.ID]bool{}, rejecting: map[client.ID]bool{}, revoked: map[string]bool{}, lists: map[string][]byte{}, highest: new(big.Int)}
	t.Cleanup(func() {
		if c.daemon != nil && c.daemon.running() {
			c.daemon.kill()
		}
	})
	c.start()
	c.becomeUser()
	trust, err := c.client(client.CAS).UpdateTrust(t.Context(), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	c.trusted = trust.CAs
	c.daemon.kill()
	return c
}

func (c *crashTest) start() {
	c.t.Helper()
	d, err := startDaemon(c.dir, c.netloc, os.Environ(), "--user-auto-approve-count", "1", "--service-max-csr", "1000000",
		"--pending-per-address", "1000000", "--write-rate", "0", "--handshake-rate", "0", "--log-level", "warn")
	if err != nil {
		c.t.Fatalf("cauased does not come back: %v", err)
	}
	c.daemon = d
}

func (c *crashTest) client(authority client.AuthorityName) *client.Client {
	service, err := client.New(client.Options{
		URL: "http://" + c.netloc, Authority: authority, Clock: clock.System(), UserAgent: "endtoend", Timeout: deadline,
	})
	if err != nil {
		c.t.Fatal(err)
	}
	return service
}
