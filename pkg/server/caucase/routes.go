package caucase

import (
	"net/http"

	"cauase/pkg/server"
)

// Routes is the table of everything that can be called (docs/protocol.md, section 2).
func (f *FrontEnd) Routes() []server.Route {
	table := []route{
		{method: http.MethodGet, path: "", access: server.Anyone, origin: always, handler: f.getRootHAL},
		{method: http.MethodGet, path: "cors", access: server.Anyone, origin: aside, handler: f.getConsent},
		{method: http.MethodPost, path: "cors", access: server.Anyone, origin: aside, handler: f.postConsent},
	}
	for _, r := range f.authorityRoutes() {
		table = append(table, r.under(paramAuthority))
		if r.root {
			table = append(table, r.under(paramRoot))
		}
	}
	routes := make([]server.Route, len(table))
	for i, r := range table {
		routes[i] = server.Route{Method: r.method, Path: r.path, Access: r.access, Handler: r.handler, Head: r.head,
			Origin: func(x *server.Exchange) error {
				f.noticeReference(x)
				return f.checkOrigin(x, r.origin)
			}}
	}
	return routes
}

// A route is one operation of the protocol.
type route struct {
	method  string
	path    string
	access  server.Access
	origin  originRule
	head    bool // HEAD is answered, too: addresses in certificates, which programs of all kinds fetch
	root    bool // a root, which signs nothing that anybody could ask for, has it, too
	handler server.Handler
}

func (r route) under(parameter string) route {
	r.path = "{" + parameter + "}/" + r.path
	return r
}

// authorityRoutes are the routes of each authority, relative to its own path.
func (f *FrontEnd) authorityRoutes() []route {
	const anyone, user = server.Anyone, server.User
	return []route{
		{method: http.MethodGet, path: "", access: anyone, root: true, origin: always, handler: f.getAuthorityHAL},

		{method: http.MethodGet, path: "crl", access: anyone, root: true, handler: f.getCRLs},
		{method: http.MethodGet, path: "crl/{aki}", access: anyone, root: true, handler: f.getCRL},
		{method: http.MethodGet, path: "crl/{aki}.crl", access: anyone, root: true, head: true, handler: f.getCRLDER},

		{method: http.MethodGet, path: "timeline", access: anyone, root: true, handler: f.getTimeline},

		{method: http.MethodGet, path: "log/checkpoint", access: anyone, handler: f.getCheckpoint},
		{method: http.MethodGet, path: "log/proof", access: anyone, handler: f.getProof},

		{method: http.MethodGet, path: "csr", access: user, handler: f.getPending},
		{method: http.MethodPut, path: "csr", access: anyone, handler: f.putRequest},
		{method: http.MethodGet, path: "csr/{id}", access: anyone, handler: f.getRequest},
		{method: http.MethodDelete, path: "csr/{id}", access: user, handler: f.deleteRequest},

		{method: http.MethodGet, path: "recover", access: anyone, handler: f.getForgotten},
		{method: http.MethodPut, path: "recover", access: server.Holder, handler: f.putRecovery},
		{method: http.MethodPut, path: "prove", access: anyone, handler: f.putProven},
		{method: http.MethodPut, path: "invite", access: anyone, handler: f.putInvited},
		{method: http.MethodGet, path: "invite", access: user, handler: f.getInvitations},
		{method: http.MethodDelete, path: "invite/{id}", access: user, handler: f.deleteInvitation},
		{method: http.MethodGet, path: "lineage", access: user, handler: f.getLineages},
		{method: http.MethodGet, path: "lineage/{id}", access: user, handler: f.getLineage},
		{method: http.MethodDelete, path: "lineage/{id}", access: user, handler: f.deleteLineage},

		{method: http.MethodGet, path: "cors", access: user, handler: f.getConsents},
		{method: http.MethodDelete, path: "cors", access: user, handler: f.deleteConsents},

		{method: http.MethodGet, path: "crt/ca.crt.pem", access: anyone, root: true, handler: f.getCACertificate},
		{method: http.MethodGet, path: "crt/ca.crt.json", access: anyone, root: true, handler: f.getChain},
		{method: http.MethodGet, path: "crt/root.pem", access: anyone, root: true, handler: f.getRoots},
		{method: http.MethodGet, path: "crt/parent.json", access: anyone, handler: f.getParentStatements},
		{method: http.MethodGet, path: "crt/withdrawn.json", access: anyone, handler: f.getWithdrawals},
		{method: http.MethodGet, path: "crt/https-ca.json", access: anyone, handler: f.getVoucher},
		{method: http.MethodGet, path: "crt/{aki}.crt", access: anyone, root: true, head: true, handler: f.getIssuer},
		{method: http.MethodGet, path: "crt/{id}", access: anyone, handler: f.getCertificate},
		{method: http.MethodPut, path: "crt/{id}", access: user, handler: f.putCertificate},
		{method: http.MethodPut, path: "crt/renew", access: server.Holder, handler: f.signed(ofRenewal)},
		{method: http.MethodPut, path: "crt/holds", access: server.Holder, handler: f.signed(ofHolding)},
		{method: http.MethodPut, path: "crt/revoke", access: server.HolderOrUser, handler: f.signed(ofRevocation)},
	}
}
