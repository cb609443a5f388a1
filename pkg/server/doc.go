// Package server is the engine under every protocol of the daemon: listeners and TLS, limits, the
// router with its permissions, request ids, the access log, health. It knows no protocol and no
// authority: those are a FrontEnd's, which declares its routes here and decides what they mean.
//
// A request passes these stages, in this order. The order shows on the wire:
//
//  1. route: unknown path 404, known path with another method 405, OPTIONS
//  2. origin: what the route says of requests that a page from elsewhere makes a browser send
//  3. input: path parameters, content type, size and syntax of the body: 400, 413, 415
//  4. authorization: 401
//  5. the operation itself
//
// The input is looked at before the sender is, because the reference does so.
package server
