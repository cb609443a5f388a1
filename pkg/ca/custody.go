package ca

import (
	"cauase/pkg/keys"
	"cauase/pkg/store"
)

// refOf returns the reference to the key of a CA.
func refOf(row store.CA) keys.Ref { return keys.Ref(row.Key) }

func setRef(row *store.CA, ref keys.Ref) { row.Key, row.State = store.KeyRef(ref), store.CAUsable }
