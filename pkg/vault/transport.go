package vault

import (
	"context"
	"crypto"
	"encoding/json"
	"fmt"

	"cauase/pkg/backup"
	"cauase/pkg/keys"
)

// WrapBackup is the name of Transport.
const WrapBackup = "backup"

// A Transport is the wrap of a KEK in a backup: under a key of that backup's own, which is encrypted to each of those whom it is made for. So
// what a backup holds is of no use to whoever has it in the clear, without the key of a user.
type Transport struct {
	To     []crypto.PublicKey // for Wrap
	Opener crypto.PrivateKey  // for Unwrap

	key []byte // that Wrap has made
}

type transportParams struct {
	Version    int                `json:"v"`
	Recipients []backup.Recipient `json:"key_list"`
}

// Name returns "backup".
func (*Transport) Name() string { return WrapBackup }

// Wrap implements keys.Wrap.
func (t *Transport) Wrap(_ context.Context, authority string, kek []byte) (keys.Wrapped, error) {
	key, recipients, err := backup.SealTransportKey(t.To)
	if err != nil {
		return keys.Wrapped{}, err
	}
	t.key = key
	params, err := json.Marshal(transportParams{1, recipients})
	if err != nil {
		return keys.Wrapped{}, err
	}
	return keys.WrapWith(WrapBackup, key, authority, params, kek)
}

// Unwrap implements keys.Wrap.
func (t *Transport) Unwrap(_ context.Context, authority string, w keys.Wrapped) ([]byte, error) {
	if t.key != nil {
		return keys.UnwrapWith(t.key, authority, w)
	}
	if t.Opener == nil {
		return nil, fmt.Errorf("%w: they are as a backup has them, and the key of a user is needed", keys.ErrLocked)
	}
	var p transportParams
	if len(w.Params) > backup.MaxHeaderSize || json.Unmarshal(w.Params, &p) != nil || p.Version != 1 {
		return nil, fmt.Errorf("%w: its parameters cannot be read", keys.ErrUnwrap)
	}
	candidates, err := backup.OpenTransportKey(p.Recipients, t.Opener)
	if err != nil {
		return nil, err
	}
	err = keys.ErrUnwrap
	for _, key := range candidates {
		var kek []byte
		if kek, err = keys.UnwrapWith(key, authority, w); err == nil {
			return kek, nil
		}
	}
	return nil, err
}
