package sqlstore

import (
	"context"
	"errors"

	"cauase/pkg/store"
)

func (r reader) Counter(ctx context.Context, a store.AuthorityName, name string) (int64, error) {
	n, err := one(ctx, r.handle, scalar[int64], `
		SELECT value FROM counter WHERE authority = ? AND name = ?`, string(a), name)
	if errors.Is(err, store.ErrNotFound) {
		return 0, nil
	}
	return n, err
}

func (t tx) AddCounter(ctx context.Context, a store.AuthorityName, name string, delta int64) (int64, error) {
	switch name {
	case store.CounterCA, store.CounterCRLNumber, store.CounterAuthorities:
		t.s.announce()
	}
	return one(ctx, t.handle, scalar[int64], `
		INSERT INTO counter (authority, name, value) VALUES (?, ?, ?)
		ON CONFLICT (authority, name) DO UPDATE SET value = counter.value + excluded.value
		RETURNING value`, string(a), name, delta)
}

func (t tx) loadCounter(ctx context.Context, c store.Counter) error {
	return t.run(ctx, `
		INSERT INTO counter (authority, name, value) VALUES (?, ?, ?)
		ON CONFLICT (authority, name) DO UPDATE SET value = excluded.value`, string(c.Authority), c.Name, c.Value)
}

func (r reader) Setting(ctx context.Context, a store.AuthorityName, name string) (string, error) {
	return one(ctx, r.handle, scalar[string], `
		SELECT value FROM setting WHERE authority = ? AND name = ?`, string(a), name)
}

func (t tx) DeleteSetting(ctx context.Context, a store.AuthorityName, name string) error {
	_, err := t.exec(ctx, `DELETE FROM setting WHERE authority = ? AND name = ?`, string(a), name)
	return err
}

func (t tx) PutSetting(ctx context.Context, a store.AuthorityName, name, value string) error {
	return t.run(ctx, `
		INSERT INTO setting (authority, name, value) VALUES (?, ?, ?)
		ON CONFLICT (authority, name) DO UPDATE SET value = excluded.value`, string(a), name, value)
}
