package cluster

import (
	"crypto"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"cauase/pkg/envelope"
	"cauase/pkg/pki"
)

// manage runs cauased manage on the daemons' database.
func (s *site) manage(args ...string) []byte {
	s.t.Helper()
	cmd := exec.Command(filepath.Join(bin, "cauased"), append([]string{"manage"}, args...)...)
	cmd.Env = append(os.Environ(), "CAUASED_DB="+s.dsn)
	out, err := cmd.Output()
	if err != nil {
		s.t.Fatalf("%q: %v, %s", args, err, out)
	}
	return out
}

// TestOneRotation: a generation that waits for hosts to have it is active once all have told whichever daemon, on all of them, for one of them has
// recorded that. From then on none of them signs with the one before; and nothing that it withdraws is accepted anywhere.
func TestOneRotation(t *testing.T) {
	t.Parallel()
	c := postgres(t)
	dsn := c.NewDatabase(t)
	ask := func(sql string) string { return c.Query(t, databaseOf(t, dsn), sql) }
	s := newSite(t, dsn, 3, "--service-auto-approve-count", "100", "--service-max-csr", "100")

	type host struct {
		crt []byte
		key crypto.Signer
	}
	anonymous := newClient(t, nil)
	hosts := make([]host, 6)
	for i := range hosts {
		d := s.daemons[i%len(s.daemons)]
		hosts[i].key = newKey(t)
		id := anonymous.must(http.StatusCreated, "PUT", d.http()+"/cas/csr", "", newCSR(t, hosts[i].key, fmt.Sprint("host", i))).header.Get("Location")
		hosts[i].crt = anonymous.must(http.StatusOK, "GET", d.http()+"/cas/crt/"+id, "", nil).body
	}
	var rotated struct {
		KeyID string `json:"key_id"`
	}
	if err := json.Unmarshal(s.manage("rotate", "cas", "--when-adopted", "--compromised", "--yes", "--json"), &rotated); err != nil {
		t.Fatal(err)
	}
	keyID, err := hex.DecodeString(rotated.KeyID)
	if err != nil {
		t.Fatal(err)
	}

	// Hosts renew all the time, and say one after the other what they have.
	stop := make(chan struct{})
	var running sync.WaitGroup
	for i, d := range s.daemons {
		h := hosts[i]
		running.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				next := newKey(t)
				a, err := anonymous.do("PUT", d.http()+"/cas/crt/renew", "application/json", renewal(t, parse(t, h.crt), h.key, newCSR(t, next, "x")))
				if err != nil || a.status != http.StatusOK {
					t.Errorf("renew: %d %s %v", a.status, a.body, err)
					return
				}
				h = host{a.body, next}
				time.Sleep(20 * time.Millisecond) // more often than a lineage may in a day
				if n == 40 {
					return
				}
			}
		})
	}
	for i, h := range hosts {
		d := s.daemons[(i+1)%len(s.daemons)]
		payload, err := envelope.EncodeHolding(envelope.Holding{CertificatePEM: string(pki.EncodeCertificatePEM(parse(t, h.crt).Raw)), KeyID: keyID})
		message := sign(t, h.key, payload, err)
		if i == len(hosts)-1 {
			if got := ask("SELECT count(*) FROM audit_log WHERE action = 'ca.activate'"); got != "0" {
				t.Errorf("active before all have it: %s", got)
			}
		}
		anonymous.must(http.StatusNoContent, "PUT", d.http()+"/cas/crt/holds", "application/json", message)
	}
	until(t, "all daemons have it be active, and the one before is gone", func() error {
		for _, d := range s.daemons {
			var line struct {
				Generations []struct {
					KeyID string `json:"key_id"`
					Phase string `json:"phase"`
				} `json:"generations"`
			}
			if err := json.Unmarshal(anonymous.must(http.StatusOK, "GET", d.http()+"/cas/timeline", "", nil).body, &line); err != nil {
				return err
			}
			if g := line.Generations; len(g) != 1 || g[0].KeyID != rotated.KeyID || g[0].Phase != "active" {
				return fmt.Errorf("%+v", g)
			}
		}
		return nil
	})
	close(stop)
	running.Wait()
	if got := ask("SELECT count(*) || ' ' || max(detail) FROM audit_log WHERE action = 'ca.activate'"); got != "1 all 6 hosts have it" {
		t.Errorf("activated: %s", got)
	}
	if got := ask(`SELECT count(*) FROM audit_log l JOIN certificate c ON c.authority = l.authority AND c.serial = l.object_serial
		WHERE l.authority = 'cas' AND l.action IN ('crt.renew', 'crt.sign') AND l.seq > (SELECT max(seq) FROM audit_log WHERE action = 'ca.activate')
		AND c.ca_id <> (SELECT max(id) FROM ca_certificate WHERE authority = 'cas')`); got != "0" {
		t.Errorf("%s certificates are by the one before", got)
	}
	// What is on record, by the one that was withdrawn, is exchanged by each of them.
	for i := len(s.daemons); i < len(hosts); i++ {
		h := hosts[i]
		a := anonymous.must(http.StatusOK, "PUT", s.daemons[i%len(s.daemons)].http()+"/cas/crt/renew", "application/json", renewal(t, parse(t, h.crt), h.key, newCSR(t, newKey(t), "x")))
		if crt := parse(t, a.body); hex.EncodeToString(crt.AuthorityKeyId) != rotated.KeyID {
			t.Errorf("exchanged for one of %x", crt.AuthorityKeyId)
		}
	}
	if got := ask("SELECT count(*) FROM ca_certificate WHERE authority = 'cas' AND state = 'compromised' AND key_ref IS NULL"); got != "1" {
		t.Errorf("%s are withdrawn", got)
	}
}
