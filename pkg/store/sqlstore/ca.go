package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"cauase/pkg/store"
)

func (r reader) CAs(ctx context.Context, a store.AuthorityName) ([]store.CA, error) {
	return list(ctx, r.handle, cas.scan, cas.query+`WHERE authority = ? ORDER BY id`, string(a))
}

func (r reader) IsCAKey(ctx context.Context, keyID []byte) (bool, error) {
	return one(ctx, r.handle, scalar[bool], `
		SELECT EXISTS (SELECT 1 FROM ca_certificate WHERE key_id = ?)`, required(keyID))
}

func (t tx) AddCA(ctx context.Context, ca store.CA) (int64, error) {
	args, err := cas.argsWithout(ca, "id")
	if err != nil {
		return 0, err
	}
	return one(ctx, t.handle, scalar[int64], insertCA, args...)
}

func (t tx) EraseCAKey(ctx context.Context, a store.AuthorityName, id int64, state store.CAState) error {
	if !slices.Contains([]store.CAState{store.CAErased, store.CADisowned, store.CARevoked, store.CACompromised}, state) {
		return fmt.Errorf("store: a CA without its key cannot be %q", state)
	}
	return t.wiping(ctx, func() error {
		return t.change(ctx, `UPDATE ca_certificate SET custody = '', key_ref = NULL, state = ? WHERE authority = ? AND id = ?`,
			string(state), string(a), id)
	})
}

func (t tx) ActivateCA(ctx context.Context, a store.AuthorityName, id int64, how store.Activation, at time.Time) error {
	var since any
	if !at.IsZero() {
		since = micros(at)
	}
	return t.change(ctx, `UPDATE ca_certificate SET activation = ?, activated_at = ? WHERE authority = ? AND id = ?`,
		string(how), since, string(a), id)
}

// wiping runs a change that removes a key, which otherwise would stay readable in the file, in space that
// is free.
func (t tx) wiping(ctx context.Context, change func() error) (err error) {
	d := t.dialect
	if d.wipe == "" {
		return change()
	}
	if _, err := t.exec(ctx, d.wipe); err != nil {
		return err
	}
	defer func() {
		_, e := t.exec(ctx, d.unwipe)
		err = errors.Join(err, e)
	}()
	return change()
}

func (r reader) CRL(ctx context.Context, a store.AuthorityName, caID int64) (store.CRL, error) {
	return one(ctx, r.handle, crls.scan, crls.query+`WHERE authority = ? AND ca_id = ?`, string(a), caID)
}

func (t tx) PutCRL(ctx context.Context, c store.CRL) error {
	args, err := crls.args(c)
	if err != nil {
		return err
	}
	return t.run(ctx, replaceCRL, args...)
}
