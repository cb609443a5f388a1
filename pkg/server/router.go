package server

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"cauase/pkg/audit"
)

// Access says who may call a route. Its zero value is nobody: a route that does not declare its
// callers is refused when the table is built, and again when it is called.
type Access int

// Who may call a route.
const (
	undeclared Access = iota
	// Anyone may read what is public and submit what waits for a decision.
	Anyone
	// Holder proves in the message itself that it has a certificate's key. The operation verifies that.
	Holder
	// User shows a certificate over TLS in which the front-end recognises somebody.
	User
	// HolderOrUser is either of the two; the message tells which, and the handler settles it with
	// Exchange.Narrow.
	HolderOrUser
)

// A Handler reads and checks what was sent, before it is known who sent it. What it returns runs
// once the sender is authorized.
type Handler func(x *Exchange) (Perform, error)

// A Perform does what was asked for, on behalf of actor, and answers.
type Perform func(ctx context.Context, actor audit.Actor) error

// A Route is one operation.
type Route struct {
	Method string
	// Path is a list of components. One that begins with a parameter, "{name}", stands for any
	// component that ends in what follows the brace.
	Path   string
	Access Access
	// Origin says what becomes of a request that a page from elsewhere made a browser send: an error
	// refuses it. Like Access, it must be declared.
	Origin  func(x *Exchange) error
	Handler Handler
	// Head has HEAD answered as well, where programs that look before they fetch know nothing of the protocol.
	Head bool

	routine  bool      // asked for all the time, by what looks whether we are well
	front    FrontEnd  // nil: the engine's own
	trailing []pattern // parameters at the end of Path that are no places of their own
	labels   *labels
}

// A pattern is a path component with a parameter.
type pattern struct{ name, suffix string }

func (p pattern) match(component string) bool { return strings.HasSuffix(component, p.suffix) }

func (p pattern) value(component string) string { return strings.TrimSuffix(component, p.suffix) }

// A node is a place in the tree that the components of all routes form, but for the parameters at
// their ends. The deepest node on a request's way decides which methods are allowed, as it does in
// the reference: on /cas/csr/1/2 those of /cas/csr, on /nope those of /.
type node struct {
	front    FrontEnd // in charge here
	children map[string]*node
	params   []*branch
	routes   []*Route
	methods  []string // of all routes here, OPTIONS last
}

// A branch is where a parameter leads that other components follow.
type branch struct {
	pattern
	front FrontEnd
	to    *node
}

// methodOrder is the order in which Allow lists methods.
var methodOrder = [...]string{http.MethodGet, http.MethodPut, http.MethodPost, http.MethodDelete}

// newRouter builds the tree. It refuses a table in which something is undeclared, double or
// unknown.
func newRouter(routes []Route) (*node, error) {
	root := &node{front: plain{}}
	wrong := func(r *Route, err error) error { return fmt.Errorf("route %s /%s: %w", r.Method, r.Path, err) }
	// First the places, so that a parameter at the end of one route finds that another goes on there.
	for i := range routes {
		r := &routes[i]
		if err := r.check(); err != nil {
			return nil, wrong(r, err)
		}
		root.grow(r)
	}
	for i := range routes {
		if err := root.add(&routes[i]); err != nil {
			return nil, wrong(&routes[i], err)
		}
	}
	root.seal()
	return root, nil
}

func (r *Route) check() error {
	switch {
	case r.Access == undeclared:
		return errors.New("does not declare who may call it")
	case r.Origin == nil:
		return errors.New("does not declare what pages from elsewhere may do")
	case r.Handler == nil:
		return errors.New("has no handler")
	case !slices.Contains(methodOrder[:], r.Method):
		return errors.New("unknown method")
	}
	seen := map[string]bool{}
	for _, c := range components(nil, r.Path) {
		switch p, isParameter, err := parsePattern(c); {
		case err != nil:
			return err
		case isParameter && seen[p.name]:
			return fmt.Errorf("two parameters are called %q", p.name)
		default:
			seen[p.name] = isParameter
		}
	}
	return nil
}

// parsePattern reads a component of a route's path, and reports whether it has a parameter.
func parsePattern(component string) (p pattern, isParameter bool, err error) {
	if !strings.ContainsAny(component, "{}") {
		return p, false, nil
	}
	name, suffix, found := strings.Cut(strings.TrimPrefix(component, "{"), "}")
	if component[0] != '{' || !found || name == "" || strings.ContainsAny(name+suffix, "{}") {
		return p, false, fmt.Errorf("%q is not a parameter", component)
	}
	return pattern{name, suffix}, true, nil
}

// grow makes the places on r's way: all components up to the last that is no parameter.
func (n *node) grow(r *Route) {
	way := components(nil, r.Path)
	for len(way) > 0 && strings.HasPrefix(way[len(way)-1], "{") {
		way = way[:len(way)-1]
	}
	for _, c := range way {
		n = n.next(r, c)
	}
}

