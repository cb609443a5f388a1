// Package fleet simulates a daemon and the hosts that depend on it, for decades, in tests only.
// Authorities, server and clients are the real ones; time, network and mishaps are not: the clock
// jumps from one event to the next, requests are function calls that may get lost on their way
// there or back, daemon and hosts are away for hours or for spans, the daemon restarts
// from its disk, certificates are revoked in all ways there are. An oracle records all that the
// daemon sends, and checks it, and the state of every host, against its own statement of the rules.
//
// In one of the histories two authorities are below a root, and most of their hosts verify each other by
// the root alone. They follow the authority for its lists and for their certificate, and show the
// chain behind that. The root changes as other CAs do, in spans of its own, which are longer than a CA
// certificate below it lives, so that no such certificate has to be cut short.
//
// In another one the root's key is kept offline, with a database of its own, and operators carry requests and
// answers with the commands for that: when they are asked, for several generations ahead, late, or
// when the last CA certificate has expired. The oracle knows what was signed off and installed, and when it was needed.
//
// All chance is from one seed, which a failure prints:
//
//	go test ./pkg/fleet -fleet.seed 7
//
// # What a host away for so long experiences
//
// Counted in spans (the validity of an issued certificate), from the last time that the host
// completed an update of CA certificates, revocation lists and, when due, its certificate.
// In parentheses for the default span of 93 days.
//
//	at most 0.165 span (15 days)   Nothing. If it is only the daemon that it cannot reach, it goes on
//	                               accepting its peers, and they it.
//	at most a third (31 days)      Its revocation lists may have expired, so that verifiers on it that
//	                               insist on them refuse all peers until its next update. Its certificate is
//	                               valid, and renewed then.
//	at most 1 span (93 days)       Its certificate may have expired. Renewal is refused (400): it makes a new
//	                               request, for a user to sign. Its CA certificates are those that its peers'
//	                               certificates are from.
//	at most 2 spans (186 days)     Its peers may have certificates from a CA that it has not met. At its next
//	                               update it follows the chain to that CA, without an operator.
//	up to 4 spans (372 days)       As before if the newest CA certificate that it has is valid, else as below.
//	more                           All its CA certificates have expired (client.ErrNoAnchor). An operator
//	                               gives it the fingerprint of a current one (--ca-fingerprint); then it goes on
//	                               as before. 4 is the life of a CA certificate, in spans.
//
// # Why
//
// A revocation list lives 0.33 span and is replaced when half of that has passed. What is served
// therefore has at least 0.165 span left.
//
// A certificate is renewed when less than the threshold is left of it, here a third of a span. After
// an update at least that much is left.
//
// The CA that signs now has existed for more than a span. A host that has updated within the last
// span knows it, as it was in the chain then.
//
// A CA certificate gets its successor when it has two spans left, before the daemon answers
// anything else. The newest one that a host knows hence has two spans left at least, and its
// whole life at most, when the host leaves.
//
// # When the daemon is away
//
// Hosts that cannot reach the daemon are away, however many they are; all of the above holds. In
// addition, a daemon that is down when a successor is due makes it too late, by D. As the successor
// waits for one span all the same, certificates are cut short by the end of their CA, and may live
// only for 1 - D spans. As long as D is at most 2/3 of a span, this has no effect. Beyond
// that, certificates last less than the threshold, and when D is nearly a span or more they all end together
// with their CA, while hosts that are in touch with the daemon get nothing longer: a new request is due
// then.
package fleet
