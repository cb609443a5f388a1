package clienttest

import (
	"crypto/x509"
	"encoding/json"
	"net/http"
	"strconv"

	"cauase/pkg/pki"
)

// lineages answers GET lineage, also with a serial: here each certificate is a lineage of its own, with its place in the
// record as its id.
func (a *Authority) lineages(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if r.URL.RawQuery == "" {
		all := []any{}
		for i, crt := range a.record {
			all = append(all, lineage(i, crt))
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"lineages": all})
		return
	}
	for i, crt := range a.record {
		if crt.SerialNumber.String() == r.URL.Query().Get("serial") {
			_ = json.NewEncoder(w).Encode(map[string]any{"lineages": []any{lineage(i, crt)}})
			return
		}
	}
	http.Error(w, "no such certificate", http.StatusNotFound)
}

// lineage answers GET lineage/ID.
func (a *Authority) lineage(w http.ResponseWriter, id uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if id == 0 || id > uint64(len(a.record)) {
		http.Error(w, "no such lineage", http.StatusNotFound)
		return
	}
	crt := a.record[id-1]
	l := lineage(int(id)-1, crt)
	l["certificates"] = []any{map[string]any{
		"id": l["id"], "serial": crt.SerialNumber.String(), "subject": l["subject"], "sans": pki.SANStrings(crt.Extensions),
		"not_before": crt.NotBefore, "not_after": crt.NotAfter, "issued_at": crt.NotBefore,
	}}
	_ = json.NewEncoder(w).Encode(l)
}

func lineage(place int, crt *x509.Certificate) map[string]any {
	return map[string]any{
		"id": strconv.Itoa(place + 1), "subject": pki.SubjectString(crt.RawSubject), "state": "active", "created_at": crt.NotBefore,
		"newest_serial": crt.SerialNumber.String(), "not_after": crt.NotAfter, "renewals": 0,
	}
}
