package server

import (
	"bytes"
	"context"
	"net/http"

	"cauase/pkg/audit"
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
}

// halLinks are the operations that read, in the reference's order.
func halLinks() []operation {
	return []operation{
		{link: link{name: "getCertificateRevocationListList", title: "Retrieve latest certificate revocation list for all valid authorities."}, path: "/crl"},
		{link: link{name: "getCertificateRevocationList", title: "Retrieve latest certificate revocation list for given decimal representation of the authority identifier.", templated: true}, path: "/crl/{+authority_key_id}"},
		{link: link{name: "getPendingCertificateRequestList", title: "List pending certificate signing requests."}, path: "/csr", user: true},
		{link: link{name: "getCertificateSigningRequest", title: "Retrieve a pending certificate signing request.", templated: true}, path: "/csr/{+csr_id}"},
		{link: link{name: "getCertificate", title: "Retrieve a signed certificate.", templated: true}, path: "/crt/{+csr_id}"},
		{link: link{name: "getCACertificate", title: "Retrieve current CA certificate."}, path: "/crt/ca.crt.pem"},
		{link: link{name: "getCACertificateChain", title: "Retrieve current CA certificate trust chain."}, path: "/crt/ca.crt.json"},
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

func (s *Server) getRootHAL(x *exchange) (perform, error) {
	return hal(x, section{"_links", []link{
		{name: "self", href: "/"},
		{name: "getCASHAL", title: "cas", href: "/cas"},
		{name: "getCAUHAL", title: "cau", href: "/cau"},
	}})
}

// getAuthorityHAL lists an authority's operations. Asked over HTTP, it sends users to
// HTTPS, at the address the page was asked for.
func (s *Server) getAuthorityHAL(x *exchange) (perform, error) {
	self, secure := "/"+x.path[0], ""
	if x.r.TLS == nil {
		secure = s.httpsBase(x.r)
	}
	resolve := func(operations []operation) []link {
		links := make([]link, len(operations))
		for i, o := range operations {
			links[i] = o.link
			links[i].href = self + o.path
			if o.user {
				links[i].href = secure + links[i].href
			}
		}
		return links
	}
	links := []link{{name: "self", href: self}, {name: "home", href: "/"}}
	return hal(x,
		section{"_links", append(links, resolve(halLinks())...)},
		section{"_actions", resolve(halActions())},
	)
}

// A section is one of the objects of a HAL page.
type section struct {
	name  string
	links []link
}

func hal(x *exchange, sections ...section) (perform, error) {
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
		return x.reply(http.StatusOK, typeHAL, page.Bytes())
	}, nil
}
