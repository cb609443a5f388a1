package proof

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
)

const (
	// reverseTime bounds how long the names of an address are looked for.
	reverseTime = 3 * time.Second
	// maxReverse bounds how many names of an address are looked at, each of which is one more question.
	maxReverse = 8
	// maxLookups bounds how many addresses are looked up at a time: those of strangers lead to name servers of strangers, which need not answer.
	maxLookups = 32
	// maxOfNetwork is how many of these may be of one network, which is somebody's as a whole: others are looked up beside them.
	maxOfNetwork = 8
)

// ErrNoAnswer says that the name servers have not told what an address is called, so that nobody knows.
var ErrNoAnswer = errors.New("the names of the address cannot be looked up")

// A Resolver asks name servers, as [net.Resolver] does.
type Resolver interface {
	LookupAddr(ctx context.Context, addr string) ([]string, error)
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// ResolverAt returns one that asks a certain name server, ADDRESS:PORT, or those of the system if that is empty.
func ResolverAt(server string) Resolver {
	if server == "" {
		return net.DefaultResolver
	}
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, server)
	}}
}

// Reverse finds the names of addresses.
type Reverse struct {
	resolver Resolver
	busy     chan struct{}
	sharing  singleflight.Group // the same address is looked up once at a time

	mu       sync.Mutex
	networks map[netip.Prefix]*places // of which something is looked up, or waits for it
}

// Places of a network.
type places struct {
	taken chan struct{}
	users int // those who wait included
}

// NewReverse returns one that asks this resolver.
func NewReverse(r Resolver) *Reverse {
	return &Reverse{resolver: r, busy: make(chan struct{}, maxLookups), networks: map[netip.Prefix]*places{}}
}

// networkOf is the network whose addresses one owner is likely to have.
func networkOf(addr netip.Addr) netip.Prefix {
	bits := 24
	if addr.Is6() {
		bits = 48
	}
	network, _ := addr.Prefix(bits)
	return network
}

// enter waits for a place among the lookups of a network, until ctx ends, and returns what leaves it.
func (r *Reverse) enter(ctx context.Context, network netip.Prefix) (leave func(), ok bool) {
	r.mu.Lock()
	p := r.networks[network]
	if p == nil {
		p = &places{taken: make(chan struct{}, maxOfNetwork)}
		r.networks[network] = p
	}
	p.users++
	r.mu.Unlock()
	gone := func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if p.users--; p.users == 0 {
			delete(r.networks, network)
		}
	}
	select {
	case p.taken <- struct{}{}:
		return func() { <-p.taken; gone() }, true
	case <-ctx.Done():
		gone()
		return nil, false
	}
}

// Names returns the names that an address resolves to and that resolve back to it, in lower case, without the dot of the root, sorted. Whoever
// has an address can have it resolve to any name, but not that name to the address. If that cannot be found out now, the error is [ErrNoAnswer]: no names
// would be another answer.
func (r *Reverse) Names(ctx context.Context, text string) ([]string, error) {
	addr, err := netip.ParseAddr(text)
	if err != nil {
		return nil, nil // as on a Unix socket
	}
	addr = addr.Unmap().WithZone("")
	ctx, cancel := context.WithTimeout(ctx, reverseTime)
	defer cancel()
	// Who gives up does not end it for the others who wait for the same.
	result := r.sharing.DoChan(addr.String(), func() (any, error) {
		shared, cancel := context.WithTimeout(context.WithoutCancel(ctx), reverseTime)
		defer cancel()
		leave, ok := r.enter(shared, networkOf(addr))
		if !ok {
			return nil, fmt.Errorf("%w: too many others of its network are being looked up", ErrNoAnswer)
		}
		defer leave()
		select {
		case r.busy <- struct{}{}:
			defer func() { <-r.busy }()
		case <-shared.Done():
		}
		if shared.Err() != nil {
			return nil, fmt.Errorf("%w: too many others are being looked up", ErrNoAnswer)
		}
		return r.lookUp(shared, addr)
	})
	select {
	case got := <-result:
		names, _ := got.Val.([]string)
		return slices.Clone(names), got.Err
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", ErrNoAnswer, ctx.Err())
	}
}

func (r *Reverse) lookUp(ctx context.Context, addr netip.Addr) ([]string, error) {
	found, err := r.resolver.LookupAddr(ctx, addr.String())
	if err != nil && !isAnswer(err) && len(found) == 0 {
		return nil, noAnswer(err)
	}
	if len(found) > maxReverse {
		found = found[:maxReverse]
	}
	var names []string
	var failed error
	for _, name := range found {
		host, ok := hostName(name)
		if _, isAddress := address(host); !ok || isAddress || slices.Contains(names, host) {
			continue
		}
		// With the dot, so that no domain is appended.
		back, err := r.resolver.LookupNetIP(ctx, "ip", host+".")
		switch {
		case slices.ContainsFunc(back, func(a netip.Addr) bool { return a.Unmap().WithZone("") == addr }):
			names = append(names, host)
		case err != nil && !isAnswer(err):
			failed = err
		}
	}
	if len(names) == 0 && failed != nil {
		return nil, noAnswer(failed)
	}
	slices.Sort(names)
	return names, nil
}

// isAnswer reports whether an error is the answer that there is nothing.
func isAnswer(err error) bool {
	var dns *net.DNSError
	return errors.As(err, &dns) && dns.IsNotFound
}

func noAnswer(err error) error {
	var dns *net.DNSError
	if errors.As(err, &dns) {
		return fmt.Errorf("%w: %s", ErrNoAnswer, bounded(dns.Err)) // which server there is, is not for strangers
	}
	return fmt.Errorf("%w: %w", ErrNoAnswer, err)
}
