package audit

import (
	"net"
	"net/netip"
)

// Network returns the network that limits for strangers are about: an IPv4 address alone, or the 64 bits of an
// IPv6 address that name a network, since whoever has one address of it has all of them. What is no address, with a port
// or without, is in the zero network.
func Network(address string) netip.Prefix {
	if host, _, err := net.SplitHostPort(address); err == nil {
		address = host
	}
	addr, err := netip.ParseAddr(address)
	if err != nil {
		return netip.Prefix{}
	}
	addr = addr.Unmap().WithZone("")
	bits := 32
	if addr.Is6() {
		bits = 64
	}
	network, _ := addr.Prefix(bits) // as many as there are
	return network
}
