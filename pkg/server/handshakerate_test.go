package server

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"cauase/pkg/testkit/pkitest"
)

var someTime = time.Date(2031, 5, 1, 12, 0, 0, 0, time.UTC)

// admitted counts what becomes of so many handshakes of one address at once.
func admitted(h *handshakeRate, address string, count int) (atOnce, later, refused int) {
	for range count {
		switch wait, ok := h.turn(address, someTime); {
		case !ok:
			refused++
		case wait > 0:
			later++
		default:
			atOnce++
		}
	}
	return atOnce, later, refused
}

func TestHandshakesOfOneAddress(t *testing.T) {
	h := newHandshakeRate(Limits{HandshakeRate: 600})
	// A fleet behind one address that starts at once is served; a flood is not, but for what its line holds.
	if atOnce, later, refused := admitted(h, "192.0.2.1:1", 600); atOnce != 600 || later+refused != 0 {
		t.Errorf("of a fleet %d at once, %d later, %d refused", atOnce, later, refused)
	}
	if atOnce, later, refused := admitted(h, "192.0.2.1:2", 5000); atOnce != 0 || later != 20 || refused != 4980 {
		t.Errorf("of a flood %d at once, %d later, %d refused", atOnce, later, refused)
	}
	if atOnce, _, _ := admitted(h, "192.0.2.2:1", 10); atOnce != 10 {
		t.Errorf("another address: %d", atOnce)
	}
	// All addresses of an IPv6 network of 64 bits are one.
	for n := range 600 {
		h.turn(fmt.Sprintf("[2001:db8::%x]:1", n), someTime)
	}
	if atOnce, _, _ := admitted(h, "[2001:db8::ffff:1]:1", 10); atOnce != 0 {
		t.Errorf("a new one: %d", atOnce)
	}
	// It grows back.
	if wait, ok := h.turn("192.0.2.1:1", someTime.Add(time.Minute)); !ok || wait != 0 {
		t.Errorf("a minute later: %v %v", wait, ok)
	}
}

// TestHandshakesOfUsers: the address that a user has come from has its own, whoever floods, from its network or all others.
func TestHandshakesOfUsers(t *testing.T) {
	h := newHandshakeRate(Limits{HandshakeRate: 60})
	const user = "[2001:db8::1]:5"
	h.know(user, someTime)
	admitted(h, "[2001:db8::2]:1", 1000)
	for n := range 10_000 {
		admitted(h, fmt.Sprintf("10.0.%d.%d:1", n/250, n%250), 10)
	}
	if _, ok := h.turn("[2001:db8::3]:1", someTime); ok {
		t.Error("the network has not been flooded")
	}
	if _, ok := h.turn("192.0.2.1:1", someTime); ok {
		t.Error("nor have all together")
	}
	if wait, ok := h.turn(user, someTime); !ok || wait != 0 {
		t.Errorf("the user: %v %v", wait, ok)
	}
	if _, known := h.knows(user, someTime.Add(knownUserLife+1)); known {
		t.Error("is remembered for ever")
	}
}

// TestRareAddressesAmongHandshakes: there is something left for who hardly ever comes while others use up what all have.
func TestRareAddressesAmongHandshakes(t *testing.T) {
	h := newHandshakeRate(Limits{HandshakeRate: 60})
	for n := range 10 {
		admitted(h, fmt.Sprintf("10.0.0.%d:1", n), 60)
	}
	if _, ok := h.turn("10.0.0.9:1", someTime); ok {
		t.Error("the others have something left")
	}
	if wait, ok := h.turn("192.0.2.1:1", someTime); !ok || wait != 0 {
		t.Errorf("who comes for the first time: %v %v", wait, ok)
	}
}

func TestKnownUsersAreBounded(t *testing.T) {
	h := newHandshakeRate(Limits{HandshakeRate: 60})
	for n := range maxKnownUsers + 100 {
		h.know(fmt.Sprintf("10.0.%d.%d:1", n/250, n%250), someTime.Add(time.Duration(n)))
	}
	if _, known := h.knows("10.0.0.0:1", someTime); known || len(h.known) != maxKnownUsers {
		t.Errorf("%d, the oldest: %v", len(h.known), known)
	}
	h.know("nonsense", someTime)
	if _, known := h.knows("nonsense", someTime); known {
		t.Error("what is no address is known")
	}
}

// TestHandshakeFlood is for real connections: those beyond the limit are closed before anything is read of them, and a user
// has handshakes left where strangers have none.
func TestHandshakeFlood(t *testing.T) {
	key := pkitest.Key(t)
	user := pkitest.NewCA(t, "users", now().Add(-time.Hour), now().Add(time.Hour)).Issue(t, "alice", key.Public())
	protocol := &shop{routes: []Route{say("GET", "", Anyone)}}
	protocol.allow(user)
	reasons := make(chan string, 1000)
	s := newSite(t, func(c *Config) {
		c.FrontEnds = []FrontEnd{protocol}
		c.Limits = Limits{HandshakeRate: 4} // a minute: no turn comes while anybody waits in line
		c.Limited = func(reason string) { reasons <- reason }
	})
	asks := func(certificates ...tls.Certificate) error {
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{
			InsecureSkipVerify: true, Certificates: certificates}}} //nolint:gosec // whose it is does not matter here
		response, err := client.Get("https://" + s.httpsAddr + "/")
		if err != nil {
			return err
		}
		defer response.Body.Close()
		_, err = io.Copy(io.Discard, response.Body)
		return err
	}
	if err := asks(tls.Certificate{Certificate: [][]byte{user.Raw}, PrivateKey: key}); err != nil {
		t.Fatal(err)
	}
	for range 7 { // three of strangers, and four of the address that a user has come from
		if err := asks(); err != nil {
			t.Fatal(err)
		}
	}
	conn, err := net.Dial("tcp", s.httpsAddr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if n, err := conn.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Errorf("read %d bytes, %v", n, err)
	}
	if got := <-reasons; got != "handshakes_refused" {
		t.Errorf("counted as %s", got)
	}
}
