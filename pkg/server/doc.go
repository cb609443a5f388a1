// Package server speaks the protocol over HTTP: it finds the route of a request, decides
// whether its sender may call it, hands what was sent to an authority, and turns the
// answer, or the error, into a response. See docs/protocol.md, sections 1, 2, 3, 8 and 9.
//
// A request passes these stages, in this order. The order shows on the wire:
//
//  1. route: unknown path 404, known path with another method 405, OPTIONS 204
//  2. origin: a browser's page from elsewhere needs its user's consent (CORS)
//  3. input: path parameter, content type, size and syntax of the body: 400, 413, 415
//  4. authorization: 401
//  5. the operation itself
//
// The input is looked at before the sender is, because the reference does so.
package server
