// Package token keeps keys of CAs on PKCS #11 tokens: hardware security modules, smart cards, and what stands in for them. The keys are
// made there and never leave. It takes PKCS #11 URIs (RFC 7512). Where it is built without the tag pkcs11, which needs a C compiler, it
// knows all that and says that it can use no token.
package token

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"cauase/pkg/clock"
	"cauase/pkg/pki"
)

// Config is what Tokens are told.
type Config struct {
	Tokens []URI       // each with Module, and PIN where it takes one
	Clock  clock.Clock // the system's if nil
	Log    *slog.Logger
}

// Tokens are the tokens that this process can reach. They are looked for when they are needed.
type Tokens struct {
	list []*connection
}

// New returns the tokens of a configuration. It looks for none.
func New(cfg Config) (*Tokens, error) {
	if len(cfg.Tokens) > 0 && !Built {
		return nil, fmt.Errorf("%s: %w", cfg.Tokens[0].OnToken(), ErrNotBuilt)
	}
	return newWith(cfg, connect)
}

func newWith(cfg Config, connect func(URI, func() ([]byte, error)) (device, error)) (*Tokens, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Clock == nil {
		cfg.Clock = clock.System()
	}
	t := &Tokens{}
	for _, uri := range cfg.Tokens {
		uri = uri.OnToken()
		switch {
		case !uri.Names():
			return nil, fmt.Errorf("%s names no token: token= or serial= is needed", uri)
		case uri.Module == "":
			return nil, fmt.Errorf("%s: the library of the token is not said: ?module-path= is needed", uri)
		}
		if known, err := t.find(uri); err == nil {
			if known.uri.String() != uri.String() || known.uri.Module != uri.Module || known.uri.PIN != uri.PIN {
				return nil, fmt.Errorf("%s is given twice, and not in the same way", uri)
			}
			continue
		}
		c := &connection{uri: uri, connect: connect, clock: cfg.Clock, log: cfg.Log}
		c.siblings = func() (others []*connection) {
			for _, other := range t.list {
				if other != c && other.uri.Module == c.uri.Module {
					others = append(others, other)
				}
			}
			return others
		}
		t.list = append(t.list, c)
	}
	return t, nil
}

// find returns what leads to the token that uri names.
func (t *Tokens) find(uri URI) (*connection, error) {
	for _, c := range t.list {
		if c.uri.sameToken(uri) {
			return c, nil
		}
	}
	if !Built && len(t.list) == 0 {
		return nil, ErrNotBuilt
	}
	return nil, fmt.Errorf("%w: %s", ErrUnknown, uri.OnToken())
}

// Check reports why no keys of a type could be made where uri says: at once if that follows from what is configured, after a look
// at the token otherwise. A token that is not there at the moment may be right: that is keys.ErrLocked.
func (t *Tokens) Check(ctx context.Context, uri URI, keyType pki.KeyType) error {
	c, err := t.find(uri)
	if err != nil {
		return err
	}
	return c.do(ctx, func(d device) error { return d.Supports(keyType) })
}

// Close ends all sessions.
func (t *Tokens) Close() {
	for _, c := range t.list {
		c.close()
	}
}

// CheckPlace reports why the next keys of an authority cannot be made where uri says, as far as the URI tells.
func CheckPlace(uri URI) error {
	switch {
	case !uri.Names():
		return errors.New("which token is not said: token= or serial= is needed in the PKCS #11 URI")
	case len(uri.ID) > 0:
		return errors.New("id in the PKCS #11 URI: each key that is made gets an id of its own; object= says what all of them are called")
	}
	return nil
}
