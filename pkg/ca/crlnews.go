package ca

import "sync"

// news tells whoever waits that something has changed.
type news struct {
	mu   sync.Mutex
	next chan struct{} // nil while nobody waits
}

// wait returns a channel that is closed at the next change.
func (n *news) wait() <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.next == nil {
		n.next = make(chan struct{})
	}
	return n.next
}

func (n *news) publish() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.next != nil {
		close(n.next)
		n.next = nil
	}
}

// ListsChanged returns a channel that is closed when other revocation lists are served than when it was called, or none
// any more by this Authority. Whoever asks for it before looking at the lists misses nothing.
func (a *Authority) ListsChanged() <-chan struct{} { return a.crls.news.wait() }
