package clienttest

import (
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"time"

	"cauase/pkg/pki"
)

// pendingList is what waits for a decision, the oldest first, as the reference lists it or with more.
func (a *Authority) pendingList(more bool) []map[string]any {
	a.mu.Lock()
	defer a.mu.Unlock()
	list := []map[string]any{}
	for _, id := range slices.Sorted(maps.Keys(a.csrs)) {
		csr := a.csrs[id]
		if a.issued[id] != nil {
			continue
		}
		if more {
			list = append(list, described(id, csr, "", ""))
		} else {
			list = append(list, map[string]any{"id": strconv.FormatUint(id, 10), "csr": string(csr)})
		}
	}
	return list
}

// describe answers with a request and the certificate that it would become.
func (a *Authority) describe(w http.ResponseWriter, r *http.Request, id uint64) {
	csr := a.request(id)
	if csr == nil {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	answer := map[string]any{"id": strconv.FormatUint(id, 10), "csr": string(csr)}
	if a.certificate(id) == nil {
		answer = described(id, csr, r.FormValue("profile"), r.FormValue("validity"))
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(answer)
}

// described foretells what Issue does: whatever is asked for is granted. Of profiles there are only the names.
func described(id uint64, csr []byte, profile, validity string) map[string]any {
	answer := map[string]any{"id": strconv.FormatUint(id, 10), "csr": string(csr)}
	req, err := pki.ParseRequest(csr)
	if err != nil {
		answer["problem"] = err.Error()
		return answer
	}
	extensions := []map[string]any{}
	for _, e := range req.CSR.Extensions {
		extensions = append(extensions, map[string]any{"oid": e.Id.String(), "critical": e.Critical, "value": e.Value})
	}
	seconds, _ := strconv.Atoi(cmp.Or(validity, fmt.Sprint(int(LeafLife/time.Second))))
	answer["certificate"] = map[string]any{
		"profile": cmp.Or(profile, "as-requested"), "validity_seconds": seconds,
		"subject": req.CSR.RawSubject, "extensions": extensions,
	}
	return answer
}

// matches answers 412 for a request that is another than the one that was shown.
func (a *Authority) matches(w http.ResponseWriter, r *http.Request, id uint64) bool {
	want := r.Header.Get("If-Match")
	block, _ := pem.Decode(a.request(id))
	if want == "" || block == nil || want == fmt.Sprintf(`"sha256:%x"`, sha256.Sum256(block.Bytes)) {
		return true
	}
	http.Error(w, "another request", http.StatusPreconditionFailed)
	return false
}
