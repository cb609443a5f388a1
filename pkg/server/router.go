package server

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"cauase/pkg/audit"
)

// access says who may call a route. Its zero value is nobody: a route that does not
// declare its callers is refused when the table is built, and again when it is called.
type access int

const (
	undeclared access = iota
	// anyone may read what is public and submit what waits for a decision.
	anyone
	// holder proves in the message itself that it has a certificate's key. The
	// authority verifies that.
	holder
	// user shows a certificate of the user authority over TLS.
	user
	// holderOrUser is either of the two; the message tells which, and the route's
	// prepare settles it.
	holderOrUser
)

// originRule says what becomes of a request that a page from elsewhere makes a browser send.
type originRule int

const (
	// consent: only if the browser's user has agreed, see cors.go.
	consent originRule = iota
	// always: the answer is public and is where a page starts.
	always
	// aside: cross-origin rules are not applied, and no page elsewhere can read the answer.
	aside
)

// prepare reads and checks what was sent, before it is known who sent it. What it
// returns runs once the sender is authorized.
type prepare func(x *exchange) (perform, error)

// perform does what was asked for, on behalf of actor, and answers.
type perform func(ctx context.Context, actor audit.Actor) error

// A route is one operation. Its path is a list of components; the last may be "{…}",
// which stands for any one component.
type route struct {
	method  string
	path    string
	access  access
	origin  originRule
	prepare prepare

	authority Authority // of the paths under /cau and /cas
	voucher   Voucher
}

// node is a place in the tree that the literal components of all routes form. The
// deepest node on a request's way decides which methods are allowed, as it does in the
// reference: on /cas/csr/1/2 those of /cas/csr, on /nope those of /.
type node struct {
	children map[string]*node
	routes   []*route
	methods  []string // of all routes here, OPTIONS last
}

// methodOrder is the order in which Allow lists methods.
var methodOrder = [...]string{http.MethodGet, http.MethodPut, http.MethodPost, http.MethodDelete}

// newRouter builds the tree. It refuses a table in which something is undeclared, double
// or unknown.
func newRouter(routes []route) (*node, error) {
	root := &node{}
	for i := range routes {
		if err := root.add(&routes[i]); err != nil {
			return nil, fmt.Errorf("route %s /%s: %w", routes[i].method, routes[i].path, err)
		}
	}
	root.seal()
	return root, nil
}

func (n *node) add(r *route) error {
	switch {
	case r.access == undeclared:
		return fmt.Errorf("does not declare who may call it")
	case r.prepare == nil:
		return fmt.Errorf("has no handler")
	case !slices.Contains(methodOrder[:], r.method):
		return fmt.Errorf("unknown method")
	}
	for _, c := range components(r.path) {
		if isParameter(c) {
			break
		}
		if n.children == nil {
			n.children = make(map[string]*node)
		}
		if n.children[c] == nil {
			n.children[c] = &node{}
		}
		n = n.children[c]
	}
	if n.find(r.method, r.parameters()) != nil {
		return fmt.Errorf("exists already")
	}
	n.routes = append(n.routes, r)
	return nil
}

// seal computes the methods of n and all below it.
func (n *node) seal() {
	for _, method := range methodOrder {
		if slices.ContainsFunc(n.routes, func(r *route) bool { return r.method == method }) {
			n.methods = append(n.methods, method)
		}
	}
	n.methods = append(n.methods, http.MethodOptions)
	for _, child := range n.children {
		child.seal()
	}
}

// deepest follows path as far as there are nodes, and returns what is left of it.
func (n *node) deepest(path []string) (*node, []string) {
	for i, c := range path {
		child, ok := n.children[c]
		if !ok {
			return n, path[i:]
		}
		n = child
	}
	return n, nil
}

// find returns the route for method with so many parameters, or nil.
func (n *node) find(method string, parameters int) *route {
	for _, r := range n.routes {
		if r.method == method && r.parameters() == parameters {
			return r
		}
	}
	return nil
}

func (n *node) allow() string { return strings.Join(n.methods, ", ") }

func (r *route) parameters() int { return strings.Count(r.path, "{") }

func isParameter(component string) bool { return strings.HasPrefix(component, "{") }

// components splits a decoded path. Empty components do not count, and "." and ".." are
// names like any other: nothing here is a directory.
func components(path string) []string {
	return strings.FieldsFunc(path, func(r rune) bool { return r == '/' })
}
