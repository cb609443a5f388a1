package flood

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"
	"testing"
	"time"

	"cauase/pkg/store"
	"cauase/pkg/store/sqlstore"
	"cauase/pkg/testkit"
)

// waitingCost is what a thousand agents that wait may take, in bytes: two stacks and the standard library's buffers for each,
// and with TLS its state and what the handshakes have left behind. It is 27 and 50 MiB. Agents wait over HTTP.
var waitingCost = map[string]int64{"http": 30 << 20, "https": 60 << 20}

var (
	crlNumber   = regexp.MustCompile(`(?m)^cauase_crl_number\{authority="cas"\} (\S+)$`)
	waitingNow  = regexp.MustCompile(`(?m)^cauase_waiting (\S+)$`)
	connections = regexp.MustCompile(`(?m)^cauase_connections (\S+)$`)
)

// metric is the value of a metric of the daemon.
func metric(t *testing.T, address string, which *regexp.Regexp) int64 {
	t.Helper()
	_, page := testkit.Get(t, "http://"+address+"/metrics")
	found := which.FindStringSubmatch(page)
	if found == nil {
		t.Fatalf("%v is not in %s", which, page)
	}
	value, err := strconv.ParseFloat(found[1], 64)
	if err != nil {
		t.Fatal(err)
	}
	return int64(value)
}

// TestThoseWhoWaitGiveWay: agents that wait are no memory beside that of a crowd. They make room for it.
func TestThoseWhoWaitGiveWay(t *testing.T) {
	p := newPast(t, 10)
	port := testkit.FreePorts(t, 1)
	d := start(t, p.dir, 4096, "--metrics-bind", address(port))
	number := metric(t, address(port), crlNumber)
	m := newMob(t)
	each(1000, func(n int) {
		if c, err := d.connect("https", crowd(n%100)); err == nil {
			_, _ = fmt.Fprintf(c, "GET /cas/crl?after=%d&wait=60s HTTP/1.1\r\nHost: ca.example.org\r\n\r\n", number)
			m.hold(c, true)
		}
	})
	user := d.asks(p.user)
	each(2000, func(n int) {
		if err := d.stall(m, crowd(1000+n%100), 16, 0, "/cas/crt/ca.crt.json"); err != nil {
			return // it is up to the daemon
		}
	})
	d.settle()
	t.Logf("%d were cut off, %d wait", m.cutOff(), metric(t, address(port), waitingNow))
	user.served(t, "a user")
	d.stayedSmall(p.list)
}

// TestThousandAgentsWait: they cost little, keep nobody from being served, and all learn of a revocation that somebody
// else has put into the database.
func TestThousandAgentsWait(t *testing.T) {
	for scheme, most := range waitingCost {
		t.Run(scheme, func(t *testing.T) {
			// What they take, and not what the runtime has left lying about that one time: the least of a few counts.
			least := int64(math.MaxInt64)
			for range 4 {
				if least = min(least, agentsWait(t, scheme, 1000)); least <= most {
					return
				}
			}
			t.Errorf("1000 agents take %.1f MiB", mib(least))
		})
	}
}

// agentsWait has so many wait and then learn of a revocation, and returns how much memory they took.
func agentsWait(t *testing.T, scheme string, agents int) (cost int64) {
	p := newPast(t, 10)
	port := testkit.FreePorts(t, 1)
	d := start(t, p.dir, 4096, "--metrics-bind", address(port))
	number := metric(t, address(port), crlNumber)
	for range 200 { // whatever the first requests need is there
		if _, err := d.get("127.0.0.9", "/cas/crl"); err != nil {
			t.Fatal(err)
		}
	}
	before, _ := d.memory()

	var running sync.WaitGroup
	answers := make(chan string, agents)
	each(agents, func(n int) {
		c, err := d.connect(scheme, crowd(n%100))
		running.Go(func() { answers <- d.wait(c, err, scheme, crowd(n%100), number) })
		time.Sleep(100 * time.Millisecond) // a fleet, and no flood: 500 a second
	})
	for metric(t, address(port), waitingNow) < int64(agents) {
		select {
		case answer := <-answers:
			t.Fatalf("answered before there was anything to answer: %s", answer)
		case <-time.After(50 * time.Millisecond): // nothing tells of it but asking
		}
	}
	d.settle()
	after, _ := d.memory()
	t.Logf("%d agents: %.1f MiB, from %.1f to %.1f", agents, mib(after-before), mib(before), mib(after))
	if n := metric(t, address(port), connections); n > 5 {
		t.Errorf("they count as %d connections", n)
	}
	honest := d.stranger()

	db, err := sqlstore.Open(t.Context(), filepath.Join(p.dir, "cauase.sqlite"), sqlstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	began := time.Now()
	if err := db.Update(t.Context(), func(tx store.Tx) error { return revokeSome(t.Context(), tx, 1000, 1) }); err != nil {
		t.Fatal(err)
	}
	running.Wait()
	t.Logf("all were answered after %v", time.Since(began))
	counts := map[string]int{}
	for range agents {
		counts[<-answers]++
	}
	if counts["200"] != agents {
		t.Errorf("answers: %v", counts)
	}
	honest.served(t, "a stranger")
	return after - before
}

// wait has an agent on a connection wait for a newer list. Many come at once: some may be cut off or sent
// away before they wait, to make room for others, and come again, as agents do: the later the more often that happens,
// lest it is they who keep each other from waiting.
func (d *target) wait(c net.Conn, err error, scheme, ip string, after int64) (answer string) {
	for try := range 100 {
		if err == nil {
			_, _ = fmt.Fprintf(c, "GET /cas/crl?after=%d&wait=60s HTTP/1.1\r\nHost: ca.example.org\r\n\r\n", after)
			if answer = outcome(c); answer == "200" {
				return answer
			}
		} else {
			answer = err.Error()
		}
		time.Sleep(time.Duration(min(1+try, 20)) * 200 * time.Millisecond) // agents take their time, too
		c, err = d.connect(scheme, ip)
	}
	return answer
}

// connect opens a connection for HTTP/1.
func (d *target) connect(scheme, ip string) (net.Conn, error) {
	if scheme == "http" {
		return from(ip).Dial("tcp", d.http)
	}
	return tls.DialWithDialer(from(ip), "tcp", d.https, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // whose it is does not matter here
}

// outcome reads an answer, and returns its status or what is wrong with it.
func outcome(c net.Conn) string {
	defer c.Close()
	response, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return err.Error()
	}
	defer response.Body.Close()
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		return err.Error()
	}
	return strconv.Itoa(response.StatusCode)
}
