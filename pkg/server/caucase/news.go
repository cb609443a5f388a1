package caucase

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"cauase/pkg/ca"
	"cauase/pkg/pki"
	"cauase/pkg/server"
)

// maxWait is how long a request may wait for a newer list: less than most proxies and balancers do.
const maxWait = time.Minute

// A longPoll is what a request for lists says of those it has: their number, and how long to wait for newer ones.
type longPoll struct {
	given bool
	after int64
	wait  time.Duration
}

// readPoll reads the parameters after and wait of the query. Others do not count, as everywhere.
func (f *FrontEnd) readPoll(x *server.Exchange) (p longPoll, err error) {
	if x.Request.URL.RawQuery == "" {
		return p, nil
	}
	query, err := url.ParseQuery(x.Request.URL.RawQuery)
	if err != nil {
		return p, server.Refuse(http.StatusBadRequest, "malformed query")
	}
	for _, name := range []string{"after", "wait"} {
		if values, given := query[name]; given && (len(values) != 1 || values[0] == "") {
			return p, server.Refuse(http.StatusBadRequest, "%s must be given once, with a value", name)
		}
	}
	if query.Has("after") {
		text := query.Get("after")
		if p.after, err = strconv.ParseInt(text, 10, 64); err != nil || !isDecimal(text) {
			return p, server.Refuse(http.StatusBadRequest, "after must be the number of a revocation list, decimal")
		}
		p.given = true
	}
	if query.Has("wait") {
		if p.wait, err = parseWait(query.Get("wait")); err != nil {
			return p, err
		}
		if !p.given {
			return p, server.Refuse(http.StatusBadRequest, "wait needs after, the number of the revocation list that is there already")
		}
	}
	if f.cfg.NoPush {
		p.wait = 0
	}
	return p, nil
}

// parseWait reads a number of seconds, or a duration with a unit. Longer ones than may be are as long as may be.
func parseWait(text string) (time.Duration, error) {
	if isDecimal(text) {
		text += "s"
	}
	wait, err := pki.ParseDuration(text)
	if err != nil || wait < 0 {
		return 0, server.Refuse(http.StatusBadRequest, "wait must be a duration such as 55s, or a number of seconds")
	}
	return min(wait, maxWait), nil
}

var errCrowded = server.Refuse(http.StatusServiceUnavailable, "there are newer revocation lists, and too many who ask for them at once: try again")

// apart reads on a goroutine of its own for who may wait afterwards: a database takes a deep stack, which a thousand that wait
// would keep.
func (p longPoll) apart(ctx context.Context, a Core, wanted listQuery) (lists []ca.List, err error) {
	if p.wait <= 0 {
		return wanted.read(ctx, a)
	}
	var done sync.WaitGroup
	var panicked any
	done.Go(func() {
		defer func() { panicked = recover() }()
		lists, err = wanted.read(ctx, a)
	})
	if done.Wait(); panicked != nil {
		panic(panicked) // where the server expects it
	}
	return lists, err
}

// serveLists answers with what is wanted, as soon as that is newer than what the poll has, or that it is not.
func (f *FrontEnd) serveLists(ctx context.Context, x *server.Exchange, p longPoll, wanted listQuery) error {
	for rest := p.wait; ; {
		a, err := f.authority(x) // again each time: there may be another in its place
		if err != nil {
			return err
		}
		var changed <-chan struct{}
		if p.wait > 0 {
			changed = a.ListsChanged()
		}
		lists, err := p.apart(ctx, a, wanted)
		if err != nil {
			return err
		}
		answer, err := wanted.answer(lists)
		if err != nil {
			return err
		}
		if !p.given || newest(lists).Number > p.after {
			return x.ReplyKept(answer)
		}
		if rest <= 0 {
			return x.NotModified(answer.Tag())
		}
		outcome, waited := x.Await(ctx, changed, rest)
		switch rest -= waited; outcome {
		case server.News, server.TimeUp: // which may have come together
		case server.Crowded:
			return errCrowded
		case server.Shed:
			x.Later()
			return x.NotModified(answer.Tag())
		case server.Gone:
			x.Header().Set("Connection", "close")
			return x.NotModified(answer.Tag())
		}
	}
}
