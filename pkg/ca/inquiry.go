package ca

import (
	"context"
	"errors"
	"sync"
)

// An inquiry has many who ask the store the same at once share one answer. None gets one that was looked for before it
// asked: who comes while others are being answered shares the next.
type inquiry struct {
	turn lock // held while the store is asked

	mu   sync.Mutex
	next *answer // of those whose question has not been put yet
}

// An answer is what the store said to those who share it.
type answer struct {
	given chan struct{}

	number, version int64
	err             error
	asker           error // why whoever asked for all has given up, if so
}

var errUnanswered = errors.New("the store was not asked")

// ask returns what read does, called here or by somebody else since.
func (q *inquiry) ask(ctx context.Context, read func(context.Context) (number, version int64, err error)) (number, version int64, err error) {
	for {
		a := q.join()
		select {
		case <-a.given:
		case q.turn <- struct{}{}:
			q.put(ctx, a, read)
		case <-ctx.Done():
			return 0, 0, ctx.Err()
		}
		if a.asker == nil || ctx.Err() != nil {
			return a.number, a.version, a.err
		}
		// Another's request has ended, ours has not.
	}
}

// join returns the answer to a question that will be put from now on.
func (q *inquiry) join() *answer {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.next == nil {
		q.next = &answer{given: make(chan struct{})}
	}
	return q.next
}

// put puts the question of all who share a, unless somebody else has meanwhile. The caller has the turn, which ends.
func (q *inquiry) put(ctx context.Context, a *answer, read func(context.Context) (number, version int64, err error)) {
	defer q.turn.unlock()
	select {
	case <-a.given:
		return
	default:
	}
	q.mu.Lock()
	q.next = nil
	q.mu.Unlock()
	a.err, a.asker = errUnanswered, errUnanswered // unless read returns
	defer close(a.given)
	a.number, a.version, a.err = read(ctx)
	a.asker = ctx.Err()
}
