package manage

import (
	"context"
	"crypto"
	"encoding/json"
	"errors"

	"cauase/pkg/keys"
	"cauase/pkg/pki"
	"cauase/pkg/store"
	"cauase/pkg/vault"
)

// sealedFits checks a sealed private key, if what opens it is there.
func (c *checker) sealedFits(row store.Row, ref store.KeyRef, pub crypto.PublicKey, of string) []problem {
	c.sealed++
	if c.locked != nil {
		c.unopened++
		return nil
	}
	key, err := c.custody.Open(context.Background(), vault.PurposeOf(row), keys.Ref(ref))
	switch {
	case errors.Is(err, keys.ErrLocked), errors.Is(err, keys.ErrUnwrap):
		c.unopened++
		if c.custody.Ready("") != nil { // all of them are
			c.locked = err
		}
		return nil
	case err != nil:
		return []problem{errorf("its private key cannot be opened: %v", err)}
	case !pki.SameKey(key.Public(), pub):
		return []problem{errorf("its private key is not that of %s", of)}
	}
	return nil
}

// kek checks what seals private keys, as far as that can be seen without opening it.
func (c *checker) kek(v store.KEK) []problem {
	problems := c.notFuture("when it was made", v.CreatedAt)
	if _, ok := c.rowOf[v.Authority]; !ok && v.Authority != "" {
		problems = append(problems, warningf("there is no authority %s: one was to be added, and was not", v.Authority))
	}
	if v.Authority == "" {
		c.begun = true
	}
	if v.Wrap == "" || len(v.Wrapped) == 0 || !json.Valid(v.Params) {
		problems = append(problems, errorf("it cannot be opened: parts of it are missing, or make no sense"))
	}
	return problems
}

// reportKeys says what is to be said of all private keys together.
func (c *checker) reportKeys() {
	if c.unopened > 0 {
		why := "a passphrase of their own opens them"
		if c.locked != nil {
			why = c.locked.Error()
		}
		c.report("database", warningf("%d private keys were not checked: %s", c.unopened, why))
	}
	if c.sealed > 0 && !c.begun {
		c.report("database", errorf("%d private keys are sealed, and what seals them is not there", c.sealed))
	}
	if c.exposed > 0 && c.begun {
		c.report("database", errorf("%d private keys are in the clear, while others are sealed: cauased manage seal", c.exposed))
	}
}
