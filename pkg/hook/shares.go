package hook

import (
	"net/netip"
	"sync"
)

// Of the calls that run at a time, one client may have these: whoever finds out what makes a hook hang has it hang for others no more.
const atOnceOfOne = atOnce / 2

// Shares are the places of a hook: for calls that run, and for those that wait. The more of them are taken, the fewer one client may have, so
// that there is always one for who has none. The zero value has all of them free.
type shares struct {
	mu    sync.Mutex
	taken int
	of    map[netip.Prefix]*share
}

// A share is what one client has of the places.
type share struct {
	taken   int
	running chan struct{} // a place for each call that runs
}

// clientOf is whoever has an address: all of a network of IPv6, which one host has to itself. There is none behind a Unix socket, where what is before the
// socket has to see to it.
func clientOf(address string) (client netip.Prefix, ok bool) {
	addr, err := netip.ParseAddr(address)
	if err != nil {
		return client, false
	}
	addr = addr.Unmap().WithZone("")
	bits := addr.BitLen()
	if addr.Is6() {
		bits = 64
	}
	client, err = addr.Prefix(bits)
	return client, err == nil
}

// enter takes a place, and returns what gives it back, and where that client's calls take turns; nil: it is nobody's in particular.
func (s *shares) enter(address string) (leave func(), turns chan struct{}, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	free := atOnce + waiting - s.taken
	if free == 0 {
		return nil, nil, false
	}
	client, known := clientOf(address)
	if !known {
		s.taken++
		return func() { s.leave(client, nil) }, nil, true
	}
	one := s.of[client]
	if one == nil {
		one = &share{running: make(chan struct{}, atOnceOfOne)}
	}
	if one.taken >= free {
		return nil, nil, false
	}
	if s.of == nil {
		s.of = map[netip.Prefix]*share{}
	}
	s.of[client] = one
	s.taken++
	one.taken++
	return func() { s.leave(client, one) }, one.running, true
}

func (s *shares) leave(client netip.Prefix, one *share) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.taken--
	if one == nil {
		return
	}
	if one.taken--; one.taken == 0 {
		delete(s.of, client)
	}
}

// count is how many places are taken.
func (s *shares) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.taken
}
