package sqlstore

import (
	"context"
	"time"

	"cauase/pkg/store"
)

func (r reader) Deliveries(ctx context.Context, hook string, at time.Time, limit int) ([]store.Delivery, error) {
	return list(ctx, r.handle, deliveries.scan, deliveries.query+`WHERE hook = ? AND due_at <= ? ORDER BY due_at, id LIMIT ?`, hook, micros(at), orAll(limit))
}

const countDeliveries = `SELECT hook, count(*) FROM delivery GROUP BY hook`

func (r reader) CountDeliveries(ctx context.Context) (map[string]int, error) {
	counts := map[string]int{}
	err := r.each(ctx, func(row scanner) error {
		var hook string
		var n int
		if err := row.Scan(&hook, &n); err != nil {
			return err
		}
		counts[hook] = n
		return nil
	}, countDeliveries)
	return counts, err
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