// next returns the node to which a component of r's path leads, made if there is none.
func (n *node) next(r *Route, component string) *node {
	p, isParameter, _ := parsePattern(component) // checked
	if !isParameter {
		if n.children[component] == nil {
			if n.children == nil {
				n.children = make(map[string]*node)
			}
			n.children[component] = &node{front: r.front}
		}
		return n.children[component]
	}
	if b := n.branch(r, p); b != nil {
		return b.to
	}
	to := &node{front: r.front}
	n.params = append(n.params, &branch{pattern: p, front: r.front, to: to})
	return to
}

func (n *node) branch(r *Route, p pattern) *branch {
	for _, b := range n.params {
		if b.pattern == p && b.front == r.front {
			return b
		}
	}
	return nil
}

func (n *node) add(r *Route) error {
	r.labels = &labels{}
	for _, c := range components(nil, r.Path) {
		p, isParameter, _ := parsePattern(c)
		if len(r.trailing) == 0 && (!isParameter || n.branch(r, p) != nil) {
			n = n.next(r, c)
			continue
		}
		r.trailing = append(r.trailing, p)
	}
	for _, other := range n.routes {
		if other.Method == r.Method && slices.EqualFunc(other.trailing, r.trailing, func(a, b pattern) bool { return a.suffix == b.suffix }) {
			return errors.New("exists already")
		}
	}
	if r.front != nil && (len(n.routes) == 0 || n.front == nil) {
		n.front = r.front
	}
	n.routes = append(n.routes, r)
	return nil
}

// seal computes what follows from the routes, at n and all below it.
func (n *node) seal() {
	for _, method := range methodOrder {
		if slices.ContainsFunc(n.routes, func(r *Route) bool { return r.Method == method }) {
			n.methods = append(n.methods, method)
		}
	}
	n.methods = append(n.methods, http.MethodOptions)
	// Of two that match, the one which says more is meant.
	slices.SortStableFunc(n.routes, func(a, b *Route) int { return suffixes(b) - suffixes(a) })
	below := slices.Collect(maps.Values(n.children))
	for _, b := range n.params {
		below = append(below, b.to)
	}
	for _, child := range below {
		if child.front == nil {
			child.front = n.front
		}
		child.seal()
	}
}

func suffixes(r *Route) (length int) {
	for _, p := range r.trailing {
		length += len(p.suffix)
	}
	return length
}

// deepest follows path as far as there are nodes. It returns what is left of it, and what stood for
// the parameters on the way.
func (n *node) deepest(path []string, params parameters) (_ *node, rest []string, _ parameters) {
	for i, c := range path {
		next := n.children[c]
		if next == nil && i == len(path)-1 && n.ends(c) {
			return n, path[i:], params
		}
		for _, b := range n.params {
			if next == nil && b.match(c) && b.leads(b.value(c)) {
				next, params = b.to, append(params, parameter{b.name, b.value(c)})
			}
		}
		if next == nil {
			return n, path[i:], params
		}
		n = next
	}
	return n, nil, params
}

// ends reports whether a route ends here with a parameter that says more of c than one which leads on.
func (n *node) ends(c string) bool {
	return slices.ContainsFunc(n.routes, func(r *Route) bool {
		return len(r.trailing) == 1 && r.trailing[0].suffix != "" && r.trailing[0].match(c)
	})
}

func (b *branch) leads(value string) bool { return b.front == nil || b.front.Matches(b.name, value) }

// find returns the route for method to which these components are parameters, or nil.
func (n *node) find(method string, rest []string) *Route {
	for _, r := range n.routes {
		if r.Method != method || len(r.trailing) != len(rest) {
			continue
		}
		matches := true
		for i, p := range r.trailing {
			matches = matches && p.match(rest[i])
		}
		if matches {
			return r
		}
	}
	return nil
}

// method is the one whose route answers this request: that of GET also answers HEAD where it says so. net/http
// leaves out the body.
func (n *node) method(r *http.Request, rest []string) string {
	if r.Method == http.MethodHead {
		if route := n.find(http.MethodGet, rest); route != nil && route.Head {
			return http.MethodGet
		}
	}
	return r.Method
}

func (n *node) allow() string { return strings.Join(n.methods, ", ") }

// label is the route's path as metrics have it. Parameters that lead on are replaced by what they
// stand for, of which there are only so many; those at the end can be anything that a stranger likes.
func (r *Route) label(params parameters) string {
	return r.labels.of(params[:len(params)-len(r.trailing)], func() string { return r.makeLabel(params) })
}

func (r *Route) makeLabel(params parameters) string {
	path := components(nil, r.Path)
	for i, c := range path[:len(path)-len(r.trailing)] {
		if p, isParameter, _ := parsePattern(c); isParameter {
			path[i] = params.value(p.name) + p.suffix
		}
	}
	return "/" + strings.Join(path, "/")
}

// components appends the components of a decoded path to list. Empty ones do not count, and "." and ".." are names like
// any other: nothing here is a directory.
func components(list []string, path string) []string {
	for path != "" {
		component, rest, _ := strings.Cut(path, "/")
		if component != "" {
			list = append(list, component)
		}
		path = rest
	}
	return list
}
