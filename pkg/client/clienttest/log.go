package clienttest

import (
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strconv"

	"cauase/pkg/envelope"
	"cauase/pkg/ledger"
	"cauase/pkg/merkle"
	"cauase/pkg/witness"
)

// VouchLog returns the envelope that says which key the daemon's log has, and which epochs.
func (a *Authority) VouchLog(h witness.Head) []byte {
	payload := envelope.LogKey{Key: h.Key.String()}
	for _, e := range h.Epochs {
		payload.Epochs = append(payload.Epochs, envelope.LogEpoch{Epoch: e.Epoch, Size: e.Size, Root: e.Root[:], Time: e.Time})
	}
	text, err := envelope.EncodeLogKey(payload)
	a.must(err)
	return a.Sign(text)
}

func (d *Daemon) checkpoint(w http.ResponseWriter, r *http.Request, authority *Authority) {
	if d.Log == nil || d.Reference {
		http.NotFound(w, r)
		return
	}
	from, _ := strconv.ParseInt(r.URL.Query().Get("size"), 10, 64)
	head := d.Log.Head(from)
	_ = json.NewEncoder(w).Encode(map[string]any{
		"checkpoint": head.Signed, "consistency": head.Consistency, "statement": json.RawMessage(authority.VouchLog(head)),
	})
}

func (d *Daemon) proof(w http.ResponseWriter, r *http.Request, authority *Authority) {
	if d.Log == nil || d.Reference {
		http.NotFound(w, r)
		return
	}
	digest, _ := hex.DecodeString(r.URL.Query().Get("digest"))
	size, _ := strconv.ParseInt(r.URL.Query().Get("size"), 10, 64)
	head := d.Log.Head(0)
	err := d.Log.Read(r.Context(), func(read ledger.Reader) error {
		data, err := read.Leaf(digest)
		if err != nil {
			return err
		}
		leaf, err := merkle.ParseLeaf(data)
		if err != nil {
			return err
		}
		hashes, err := merkle.ProveInclusion(leaf.Index, size, read)
		if err != nil {
			return err
		}
		return json.NewEncoder(w).Encode(map[string]any{
			"leaf": string(data), "index": leaf.Index, "size": size, "inclusion": hashes, "statement": json.RawMessage(authority.VouchLog(head)),
		})
	})
	if err != nil {
		http.NotFound(w, r)
	}
}
