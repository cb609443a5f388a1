package server

import (
	"bytes"
	"context"
	"net/http"

	"cauase/pkg/audit"
)

// A link is one entry of a HAL page. Its members are written in this order, and the
// entries of a page in theirs, as the reference has them.
type link struct {
	name      string
	Title     string `json:"title,omitempty"`
	Templated bool   `json:"templated,omitempty"`
	Href      string `json:"href"`
	Method    string `json:"method,omitempty"` // of actions
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
		{link: link{name: "getCertificateRevocationListList", Title: "Retrieve latest certificate revocation list for all valid authorities."}, path: "/crl"},
		{link: link{name: "getCertificateRevocationList", Title: "Retrieve latest certificate revocation list for given decimal representation of the authority identifier.", Templated: true}, path: "/crl/{+authority_key_id}"},
		{link: link{name: "getPendingCertificateRequestList", Title: "List pending certificate signing requests."}, path: "/csr", user: true},
		{link: link{name: "getCertificateSigningRequest", Title: "Retrieve a pending certificate signing request.", Templated: true}, path: "/csr/{+csr_id}"},
		{link: link{name: "getCertificate", Title: "Retrieve a signed certificate.", Templated: true}, path: "/crt/{+csr_id}"},
		{link: link{name: "getCACertificate", Title: "Retrieve current CA certificate."}, path: "/crt/ca.crt.pem"},
		{link: link{name: "getCACertificateChain", Title: "Retrieve current CA certificate trust chain."}, path: "/crt/ca.crt.json"},
	}
}

// halActions are the operations that change something, in the reference's order.
func halActions() []operation {
	return []operation{
		{link: link{name: "createCertificateSigningRequest", Title: "Request a new certificate signature.", Method: http.MethodPut}, path: "/csr"},
		{link: link{name: "deletePendingCertificateRequest", Title: "Reject a pending certificate signing request.", Templated: true, Method: http.MethodDelete}, path: "/csr/{+csr_id}", user: true},
		{link: link{name: "createCertificate", Title: "Accept pending certificate signing request", Templated: true, Method: http.MethodPut}, path: "/crt/{+crt_id}", user: true},
		{link: link{name: "revokeCertificate", Title: "Revoke a certificate", Method: http.MethodPut}, path: "/crt/revoke"},
		{link: link{name: "renewCertificate", Title: "Renew a certificate", Method: http.MethodPut}, path: "/crt/renew"},
	}
}

func (s *Server) getRootHAL(x *exchange) (perform, error) {
	return hal(x, section{"_links", []link{
		{name: "self", Href: "/"},
		{name: "getCASHAL", Title: "cas", Href: "/cas"},
		{name: "getCAUHAL", Title: "cau", Href: "/cau"},
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
			links[i].Href = self + o.path
			if o.user {
				links[i].Href = secure + links[i].Href
			}
		}
		return links
	}
	links := []link{{name: "self", Href: self}, {name: "home", Href: "/"}}
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
			object, err := encodeJSON(l)
			if err != nil {
				return nil, err
			}
			if j > 0 {
				page.WriteString(", ")
			}
			page.WriteString(`"` + l.name + `": `)
			page.Write(object)
		}
		page.WriteByte('}')
	}
	page.WriteByte('}')
	return func(context.Context, audit.Actor) error {
		return x.reply(http.StatusOK, typeHAL, page.Bytes())
	}, nil
}
