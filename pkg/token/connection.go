package token

import (
	"context"
	"crypto"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"cauase/pkg/clock"
	"cauase/pkg/keys"
	"cauase/pkg/pki"
)

// A device is a token that is there and has let us in. Its methods are called by many at once, but for Close.
type device interface {
	Supports(t pki.KeyType) error
	Generate(id []byte, label string, t pki.KeyType) (crypto.PublicKey, error)
	Sign(id []byte, pub crypto.PublicKey, random io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error)
	Destroy(id []byte) error
	Close()
}

const (
	// patience is how long an operation waits for a token to be found and to let us in.
	patience = 10 * time.Second
	// rest is how long a token that was not found, or has just failed, is left alone.
	rest = time.Second
)

// A connection is what leads to one token, whether it is there or not. It is found when it is needed, and looked for again when
// it has failed: whoever pulls a token out and puts it back has to tell nobody.
type connection struct {
	uri      URI
	connect  func(URI, func() ([]byte, error)) (device, error)
	clock    clock.Clock
	log      *slog.Logger
	siblings func() []*connection // others by the same library

	mu      sync.Mutex
	device  *held
	dialing chan struct{} // closed when the attempt is over; nil: there is none
	closing chan struct{} // closed when the device before is; nil: there is none
	since   time.Time     // of device
	failed  error         // of the last attempt
	when    time.Time     // of failed
	retired time.Time     // when others were closed for its sake
	pause   time.Duration // until they are again
	tried   []byte        // a fingerprint of the PIN that was read last
	refused []byte        // that of the one that was wrong
	salt    []byte        // of both
}

// A held device is one that is in use.
type held struct {
	device
	users   int
	dropped chan struct{} // closed once it is closed; nil: it was not dropped
}

// do calls f with the token. If the token turns out to be lost, it is looked for anew and f called once more.
func (c *connection) do(ctx context.Context, f func(device) error) error {
	for again := false; ; again = true {
		d, err := c.acquire(ctx)
		if err != nil {
			return err
		}
		err = f(d.device)
		gone := errors.Is(err, errLost)
		c.release(d, gone, err)
		switch {
		case errors.Is(err, errBusy), gone && again:
			return c.unavailable(err)
		case !gone:
			return err
		}
	}
}

// unavailable is why the token cannot be used now: a reason that may go away by itself.
func (c *connection) unavailable(err error) error {
	return fmt.Errorf("%w: token %s: %w", keys.ErrToken, c.uri.name(), err)
}

