// Package hook has an operator's own programs take part in what a certificate authority does: they are asked before a request is
// approved and before a certificate is signed, and told of what was issued. What they are told and what they may answer is
// described in docs/hooks.md.
//
// A hook is trusted to decide, and with nothing else: it runs without a shell and without the daemon's environment, may take so
// long and say so much, and whatever goes wrong with it refuses what it was asked about.
package hook

import (
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"cauase/pkg/cli"
	"cauase/pkg/folder"
)

// Version is that of what hooks are told and answer. It changes when a hook that was written for it could misunderstand the next
// one; members that are added do not change it.
const Version = 1

// An Event is what a hook is called for.
type Event string

// The events.
const (
	Boot      Event = "boot"      // the daemon is about to serve
	Authorize Event = "authorize" // a request has come in
	Presign   Event = "presign"   // a certificate is about to be signed
	Postsign  Event = "postsign"  // a certificate was issued
)

// Timeout is how long a hook may take for an event unless the configuration says otherwise: somebody waits for those in the middle.
func (e Event) Timeout() time.Duration {
	switch e {
	case Boot:
		return time.Minute
	case Postsign:
		return 30 * time.Second
	}
	return 10 * time.Second
}

// MaxTimeout bounds what the configuration may say.
const MaxTimeout = 10 * time.Minute

// Why a hook has not answered.
var (
	ErrBusy    = errors.New("too many calls of it are waiting already")
	ErrTimeout = errors.New("it did not end in time")
	ErrFlood   = errors.New("it wrote more than is read")
	ErrAnswer  = errors.New("its answer is not what was asked for")
)

// A Failure is an error of a hook, as opposed to what it has decided.
type Failure struct {
	Event Event
	Hook  string // path or URL without what could be secret
	Err   error
}

func (f *Failure) Error() string { return fmt.Sprintf("%s hook %s: %v", f.Event, f.Hook, f.Err) }

// Unwrap returns what went wrong.
func (f *Failure) Unwrap() error { return f.Err }

// Public is what whoever has asked is told: that it was not their fault, and nothing of what is on this machine.
func (f *Failure) Public() string {
	if errors.Is(f.Err, ErrBusy) {
		return fmt.Sprintf("the %s hook has too much to do, try again later", f.Event)
	}
	return fmt.Sprintf("the %s hook could not be asked", f.Event)
}

// CheckPath reports why a program at a path could not be a hook, as far as that shows without starting it.
func CheckPath(path string) error {
	if !filepath.IsAbs(path) {
		return fmt.Errorf("%q is not an absolute path: hooks are started from nowhere in particular, and looked up nowhere", path)
	}
	if err := folder.CheckProgram(path); err != nil {
		return err
	}
	if err := folder.Executable(path); err != nil {
		return cli.ExplainStart(path, err)
	}
	return cli.CheckScript(path)
}
