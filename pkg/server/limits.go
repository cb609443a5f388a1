package server

import (
	"syscall"
	"time"
)

// Limits bound what peers may have the daemon do and hold. A zero Limits has the defaults, and no limits on the
// rates of writes and handshakes.
type Limits struct {
	// Connections is how many there may be at a time on all listeners together. There are fewer where
	// the process may not open as many files.
	Connections int
	// PerAddress is how many of them one address may have, and which part of all else. What an address is, see
	// peer.
	PerAddress int
	// WriteRate is how many requests that write one address may send in a minute without showing a user's
	// certificate, in the long run. 0: any number.
	WriteRate int
	// WriteBurst is how many of those may come at once. 0: as many as in a minute.
	WriteBurst int
	// HandshakeRate is how many TLS handshakes one address may have in a minute, all at once or not. Some more wait
	// in line. 0: any number.
	HandshakeRate int
	// Waiting is how many requests may wait for news at a time, beside all others; their connections do not
	// count as such. 0: DefaultWaiting.
	Waiting int
}

// DefaultConnections is how many connections there may be unless a Limits says otherwise.
const DefaultConnections = 512

// addressPart is the part of all connections, handlers and bodies that one address may have.
const addressPart = 4

const (
	// maxHandlers bounds the requests that are being answered. Each costs two stacks, its header and
	// what it has received; what it is waiting for is mostly a slow peer.
	maxHandlers = 256
	// maxUserHandlers is beside those, for users alone: whatever strangers do, there is room for whom
	// they are to be refused by.
	maxUserHandlers = 64
	// maxBodies bounds what is held of bodies that are being received, in bytes, for strangers and once
	// more for users.
	maxBodies = 16 << 20

	// maxHeaderBytes bounds a request's header.
	maxHeaderBytes = 16 << 10
	// maxStreams bounds what one HTTP/2 connection can have us do at once.
	maxStreams = 16
	// maxHandshake bounds what a peer may send before the handshake is done. The largest part is its
	// certificates, which the standard library would take 256 KiB of.
	maxHandshake = 48 << 10
	// maxUnanswered bounds what is read of a connection while the peer does not take what is written to
	// it. All that a peer has to say then is that it has room again; the answers to anything else would pile up.
	maxUnanswered = 16 << 10
)

const (
	// reservedFiles are for all but connections: the database and its readers, files
	// that are replaced, name resolution.
	reservedFiles = 40
	// minConnections there are in any case.
	minConnections = 4
)

// A ceiling is what there may be of something, of all peers together and of one address.
type ceiling struct{ total, perAddress int64 }

// ceilings are those that follow from the limits where so many files may be open.
func (l Limits) ceilings(files uint64) [resources]ceiling {
	connections := int64(l.Connections)
	if connections <= 0 {
		connections = DefaultConnections
	}
	connections = max(min(connections, int64(min(files, 1<<30))-reservedFiles), minConnections)
	waiting := int64(l.Waiting)
	if waiting <= 0 {
		waiting = DefaultWaiting
	}
	waiting = max(min(waiting, int64(min(files, 1<<30))-reservedFiles-connections), 0)
	perAddress := int64(l.PerAddress)
	if perAddress <= 0 {
		perAddress = max(connections/addressPart, 1)
	}
	perAddress = min(perAddress, connections)
	part := func(of, least int64) ceiling { return ceiling{of, max(of*perAddress/connections, least)} }
	return [resources]ceiling{
		ofWaiting:     {waiting, max(waiting/addressPart, 1)},
		ofConnections: {connections, perAddress}, ofHandlers: part(maxHandlers, maxStreams), ofBodies: part(maxBodies, 2<<20),
	}
}

// openFiles is how many files the process may have open.
func openFiles() uint64 {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 1024 // what it is on most systems
	}
	return uint64(limit.Cur)
}

// A pace is how fast a transfer has to be: after the grace at least rate bytes a second on average,
// and never without progress for longer than stall.
type pace struct {
	grace, stall time.Duration
	rate         int64 // bytes per second
}

// deadline is when the next bytes have to have moved of a transfer that began at start and has moved
// so many.
func (p pace) deadline(now, start time.Time, moved int64) time.Time {
	due := start.Add(p.grace + time.Duration(moved)*time.Second/time.Duration(p.rate))
	if stalled := now.Add(p.stall); stalled.Before(due) {
		return stalled
	}
	return due
}

// timeouts bound how long a connection may take for what.
type timeouts struct {
	header time.Duration // and for the TLS handshake
	idle   time.Duration
	// exchange is for whatever moves without a pace: what is left of a body that nobody wants, the
	// standard library's own answers.
	exchange    time.Duration
	body, reply pace
}

func defaultTimeouts() timeouts {
	return timeouts{
		header:   10 * time.Second,
		idle:     2 * time.Minute,
		exchange: 2 * time.Minute,
		body:     pace{grace: 10 * time.Second, stall: 10 * time.Second, rate: 1 << 10},
		// A revocation list of megabytes over a slow line takes its time.
		reply: pace{grace: 30 * time.Second, stall: 20 * time.Second, rate: 4 << 10},
	}
}
