package server

import (
	"net/http"
	"sync/atomic"
	"time"
)

// dates are values of the header Date, of which one is good for a second.
type dates struct{ latest atomic.Pointer[date] }

type date struct {
	second int64
	value  []string
}

// of returns the value for a time, which is not to be changed.
func (d *dates) of(t time.Time) []string {
	second := t.Unix()
	if latest := d.latest.Load(); latest != nil && latest.second == second {
		return latest.value
	}
	made := &date{second, []string{t.UTC().Format(http.TimeFormat)}}
	d.latest.Store(made)
	return made.value
}
