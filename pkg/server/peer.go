package server

import (
	"net/netip"

	"cauase/pkg/audit"
)

// A peer is whom limits per address are about, see audit.Network.
type peer netip.Prefix

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

// unknownPeer is for what comes from no address.
var unknownPeer peer

// peerOf returns the peer at an address, with a port or without.
func peerOf(address string) peer { return peer(audit.Network(address)) }
