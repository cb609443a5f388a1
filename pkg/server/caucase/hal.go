package caucase

import (
	"bytes"
	"context"
	"net/http"
	"slices"
	"strings"

	"cauase/pkg/audit"
	"cauase/pkg/server"
	"cauase/pkg/store"
)

// A link is one entry of a HAL page. Its members are written in this order, and the
// entries of a page in theirs, byte for byte as the reference has them.
type link struct {
	name      string
	title     string
	templated bool
	href      string
	method    string // of actions
}

func (l link) appendTo(page *bytes.Buffer) {
	page.WriteString(`"` + l.name + `": {`)
	if l.title != "" {
		page.WriteString(`"title": "` + l.title + `", `)
	}
	if l.templated {
		page.WriteString(`"templated": true, `)
	}
	// Our own words, and a host that ParseNetloc has let through: nothing to escape.
	page.WriteString(`"href": "` + l.href + `"`)
	if l.method != "" {
		page.WriteString(`, "method": "` + l.method + `"`)
	}
	page.WriteByte('}')
}

// An operation is what a HAL page says about a route of an authority.
type operation struct {
	link
	path string // below that of the authority
	user bool   // needs a user, hence HTTPS
	root bool   // roots have it, too
}

// halLinks are the operations that read, in the reference's order.
func halLinks() []operation {
	return []operation{
		{link: link{name: "getCertificateRevocationListList", title: "Retrieve latest certificate revocation list for all valid authorities."}, path: "/crl", root: true},
		{link: link{name: "getCertificateRevocationList", title: "Retrieve latest certificate revocation list for given decimal representation of the authority identifier.", templated: true}, path: "/crl/{+authority_key_id}", root: true},
		{link: link{name: "getPendingCertificateRequestList", title: "List pending certificate signing requests."}, path: "/csr", user: true},
		{link: link{name: "getCertificateSigningRequest", title: "Retrieve a pending certificate signing request.", templated: true}, path: "/csr/{+csr_id}"},
		{link: link{name: "getCertificate", title: "Retrieve a signed certificate.", templated: true}, path: "/crt/{+csr_id}"},
		{link: link{name: "getCACertificate", title: "Retrieve current CA certificate."}, path: "/crt/ca.crt.pem", root: true},
		{link: link{name: "getCACertificateChain", title: "Retrieve current CA certificate trust chain."}, path: "/crt/ca.crt.json", root: true},
	}
}

// halActions are the operations that change something, in the reference's order.
func halActions() []operation {
	return []operation{
		{link: link{name: "createCertificateSigningRequest", title: "Request a new certificate signature.", method: http.MethodPut}, path: "/csr"},
		{link: link{name: "deletePendingCertificateRequest", title: "Reject a pending certificate signing request.", templated: true, method: http.MethodDelete}, path: "/csr/{+csr_id}", user: true},
		{link: link{name: "createCertificate", title: "Accept pending certificate signing request", templated: true, method: http.MethodPut}, path: "/crt/{+crt_id}", user: true},
		{link: link{name: "revokeCertificate", title: "Revoke a certificate", method: http.MethodPut}, path: "/crt/revoke"},
		{link: link{name: "renewCertificate", title: "Renew a certificate", method: http.MethodPut}, path: "/crt/renew"},
	}
}

// getRootHAL lists the authorities that are served, by name: which is also the order in which the
// reference lists the two that it has.
func (f *FrontEnd) getRootHAL(x *server.Exchange) (server.Perform, error) {
	links := []link{{name: "self", href: "/"}}
	for _, name := range f.served() {
		links = append(links, link{name: "get" + strings.ToUpper(name) + "HAL", title: name, href: "/" + name})
	}
	return hal(x, section{"_links", links})
}

// served returns the names of the authorities that have routes, sorted.
func (f *FrontEnd) served() (names []string) {
	for _, a := range f.cfg.Authorities.All() {
		if role := a.Row().Role; slices.Contains(roles(paramAuthority), role) || slices.Contains(roles(paramRoot), role) {
			names = append(names, string(a.Name()))
		}
	}
	slices.Sort(names)
	return names
}

// getAuthorityHAL lists an authority's operations. Asked over HTTP, it sends users to
// HTTPS, at the address the page was asked for.
func (f *FrontEnd) getAuthorityHAL(x *server.Exchange) (server.Perform, error) {
	a, err := f.authority(x)
	if err != nil {
		return nil, err
	}
	self, secure := "/"+string(a.Name()), ""
	if !x.Secure() {
		secure = f.cfg.Netloc.SecureBase(x.Request)
	}
	isRoot := a.Row().Role == store.RoleRoot
	resolve := func(operations []operation) (links []link) {
		for _, o := range operations {
			if isRoot && !o.root {
				continue
			}
			l := o.link
			l.href = self + o.path
			if o.user {
				l.href = secure + l.href
			}
			links = append(links, l)
		}
		return links
	}
	links := append([]link{{name: "self", href: self}, {name: "home", href: "/"}}, resolve(halLinks())...)
	return hal(x, section{"_links", links}, section{"_actions", resolve(halActions())})
}

// A section is one of the objects of a HAL page.
type section struct {
	name  string
	links []link
}

func hal(x *server.Exchange, sections ...section) (server.Perform, error) {
	var page bytes.Buffer
	for i, sec := range sections {
		page.WriteString([]string{"{", ", "}[min(i, 1)])
		page.WriteString(`"` + sec.name + `": {`)
		for j, l := range sec.links {
			if j > 0 {
				page.WriteString(", ")
			}
			l.appendTo(&page)
		}
		page.WriteByte('}')
	}
	page.WriteByte('}')
	return func(context.Context, audit.Actor) error {
		return x.Reply(http.StatusOK, "application/hal+json", page.Bytes())
	}, nil
}
