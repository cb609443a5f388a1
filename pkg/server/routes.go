package server

import (
	"net/http"

	"cauase/pkg/store"
)

// routes is the table of everything that can be called (docs/protocol.md, section 2).
func (s *Server) routes() []route {
	table := []route{
		{method: http.MethodGet, path: "", access: anyone, origin: always, prepare: s.getRootHAL},
		{method: http.MethodGet, path: "cors", access: anyone, origin: aside, prepare: s.getConsent},
		{method: http.MethodPost, path: "cors", access: anyone, origin: aside, prepare: s.postConsent},
		{method: http.MethodGet, path: "healthz", access: anyone, origin: aside, prepare: s.getHealth},
		{method: http.MethodGet, path: "readyz", access: anyone, origin: aside, prepare: s.getReady},
	}
	for _, a := range []struct {
		name      store.AuthorityName
		authority Authority
		voucher   Voucher
	}{
		{store.Users, s.cfg.Users, s.cfg.UsersVoucher},
		{store.Services, s.cfg.Services, s.cfg.ServicesVoucher},
	} {
		for _, r := range s.authorityRoutes() {
			r.path = string(a.name) + "/" + r.path
			r.authority, r.voucher = a.authority, a.voucher
			table = append(table, r)
		}
	}
	return table
}

// authorityRoutes are the routes of each authority, relative to its own path.
func (s *Server) authorityRoutes() []route {
	return []route{
		{method: http.MethodGet, path: "", access: anyone, origin: always, prepare: s.getAuthorityHAL},

		{method: http.MethodGet, path: "crl", access: anyone, prepare: getCRLs},
		{method: http.MethodGet, path: "crl/{aki}", access: anyone, prepare: getCRL},

		{method: http.MethodGet, path: "timeline", access: anyone, prepare: getTimeline},

		{method: http.MethodGet, path: "csr", access: user, prepare: getPending},
		{method: http.MethodPut, path: "csr", access: anyone, prepare: putRequest},
		{method: http.MethodGet, path: "csr/{id}", access: anyone, prepare: getRequest},
		{method: http.MethodDelete, path: "csr/{id}", access: user, prepare: deleteRequest},

		{method: http.MethodGet, path: "crt/ca.crt.pem", access: anyone, prepare: getCACertificate},
		{method: http.MethodGet, path: "crt/ca.crt.json", access: anyone, prepare: getChain},
		{method: http.MethodGet, path: "crt/https-ca.json", access: anyone, prepare: getVoucher},
		{method: http.MethodGet, path: "crt/{id}", access: anyone, prepare: getCertificate},
		{method: http.MethodPut, path: "crt/{id}", access: user, prepare: putCertificate},
		{method: http.MethodPut, path: "crt/renew", access: holder, prepare: putRenewal},
		{method: http.MethodPut, path: "crt/revoke", access: holderOrUser, prepare: putRevocation},
	}
}