// acquire returns the token, found first if need be.
func (c *connection) acquire(ctx context.Context) (*held, error) {
	late := time.NewTimer(patience)
	defer late.Stop()
	for {
		c.mu.Lock()
		if d := c.device; d != nil {
			d.users++
			c.mu.Unlock()
			return d, nil
		}
		if c.dialing == nil {
			if err := c.resting(); err != nil {
				c.mu.Unlock()
				return nil, err
			}
			c.dialing = make(chan struct{})
			go c.dial(c.closing)
		}
		over := c.dialing
		c.mu.Unlock()
		select {
		case <-over:
		case <-late.C:
			return nil, c.unavailable(fmt.Errorf("it has not answered for %v", patience))
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// resting returns why the token is not looked for just now, nil if it is. The caller holds mu.
func (c *connection) resting() error {
	if c.failed == nil {
		return nil
	}
	if ago := c.clock.Now().Sub(c.when); ago < 0 || ago >= rest {
		return nil
	}
	return c.failed
}

// dial finds the token. It is called without mu, and alone: its end closes dialing. Whoever waits for it may have given up by then.
func (c *connection) dial(closing chan struct{}) {
	if closing != nil {
		<-closing // a library finds a token anew when nobody has a session to the one of before
	}
	resume := c.retire(closing != nil)
	d, err := c.connect(c.uri, c.pin)
	resume()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closing = nil
	if errors.Is(err, errWrongPIN) {
		c.refused = c.tried
	}
	if err == nil {
		if c.failed != nil {
			c.log.Info("the token can be used again", "token", c.uri.String())
		}
		c.device, c.since, c.failed = &held{device: d}, c.clock.Now(), nil
	} else {
		c.fail(err)
	}
	close(c.dialing)
	c.dialing = nil
}

// fail notes why the token cannot be used, and says so once. The caller holds mu.
func (c *connection) fail(err error) {
	why := c.unavailable(err)
	switch {
	case errors.Is(err, ErrNotBuilt):
		why = err
	case c.failed == nil || c.failed.Error() != why.Error():
		c.log.Error("the token cannot be used", "token", c.uri.String(), "error", err)
	}
	c.failed, c.when = why, c.clock.Now()
}

// maxPause is the longest time between two attempts to have a library loaded anew for a token that is away.
const maxPause = time.Minute

// retire closes the connections to other tokens by the same library, if nobody uses them just now: most libraries look for tokens when they
// are loaded, and are not loaded anew while one of their tokens is in use. It does so for a token that was lost, and for one that stays away
// more and more rarely, as the others have to be found again. It returns what lets those be used again.
func (c *connection) retire(lost bool) (resume func()) {
	resume = func() {}
	c.mu.Lock()
	now := c.clock.Now()
	due := lost || c.failed != nil && (now.Before(c.retired) || now.Sub(c.retired) >= c.pause)
	if due {
		c.retired, c.pause = now, min(max(2*c.pause, rest), maxPause)
	}
	if lost {
		c.pause = rest
	}
	c.mu.Unlock()
	if !due {
		return resume
	}
	var idle []*held
	var taken []*connection
	for _, s := range c.siblings() {
		d, free := s.take()
		if !free {
			for i, s := range taken {
				s.resume(idle[i])
			}
			return resume
		}
		if d != nil {
			idle, taken = append(idle, d), append(taken, s)
		}
	}
	for _, d := range idle {
		d.Close()
	}
	return func() {
		for _, s := range taken {
			s.resume(nil)
		}
	}
}

// take takes the device away from a connection that nobody uses just now, and has those who come wait for resume. It is free without a
// device if there is none.
func (c *connection) take() (d *held, free bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.dialing != nil || c.ending() || c.device != nil && c.device.users > 0:
		return nil, false
	case c.device == nil:
		return nil, true
	}
	d, c.device, c.dialing = c.device, nil, make(chan struct{})
	return d, true
}

// resume ends take. Without d the device is found anew by whoever needs it.
func (c *connection) resume(d *held) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.device = d
	close(c.dialing)
	c.dialing = nil
}

// ending reports whether the device before is still being closed. The caller holds mu.
func (c *connection) ending() bool {
	if c.closing == nil {
		return false
	}
	select {
	case <-c.closing:
		return false
	default:
		return true
	}
}

// release ends one use of d. One that is lost is used no more, and closed when its last use ends.
func (c *connection) release(d *held, gone bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	d.users--
	if gone && c.device == d {
		c.device, d.dropped = nil, make(chan struct{})
		c.closing = d.dropped
		if now := c.clock.Now(); now.Sub(c.since) < rest {
			c.fail(err) // it was found just now: this is not over yet
		}
	}
	if d.dropped != nil && d.users == 0 {
		go func() {
			d.Close()
			close(d.dropped)
		}()
	}
}

// pin reads the PIN, unless it is the one that was wrong.
func (c *connection) pin() ([]byte, error) {
	pin, err := c.uri.PIN.Read()
	if err != nil {
		return nil, fmt.Errorf("%w: its PIN cannot be read: %w", errPIN, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.tried = c.fingerprint(pin); c.refused != nil && hmac.Equal(c.refused, c.tried) {
		clear(pin)
		return nil, fmt.Errorf("%w: %w", errPIN, errWrongPIN)
	}
	return pin, nil
}

// fingerprint tells PINs apart without keeping them. The caller holds mu.
func (c *connection) fingerprint(pin []byte) []byte {
	if c.salt == nil {
		c.salt = make([]byte, sha256.Size)
		_, _ = rand.Read(c.salt) // which does not fail
	}
	h := hmac.New(sha256.New, c.salt)
	h.Write(pin)
	return h.Sum(nil)
}

// state is why the token cannot be used, as far as is known; nil if it can, or nobody has tried. Whoever heeds it does not use the
// token, so it has one that was away looked for: somebody has to.
func (c *connection) state() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.device != nil || c.failed == nil {
		return nil
	}
	if c.dialing == nil && c.resting() == nil {
		c.dialing = make(chan struct{})
		go c.dial(c.closing)
	}
	return c.failed
}

// Close ends the connection, after what is under way.
func (c *connection) close() {
	c.mu.Lock()
	d := c.device
	c.device = nil
	if d != nil {
		d.dropped = make(chan struct{})
		c.closing = d.dropped
	}
	idle := d != nil && d.users == 0
	c.mu.Unlock()
	if idle {
		d.Close()
		close(d.dropped)
	}
}
