package server

import (
	"net"
	"net/netip"
)

// A peer is whom limits per address are about: an IPv4 address, or the 64 bits of an IPv6 address that name
// a network, since whoever has one address of it has all of them.
type peer netip.Prefix

// unknownPeer is for connections that do not say where they come from.
var unknownPeer peer

func (p peer) String() string {
	prefix := netip.Prefix(p)
	switch {
	case !prefix.IsValid():
		return "unknown"
	case prefix.IsSingleIP():
		return prefix.Addr().String()
	}
	return prefix.String()
}

// peerOf returns the peer at an address, with a port or without.
func peerOf(address string) peer {
	if host, _, err := net.SplitHostPort(address); err == nil {
		address = host
	}
	addr, err := netip.ParseAddr(address)
	if err != nil {
		return unknownPeer
	}
	addr = addr.Unmap().WithZone("")
	bits := 32
	if addr.Is6() {
		bits = 64
	}
	prefix, err := addr.Prefix(bits)
	if err != nil {
		return unknownPeer
	}
	return peer(prefix)
}
