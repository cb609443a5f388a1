package clienttest

import (
	"fmt"
	"hash/crc32"
	"net/http"
	"strconv"
	"time"
)

// lists answers with the revocation lists of an authority, at once or, where the daemon pushes and somebody waits, when
// there are newer ones.
func (d *Daemon) lists(w http.ResponseWriter, r *http.Request, a *Authority) {
	if d.Reference {
		_, _ = w.Write(a.CRLs())
		return
	}
	after, err := strconv.ParseInt(r.URL.Query().Get("after"), 10, 64)
	wait, _ := time.ParseDuration(r.URL.Query().Get("wait"))
	if d.Push && err == nil {
		over, look := time.NewTimer(wait), time.NewTicker(10*time.Millisecond)
		defer over.Stop()
		defer look.Stop()
		for a.number() <= after {
			select {
			case <-r.Context().Done():
				return
			case <-over.C:
				w.WriteHeader(http.StatusNotModified)
				return
			case <-look.C:
			}
		}
	}
	body := a.CRLs()
	tag := fmt.Sprintf(`"%d-%x"`, len(body), crc32.ChecksumIEEE(body))
	w.Header().Set("ETag", tag)
	if r.Header.Get("If-None-Match") == tag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	_, _ = w.Write(body)
}

// number is that of the lists.
func (a *Authority) number() int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.Number
}
