package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// Listeners are the open sockets of a daemon, on which nothing answers yet. Opening them
// comes first when a daemon starts: of two that want the same port only one goes further.
type Listeners struct {
	HTTP, HTTPS []net.Listener
	Unix        []net.Listener // sockets in the file system, for HTTP
}

// Listen opens a socket for HTTP on port, and one for HTTPS on the port that goes with
// it, on each address of hosts: IP addresses, IPv6 with or without brackets, or names,
// which stand for everything they resolve to. Port 0 lets the system choose both.
//
// A name may well resolve to an address of a family that this machine does not use, as
// localhost often does; nor need there be IPv6 where :: is given. Such addresses are left out, as long as one remains.
func Listen(ctx context.Context, log *slog.Logger, hosts []string, port int) (_ *Listeners, err error) {
	l := &Listeners{}
	defer func() {
		if err != nil {
			l.Close()
		}
	}()
	var seen []netip.Addr
	var unused error // of a wildcard address
	for _, host := range hosts {
		addrs, isName, err := resolve(ctx, host)
		if err != nil {
			return nil, fmt.Errorf("address %q: %w", host, err)
		}
		var missing error
		opened := false
		for _, addr := range addrs {
			if slices.Contains(seen, addr) {
				opened = true
				continue
			}
			err := l.open(ctx, addr, port)
			if (isName || addr.IsUnspecified()) && isNotHere(err) {
				missing = err
				log.WarnContext(ctx, "address left out", "host", host, "address", addr.String(), "error", err)
				continue
			}
			if err != nil {
				return nil, err
			}
			seen = append(seen, addr)
			opened = true
		}
		if isName && onLoopbackOnly(host, addrs) {
			// Debian's /etc/hosts has the machine's own name at 127.0.1.1.
			log.WarnContext(ctx, "listening on loopback only: other machines cannot connect", "host", host, "addresses", fmt.Sprint(addrs),
				"hint", "the name resolves to loopback here, as in /etc/hosts; --bind 0.0.0.0 --bind :: listens on all addresses")
		}
		if !opened {
			unused = fmt.Errorf("none of the addresses of %q can be used: %w", host, missing)
			if isName {
				return nil, unused
			}
		}
	}
	if len(l.HTTP) == 0 && len(hosts) > 0 {
		return nil, unused
	}
	return l, nil
}

// resolve returns the addresses of host, and whether it is a name.
func resolve(ctx context.Context, host string) (addrs []netip.Addr, isName bool, err error) {
	literal := host
	if strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]") {
		literal = host[1 : len(host)-1]
	}
	if addr, err := netip.ParseAddr(literal); err == nil {
		return []netip.Addr{addr.Unmap()}, false, nil
	}
	if err := checkHost(host); err != nil {
		return nil, true, err
	}
	addrs, err = net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, true, err
	}
	for i := range addrs {
		addrs[i] = addrs[i].Unmap()
	}
	if len(addrs) == 0 {
		return nil, true, errors.New("has no address")
	}
	return addrs, true, nil
}

// isLocalName reports whether a name is meant to stand for this machine only (RFC 6761, 6.3).
func isLocalName(host string) bool {
	host = strings.ToLower(host)
	return host == "localhost" || strings.HasSuffix(host, ".localhost")
}

// onLoopbackOnly reports whether a name that does not mean this machine by definition resolves to nothing else.
func onLoopbackOnly(host string, addrs []netip.Addr) bool {
	return !isLocalName(host) && !slices.ContainsFunc(addrs, func(a netip.Addr) bool { return !a.IsLoopback() })
}

// isNotHere tells whether err means that this machine does not have the address.
func isNotHere(err error) bool {
	return errors.Is(err, syscall.EADDRNOTAVAIL) || errors.Is(err, syscall.EAFNOSUPPORT)
}

// open opens both sockets on addr. Those of IPv6 are for IPv6 only, so that an IPv4
// address beside them is a socket of its own.
func (l *Listeners) open(ctx context.Context, addr netip.Addr, port int) error {
	network := "tcp4"
	if addr.Is6() {
		network = "tcp6"
	}
	httpsPort := HTTPSPort(port)
	if port == 0 {
		httpsPort = 0
	}
	var config net.ListenConfig
	plain, err := config.Listen(ctx, network, net.JoinHostPort(addr.String(), strconv.Itoa(port)))
	if err != nil {
		return err
	}
	l.HTTP = append(l.HTTP, plain)
	secure, err := config.Listen(ctx, network, net.JoinHostPort(addr.String(), strconv.Itoa(httpsPort)))
	if err != nil {
		return err
	}
	l.HTTPS = append(l.HTTPS, secure)
	return nil
}

// Close closes all sockets. Closing them twice does no harm.
func (l *Listeners) Close() {
	for _, one := range slices.Concat(l.HTTP, l.HTTPS, l.Unix) {
		_ = one.Close()
	}
}
