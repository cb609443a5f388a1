// Package caucase is the front-end for the protocol of caucase: its routes for each authority, its
// signed envelopes, HAL pages, cross-origin consent, PEM, and the statuses of its errors. See
// docs/protocol.md, sections 2, 3, 8 and 9.
package caucase
