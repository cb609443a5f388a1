package daemon

import (
	"context"

	"cauase/pkg/server"
	"cauase/pkg/server/signing"
	"cauase/pkg/store"
)

// frontEnds are those that answer beside the first.
func (d *Daemon) frontEnds(first server.FrontEnd) []server.FrontEnd {
	list := []server.FrontEnd{first}
	if d.cfg.Tables.Signing == nil {
		return list
	}
	return append(list, signing.New(signing.Config{
		Target: func() (signing.Target, bool) {
			target := d.signing.Load()
			if target == nil {
				return signing.Target{}, false
			}
			return *target, true
		},
		Authority: func(name store.AuthorityName) (signing.Core, bool) {
			a, there := d.authorities.Authority(name)
			if !there || a.Row().Role != store.RoleServices {
				return nil, false
			}
			return a, true
		},
	}))
}

// useSigning has a target take the place of the one before.
func (d *Daemon) useSigning(ctx context.Context, target *signing.Target) {
	d.signing.Store(target)
	if target == nil {
		return
	}
	a, there := d.authorities.Authority(target.Authority)
	switch {
	case d.cfg.Tables.Signing == nil:
		d.log.WarnContext(ctx, "PUT /api/csr/{id} is answered from the next start on")
	case !there:
		d.log.WarnContext(ctx, "PUT /api/csr/{id} is for an authority that is not there", "authority", string(target.Authority))
	case a.Row().Role != store.RoleServices:
		d.log.ErrorContext(ctx, "PUT /api/csr/{id} is for an authority that certifies no services: it signs nothing", "authority", string(target.Authority))
	}
}
