package updater

import (
	"context"
	"crypto/tls"
	"net/http"
	"strconv"
	"sync"
	"time"

	"cauase/pkg/client"
)

const (
	// talkers are how many jobs talk to one daemon at a time. Those of a host would otherwise all come at once when a network
	// comes back, and have more connections than a daemon grants an address.
	talkers = 8

	// longestHold is the longest time for which all jobs leave a daemon alone because one of them was asked to. Daemons that
	// have too much to do ask for seconds; whoever has used up what a certificate may have is alone with that.
	longestHold = time.Minute
)

// A network is what the jobs of a process share on the way to daemons: connections, answers, and the time for which a daemon
// wants to be left alone.
type network struct {
	next   http.RoundTripper
	secure func(*tls.Config) http.RoundTripper

	mu      sync.Mutex
	daemons map[string]*daemon // by base URL; those that somebody talks to
	held    map[string]*hold   // by base URL
	down    map[string]bool    // those that could not be reached, by base URL
	moment  uint64             // counts what happens, so that it can be said what came before what
}

// A daemon is one that jobs talk to, or wait to.
type daemon struct {
	slots   chan struct{}
	users   int
	answers map[string]*answer // by request
}

func newNetwork(o *Options) *network {
	n := &network{daemons: map[string]*daemon{}, held: map[string]*hold{}, down: map[string]bool{}}
	if o.Transport != nil {
		n.next, n.secure = o.Transport(nil), o.Transport
		return n
	}
	transport := client.NewTransport(nil)
	transport.MaxIdleConnsPerHost = talkers
	n.next, n.secure = transport, func(config *tls.Config) http.RoundTripper { return client.NewTransport(config) }
	return n
}

// transport is what clients send requests with. Over TLS there are few: that is for the first certificate of a newcomer.
func (n *network) transport(config *tls.Config) http.RoundTripper {
	if config == nil {
		return n
	}
	return n.secure(config)
}

// A talk is one job's with a daemon.
type talk struct {
	daemon *daemon
	began  uint64 // when the job asked for it, which may be long before it gets to it
}

type talkKey struct{}

// talk waits until a job may talk to a daemon, and returns the context to do so with, and what ends it. What the job asks
// for need not be asked for again if somebody has done so since it began to wait.
func (n *network) talk(ctx context.Context, url string) (context.Context, func()) {
	n.mu.Lock()
	d := n.daemons[url]
	if d == nil {
		d = &daemon{slots: make(chan struct{}, talkers), answers: map[string]*answer{}}
		n.daemons[url] = d
	}
	d.users++
	n.moment++
	t := &talk{daemon: d, began: n.moment}
	n.mu.Unlock()
	leave := func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		if d.users--; d.users == 0 {
			delete(n.daemons, url) // with the answers
		}
	}
	select {
	case d.slots <- struct{}{}:
	case <-ctx.Done():
		return ctx, leave
	}
	n.rest(ctx, url)
	return context.WithValue(ctx, talkKey{}, t), func() {
		<-d.slots
		leave()
	}
}

// afresh returns the context to go on with in a talk, in which what was answered so far is asked for again: between two answers
// the daemon may have changed.
func (n *network) afresh(ctx context.Context) context.Context {
	t, talking := ctx.Value(talkKey{}).(*talk)
	if !talking {
		return ctx
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.moment++
	return context.WithValue(ctx, talkKey{}, &talk{daemon: t.daemon, began: n.moment})
}

// rest waits as long as a daemon wants to be left alone.
func (n *network) rest(ctx context.Context, url string) {
	for {
		n.mu.Lock()
		h := n.held[url]
		n.mu.Unlock()
		if h == nil {
			return
		}
		select {
		case <-h.over:
		case <-ctx.Done():
			return
		}
	}
}

// A hold is a time for which a daemon wants to be left alone.
type hold struct{ over chan struct{} }

// heed has all jobs leave a daemon alone if its answer asks for that.
func (n *network) heed(r *http.Request, answer *http.Response) {
	if answer.StatusCode != http.StatusTooManyRequests && answer.StatusCode != http.StatusServiceUnavailable {
		return
	}
	seconds, err := strconv.ParseUint(answer.Header.Get("Retry-After"), 10, 31)
	pause := time.Duration(seconds) * time.Second //nolint:gosec // 31 bits
	if err != nil || pause <= 0 || pause > longestHold {
		return
	}
	url, h := r.URL.Scheme+"://"+r.URL.Host, &hold{make(chan struct{})}
	n.mu.Lock()
	n.held[url] = h // which was asked for last, and ends last
	n.mu.Unlock()
	time.AfterFunc(pause, func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		if n.held[url] == h {
			delete(n.held, url)
		}
		close(h.over)
	})
}

// lost notes that a daemon could not be reached.
func (n *network) lost(url string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.down[url] = true
}

// found notes that a daemon was reached, and reports whether that is news.
func (n *network) found(url string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	news := n.down[url]
	delete(n.down, url)
	return news
}

// RoundTrip sends a request, or hands on the answer to the same one.
func (n *network) RoundTrip(r *http.Request) (*http.Response, error) {
	if t, talking := r.Context().Value(talkKey{}).(*talk); talking && shareable(r) {
		return n.shared(t, r)
	}
	return n.send(r)
}

func (n *network) send(r *http.Request) (*http.Response, error) {
	answer, err := n.next.RoundTrip(r)
	if err == nil {
		n.heed(r, answer)
	}
	return answer, err
}

// CloseIdleConnections leaves them to the other jobs; they end by themselves.
func (n *network) CloseIdleConnections() {}

// close ends connections that nothing is sent on.
func (n *network) close() { (&http.Client{Transport: n.next}).CloseIdleConnections() }
