package backup

import (
	"crypto"
	"crypto/rand"
)

// TransportKeySize is the length of a transport key, in bytes.
const TransportKeySize = 32

// SealTransportKey makes a key for what must stay encrypted within a backup, and encrypts it to everybody whom that is made for. All keys must
// be Usable.
func SealTransportKey(to []crypto.PublicKey) (key []byte, recipients []Recipient, err error) {
	switch {
	case len(to) == 0:
		return nil, nil, ErrNoRecipient
	case len(to) > MaxRecipients:
		return nil, nil, ErrTooManyRecipients
	}
	key = make([]byte, TransportKeySize)
	if _, err := rand.Read(key); err != nil {
		return nil, nil, err
	}
	for _, pub := range to {
		r, err := sealTo(forTransport, key, pub)
		if err != nil {
			return nil, nil, err
		}
		recipients = append(recipients, r)
	}
	return key, recipients, nil
}

// OpenTransportKey returns what a recipient gets out of that: one key for each entry for it, of which only what they encrypt shows which is right.
func OpenTransportKey(recipients []Recipient, key crypto.PrivateKey) ([][]byte, error) {
	return openTo(forTransport, TransportKeySize, recipients, key)
}
