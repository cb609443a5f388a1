package clienttest

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"time"
)

// A rejection is a decision against a request.
type rejection struct {
	csr    []byte
	at     time.Time
	reason string
}

func (r rejection) answer(w http.ResponseWriter, status int) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{
		"type": "cauase:rejected", "title": "rejected", "status": status, "detail": "the request was rejected",
		"rejected_at": r.at.UTC(), "reason": r.reason,
	})
}

// rejectedBefore answers for a request that was rejected.
func (a *Authority) rejectedBefore(w http.ResponseWriter, csr []byte) bool {
	for _, pending := range a.csrs {
		if bytes.Equal(pending, csr) {
			return false
		}
	}
	for _, r := range a.refused {
		if bytes.Equal(r.csr, csr) {
			r.answer(w, http.StatusConflict)
			return true
		}
	}
	return false
}

// tellRejection answers whoever knows the request that was rejected.
func (a *Authority) tellRejection(w http.ResponseWriter, r *http.Request, id uint64) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	rejected, found := a.refused[id]
	block, _ := pem.Decode(rejected.csr)
	if !found || block == nil || r.URL.Query().Get("digest") != fmt.Sprintf("sha256:%x", sha256.Sum256(block.Bytes)) {
		return false
	}
	rejected.answer(w, http.StatusNotFound)
	return true
}
