package clienttest

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"
)

// forUsers answers what users ask for beside requests and certificates, as one who has decided about the pages of one origin,
// and has one invitation on record. It reports whether that was asked for.
func (d *Daemon) forUsers(w http.ResponseWriter, r *http.Request) bool {
	_, resource, _ := strings.Cut(strings.Trim(r.URL.Path, "/"), "/")
	if r.URL.Path == "/cors" {
		resource = "cors"
	}
	now := d.Clock.Now().UTC()
	var answer any
	switch what := r.Method + " " + resource; {
	case what == "GET cors":
		answer = []any{map[string]any{"origin": "https://pages.example", "allowed": true, "at": now, "until": now.Add(24 * time.Hour)}}
	case what == "GET invite":
		answer = []any{map[string]any{
			"id": strings.Repeat("ab", 16), "inviter": "user serial=255 key=" + strings.Repeat("0", 40), "names": []string{"dns:x.example"},
			"uses": 2, "used": 1, "refused": 0, "made": now, "until": now.Add(time.Hour), "voided": now,
		}}
	case what == "DELETE cors", strings.HasPrefix(what, "DELETE invite/"), strings.HasPrefix(what, "DELETE lineage/"):
	default:
		return false
	}
	switch {
	case d.Reference:
		http.NotFound(w, r)
	case !requireUser(w, d.user(r)):
	case answer == nil:
		w.WriteHeader(http.StatusNoContent)
	default:
		_ = json.NewEncoder(w).Encode(answer)
	}
	return true
}
