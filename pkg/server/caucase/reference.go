package caucase

import (
	"crypto/x509"
	"slices"
	"strings"

	"cauase/pkg/pki"
	"cauase/pkg/server"
)

// noticeReference warns, once, when a client of the reference shows up while there is a CA
// whose key is not RSA. Such a client verifies no other signatures, so that it cannot
// follow that CA when it rolls over.
func (f *FrontEnd) noticeReference(x *server.Exchange) {
	if !strings.HasPrefix(x.Request.UserAgent(), "caucase ") || f.referenceNoticed.Swap(true) {
		return
	}
	ctx := x.Request.Context()
	for _, a := range f.cfg.Authorities.All() {
		if !slices.Contains(roles(paramAuthority), a.Row().Role) {
			continue
		}
		crts, err := a.CACertificates(ctx)
		if err != nil {
			f.referenceNoticed.Store(false)
			return
		}
		if crt := crts[len(crts)-1]; crt.PublicKeyAlgorithm != x509.RSA {
			f.log.WarnContext(ctx, "a caucase client is in use, which cannot follow a CA whose key is not RSA when it rolls over",
				"authority", string(a.Name()), "ca_key", pki.DescribeKey(crt.PublicKey),
				"user_agent", server.Loggable(x.Request.UserAgent()), "address", x.Actor().Address)
		}
	}
}
