package server

import (
	"net/netip"
	"sync"
	"time"
)

// A handshake costs us a millisecond of a processor, and a peer that never means to finish it next to nothing.
// handshakeRate says who may have one: before anything of TLS has been read, so that refusing costs nothing either.
//
// Who is behind an address is not known yet, and an attacker may share a user's. So little is refused as can be: an
// address that has used up what it may do at once is made to wait in line, and only beyond the line turned
// away. An address from which a user has come has that for itself, even within an IPv6 network that an attacker is
// in, and is not bound by what all may have together. Of that a part is kept for addresses that have
// hardly come yet.
type handshakeRate struct {
	own, users, all, newcomers *buckets

	mu    sync.Mutex
	known map[netip.Addr]time.Time // addresses of users, and when one was last seen there
}

const (
	// handshakesTogether is how many times the rate of one address all have together.
	handshakesTogether = 20
	// newcomersPart is the part of that which is kept for newcomers beside it.
	newcomersPart = 2
	// firstHandshakes are those by which an address is a newcomer.
	firstHandshakes = 3
	// maxInLine is how long one may have to wait for a turn.
	maxInLine = 2 * time.Second

	// maxKnownUsers is how many addresses of users are remembered, and knownUserLife for how long.
	maxKnownUsers = 4096
	knownUserLife = 7 * 24 * time.Hour
)

// newHandshakeRate returns one for a rate per address and minute, nil if there is no limit.
func newHandshakeRate(l Limits) *handshakeRate {
	if l.HandshakeRate <= 0 {
		return nil
	}
	rate, burst := float64(l.HandshakeRate)/60, float64(l.HandshakeRate)
	return &handshakeRate{
		own: newBuckets(rate, burst, maxBuckets), users: newBuckets(rate, burst, maxKnownUsers),
		all:       newBuckets(rate*handshakesTogether, burst*handshakesTogether/4, 1),
		newcomers: newBuckets(rate*handshakesTogether/newcomersPart, burst*handshakesTogether/4/newcomersPart, 1),
		known:     make(map[netip.Addr]time.Time),
	}
}

// turn returns after what time an address may have a handshake, and whether it may at all.
func (h *handshakeRate) turn(address string, at time.Time) (wait time.Duration, ok bool) {
	if h == nil {
		return 0, true
	}
	if user, known := h.knows(address, at); known {
		if wait, _, ok := h.users.reserve(user, at, maxInLine); ok {
			return wait, true
		}
	}
	wait, used, ok := h.own.reserve(peerOf(address), at, maxInLine)
	if !ok {
		return 0, false
	}
	if used <= firstHandshakes {
		if more, _, ok := h.newcomers.reserve(unknownPeer, at, 0); ok {
			return wait + more, true
		}
	}
	more, _, ok := h.all.reserve(unknownPeer, at, maxInLine)
	return max(wait, more), ok
}

// knows reports whether a user has come from exactly this address lately.
func (h *handshakeRate) knows(address string, at time.Time) (peer, bool) {
	addr, ok := addrOf(address)
	if !ok {
		return unknownPeer, false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	seen, known := h.known[addr]
	if known && at.Sub(seen) > knownUserLife {
		delete(h.known, addr)
		known = false
	}
	return peer(netip.PrefixFrom(addr, addr.BitLen())), known
}

// know remembers that a user has come from this address.
func (h *handshakeRate) know(address string, at time.Time) {
	addr, ok := addrOf(address)
	if h == nil || !ok {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, known := h.known[addr]; !known && len(h.known) >= maxKnownUsers {
		var oldest netip.Addr
		for other, seen := range h.known {
			if !oldest.IsValid() || seen.Before(h.known[oldest]) {
				oldest = other
			}
		}
		delete(h.known, oldest)
	}
	h.known[addr] = at
}

// addrOf returns the address itself, of one with a port or without.
func addrOf(address string) (netip.Addr, bool) {
	if with, err := netip.ParseAddrPort(address); err == nil {
		return with.Addr().Unmap().WithZone(""), true
	}
	addr, err := netip.ParseAddr(address)
	return addr.Unmap().WithZone(""), err == nil
}
