package sqlstore

import (
	"context"
	"time"

	"cauase/pkg/store"
)

func (r reader) Invitation(ctx context.Context, a store.AuthorityName, id string) (store.Invitation, error) {
	return one(ctx, r.handle, invitations.scan, invitations.query+`WHERE authority = ? AND id = ?`, string(a), id)
}

func (r reader) Invitations(ctx context.Context, a store.AuthorityName, limit int) ([]store.Invitation, error) {
	return list(ctx, r.handle, invitations.scan, invitations.query+`
		WHERE authority = ? ORDER BY until, id LIMIT ?`, string(a), orAll(limit))
}

func (r reader) CountInvitations(ctx context.Context, a store.AuthorityName) (int, error) {
	return one(ctx, r.handle, scalar[int], `SELECT count(*) FROM invitation WHERE authority = ?`, string(a))
}

func (t tx) PutInvitation(ctx context.Context, i store.Invitation) error {
	args, err := invitations.args(i)
	if err != nil {
		return err
	}
	return t.run(ctx, replaceInvitation, args...)
}

func (t tx) PruneInvitations(ctx context.Context, a store.AuthorityName, before time.Time, limit int) (int, error) {
	n, err := t.exec(ctx, `
		DELETE FROM invitation WHERE authority = ? AND id IN (
			SELECT id FROM invitation WHERE authority = ? AND until < ? ORDER BY until, id LIMIT ?)`,
		string(a), string(a), micros(before), max(limit, 0))
	return int(n), err
}
