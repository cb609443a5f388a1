package sqlstore

import (
	"context"
	"time"

	"cauase/pkg/store"
)

func (r reader) Deliveries(ctx context.Context, at time.Time, limit int) ([]store.Delivery, error) {
	return list(ctx, r.handle, deliveries.scan, deliveries.query+`WHERE due_at <= ? ORDER BY due_at, id LIMIT ?`, micros(at), orAll(limit))
}

func (r reader) CountDeliveries(ctx context.Context) (int, error) {
	return one(ctx, r.handle, scalar[int], "SELECT count(*) FROM delivery")
}

func (t tx) AddDelivery(ctx context.Context, d store.Delivery) error {
	args, err := deliveries.argsWithout(d, "id")
	if err != nil {
		return err
	}
	return t.later(ctx, insertDelivery, args...)
}

func (t tx) PutDelivery(ctx context.Context, d store.Delivery) error {
	args, err := deliveries.args(d)
	if err != nil {
		return err
	}
	return t.change(ctx, updateDelivery, append(args, d.ID)...)
}

func (t tx) DeleteDelivery(ctx context.Context, id int64) error {
	return t.change(ctx, `DELETE FROM delivery WHERE id = ?`, id)
}
