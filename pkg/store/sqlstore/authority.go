package sqlstore

import (
	"context"

	"cauase/pkg/store"
)

func (r reader) Authorities(ctx context.Context) ([]store.Authority, error) {
	return list(ctx, r.handle, scanAuthority, authorities.query+`ORDER BY name`)
}

// scanAuthority reads a row of which it says so if a column cannot be read: the others are not to be kept from working
// by what somebody has written into one.
func scanAuthority(from scanner) (store.Authority, error) {
	values, err := authorities.values(from)
	if err != nil {
		return store.Authority{}, err
	}
	row, err := authorities.row(values)
	if err == nil {
		return row, nil
	}
	name, ok := values[authorities.kind.Index("name")].(string)
	if !ok {
		return store.Authority{}, err
	}
	return store.Authority{Name: store.AuthorityName(name), Damage: err.Error()}, nil
}

func (r reader) Authority(ctx context.Context, name store.AuthorityName) (store.Authority, error) {
	return one(ctx, r.handle, authorities.scan, authorities.query+`WHERE name = ?`, string(name))
}

func (t tx) PutAuthority(ctx context.Context, a store.Authority) error {
	if err := a.Check(); err != nil {
		return err
	}
	args, err := authorities.args(a)
	if err != nil {
		return err
	}
	if err := t.run(ctx, replaceAuthority, args...); err != nil {
		return err
	}
	_, err = t.AddCounter(ctx, "", store.CounterAuthorities, 1)
	return err
}

func (r reader) Signoffs(ctx context.Context, a store.AuthorityName) ([]store.Signoff, error) {
	return list(ctx, r.handle, signoffs.scan, signoffs.query+`WHERE authority = ? ORDER BY id`, string(a))
}

func (t tx) AddSignoff(ctx context.Context, s store.Signoff) (int64, error) {
	args, err := signoffs.argsWithout(s, "id")
	if err != nil {
		return 0, err
	}
	return one(ctx, t.handle, scalar[int64], signoffs.without("id")+" RETURNING id", args...)
}

func (t tx) PutSignoff(ctx context.Context, s store.Signoff) error {
	args, err := signoffs.args(s)
	if err != nil {
		return err
	}
	return t.wiping(ctx, func() error {
		return t.change(ctx, updateSignoff, append(args, string(s.Authority), s.ID)...)
	})
}

func (t tx) DeleteSignoff(ctx context.Context, a store.AuthorityName, id int64) error {
	return t.wiping(ctx, func() error {
		return t.change(ctx, `DELETE FROM signoff WHERE authority = ? AND id = ?`, string(a), id)
	})
}
