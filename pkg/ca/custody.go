package ca

import (
	"time"

	"cauase/pkg/keys"
	"cauase/pkg/store"
)

// stateOf says what can be done with a CA.
func stateOf(row store.CA, now time.Time) store.CAState {
	switch {
	case row.Key != nil:
		return store.CAUsable
	case now.After(row.NotAfter):
		return store.CAErased
	default:
		return store.CADisowned
	}
}

func refOf(row store.CA) keys.Ref { return keys.Ref{Custody: keys.RowCustody, Ref: row.Key} }

func setRef(row *store.CA, ref keys.Ref) { row.Key = ref.Ref }
