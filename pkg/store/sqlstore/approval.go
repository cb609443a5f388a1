package sqlstore

import (
	"context"

	"cauase/pkg/store"
)

func (r reader) Approvals(ctx context.Context, a store.AuthorityName, request int64) ([]store.Approval, error) {
	return list(ctx, r.handle, approvals.scan, approvals.query+`WHERE authority = ? AND request = ? ORDER BY lineage`, string(a), request)
}

func (t tx) PutApproval(ctx context.Context, v store.Approval) error {
	args, err := approvals.args(v)
	if err != nil {
		return err
	}
	return t.run(ctx, replaceApproval, args...)
}
