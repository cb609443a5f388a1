package updater

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"net/http"
	"path"
	"strings"

	"cauase/pkg/pki"
)

// An answer is what a daemon has said, for all jobs that asked for it before it was asked.
type answer struct {
	began uint64 // when the daemon was asked
	known chan struct{}

	// After that:
	response *http.Response
	body     []byte
	cut      error // after the body
	err      error // instead of a response
	lost     bool  // as whoever asked has left
}

// shareable reports whether a request is one for CA certificates, what vouches for them, revocation lists, or a checkpoint of the log:
// those are the same for all jobs, the last for those that keep the same.
func shareable(r *http.Request) bool {
	name := path.Base(r.URL.Path)
	if r.Method == http.MethodGet && name == "checkpoint" {
		return r.Header.Get("Cache-Control") == ""
	}
	if r.Method != http.MethodGet || r.URL.RawQuery != "" {
		return false
	}
	return name == "crl" || path.Ext(name) == ".pem" || path.Ext(name) == ".json"
}

// requestKey is the same for requests with the same answer.
func requestKey(r *http.Request) string {
	var key strings.Builder
	key.WriteString(r.URL.String() + "\n")
	_ = r.Header.Write(&key) // in alphabetical order
	return key.String()
}

// shared sends a request, unless somebody has sent the same one since this job began to ask. So all jobs that wait when a
// network comes back are served by one answer, or refused by one failure.
func (n *network) shared(t *talk, r *http.Request) (*http.Response, error) {
	key := requestKey(r)
	for {
		n.mu.Lock()
		a := t.daemon.answers[key]
		if a == nil || a.began <= t.began {
			n.moment++
			a = &answer{began: n.moment, known: make(chan struct{})}
			t.daemon.answers[key] = a
			n.mu.Unlock()
			n.ask(a, r)
			return a.to(r)
		}
		n.mu.Unlock()
		select {
		case <-a.known:
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
		if !a.lost {
			return a.to(r)
		}
		n.mu.Lock()
		if t.daemon.answers[key] == a {
			delete(t.daemon.answers, key)
		}
		n.mu.Unlock()
	}
}

// ask gets an answer from the daemon.
func (n *network) ask(a *answer, r *http.Request) {
	defer close(a.known)
	if a.response, a.err = n.send(r); a.err == nil {
		// One byte more than there can be shows that it is too long to whoever reads it.
		a.body, a.cut = io.ReadAll(io.LimitReader(a.response.Body, pki.MaxCRLSize+1))
		_ = a.response.Body.Close()
	}
	a.lost = (a.err != nil || a.cut != nil) && errors.Is(r.Context().Err(), context.Canceled)
}

// to is the answer to a request.
func (a *answer) to(r *http.Request) (*http.Response, error) {
	if a.err != nil {
		return nil, a.err
	}
	response := *a.response
	response.Request, response.Header = r, a.response.Header.Clone()
	response.Body = io.NopCloser(io.MultiReader(bytes.NewReader(a.body), ending{a.cut}))
	return &response, nil
}

// An ending is the end of an answer.
type ending struct{ err error }

func (e ending) Read([]byte) (int, error) { return 0, cmp.Or(e.err, io.EOF) }
