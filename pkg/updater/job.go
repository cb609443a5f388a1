// Package updater is the agent that keeps what is on a host true: private key,
// certificate, CA certificates and revocation lists. It looks at the files, decides what
// is to be done, and does it, for as long as it runs; nothing that happens ends it.
package updater

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"time"

	"cauase/pkg/client"
	"cauase/pkg/folder"
	"cauase/pkg/pemfile"
	"cauase/pkg/pki"
)

// Defaults of a Job, the reference's where it has them.
const (
	DefaultThreshold    = 31 * day
	DefaultCRLThreshold = 7 * day
	DefaultMaxSleep     = 31 * day
	DefaultHookTimeout  = 5 * time.Minute
	// DefaultCRLRefresh is the longest time between two looks for new revocation lists; shorter for lists of a short life.
	DefaultCRLRefresh = time.Hour

	day = 24 * time.Hour
)

// A Job is one set of files to keep up to date: a certificate with its key, and the
// authority's CA certificates and revocation lists, or only the latter two.
type Job struct {
	Name      string // in logs and metrics
	CAURL     string
	Authority client.AuthorityName

	Crt    string // "" for CA certificates and revocation lists only
	Key    string // "" if it is kept in Crt
	CSR    string // "" for no bootstrap
	Invite string // an invitation to submit it with, erased after that; "" for none

	SSHHostKey string // with which to prove which host submits it; "" for none

	CA    string // of Authority
	CRL   string // of Authority
	CASCA string // of the authority for services, "" if CA is that
	Root  string // what verifies all that Authority issues, "" if that is not to be kept
	State string // what is remembered across restarts, "" for a name beside Crt or CRL

	Threshold    time.Duration // of the certificate's validity, under which it is renewed
	CRLThreshold time.Duration // of a revocation list's validity, under which it is an emergency that there is no newer one
	CRLRefresh   time.Duration // between two looks for newer lists, 0 for DefaultCRLRefresh or what suits their life
	NoPush       bool          // do not wait for the daemon to tell of newer lists
	MaxSleep     time.Duration
	KeyType      pki.KeyType // of new keys, "" for that of the old one
	Profile      string      // of the first certificate, "" for the authority's default
	Chain        bool        // store the CA certificates behind the certificate, up to its root
	Pins         []client.Pin
	CatchUp      float64 // spans, see client.Options

	OnRenew     string // executable, "" for none
	HookTimeout time.Duration

	Owner, Group *int // of the files, nil to keep
	FileMode     fs.FileMode
	Follow       bool // replace what symbolic links point to
}

// Validate checks what can be checked without looking at files.
func (j *Job) Validate() error {
	switch {
	case j.CAURL == "":
		return errors.New("the CA's address is not given")
	case j.CA == "":
		return errors.New("the location of the CA certificates is not given")
	case j.CRL == "":
		return errors.New("the location of the revocation lists is not given")
	case j.Authority == client.CAU && j.CASCA == "":
		return errors.New("the location of the service CA certificates is not given, which certificates of users need")
	case j.Crt == "" && j.Key != "":
		return errors.New("there is a key without a certificate")
	case j.Crt == "" && j.CSR != "":
		return errors.New("there is a request without a certificate to get")
	case j.Invite != "" && j.CSR == "":
		return errors.New("there is an invitation without a request to use it for")
	case j.SSHHostKey != "" && j.CSR == "":
		return errors.New("there is an SSH host key without a request to use it for")
	case j.SSHHostKey != "" && j.Invite != "":
		return errors.New("there are an SSH host key and an invitation: either is to have the request signed")
	case j.Crt == "" && j.Chain:
		return errors.New("there is a chain without a certificate before it")
	case j.HookTimeout <= 0:
		return errors.New("the hook's timeout is not positive")
	case j.MaxSleep <= 0:
		return errors.New("the longest sleep is not positive")
	case j.Threshold < 0 || j.CRLThreshold < 0:
		return errors.New("a threshold is negative")
	case j.CRLRefresh < 0 || j.CRLRefresh > 0 && j.CRLRefresh < minRefresh:
		return fmt.Errorf("revocation lists cannot be looked for more often than every %v", minRefresh)
	case j.OnRenew != "" && !filepath.IsAbs(j.OnRenew) && filepath.Base(j.OnRenew) == j.OnRenew:
		return fmt.Errorf("the hook %q is not the path of an executable: write ./%s if it is in the working directory", j.OnRenew, j.OnRenew)
	}
	if _, err := client.New(client.Options{URL: j.CAURL, Authority: j.Authority, Clock: noClock{}, CatchUp: j.CatchUp}); err != nil {
		return err
	}
	roles := map[string]string{}
	for _, f := range []struct{ role, path string }{
		{"certificate", j.Crt}, {"key", j.keyIfSeparate()}, {"request", j.CSR}, {"invitation", j.Invite}, {"revocation lists", j.CRL}, {"CA certificates", j.CA}, {"roots", j.Root},
	} {
		if f.path == "" {
			continue
		}
		path := filepath.Clean(f.path)
		if other, taken := roles[path]; taken {
			return fmt.Errorf("%s is the location of both %s and %s", f.path, other, f.role)
		}
		roles[path] = f.role
	}
	if j.CASCA != "" {
		path := filepath.Clean(j.CASCA)
		if other, taken := roles[path]; taken && (path != filepath.Clean(j.CA) || j.Authority != client.CAS) {
			return fmt.Errorf("%s is the location of both %s and the service CA certificates", j.CASCA, other)
		}
	}
	return nil
}

func (j *Job) keyIfSeparate() string {
	if j.Key == j.Crt {
		return ""
	}
	return j.Key
}

// noClock serves where only options are checked.
type noClock struct{}

func (noClock) Now() time.Time { return time.Time{} }

// ErrDays is a number of days out of range.
var ErrDays = errors.New("is not a number of days")

// Days turns days, fractions allowed, into a duration.
func Days(days float64) (time.Duration, error) {
	if math.IsNaN(days) || days < 0 || days > 100_000 {
		return 0, fmt.Errorf("%v %w", days, ErrDays)
	}
	return time.Duration(days * float64(day)), nil
}

// ParseTimeout reads a duration such as 90s or 5m.
func ParseTimeout(s string) (time.Duration, error) {
	d, err := pki.ParseDuration(s)
	if err != nil || d <= 0 {
		return 0, fmt.Errorf("%q is not a duration such as 90s or 5m", s)
	}
	return d, nil
}

func (j *Job) attributes(step func(string)) pemfile.Attributes {
	return pemfile.Attributes{
		Mode: j.FileMode, Owner: j.Owner, Group: j.Group,
		Follow: j.Follow, Guard: true, Own: j.own(), Step: step,
	}
}

// own reports whether this process has no rights but those of the files' owner. What others could do to it
// in a folder that they can write to, they could do to the owner.
func (j *Job) own() bool { return j.Owner != nil && *j.Owner != 0 && *j.Owner == os.Geteuid() }

// beside are the attributes of what an agent keeps for itself beside the files.
func (j *Job) beside(step func(string)) pemfile.Attributes {
	return pemfile.Attributes{Mode: 0o600, Follow: j.Follow, Guard: true, Own: j.own(), Step: step}
}

func (j *Job) caStore(path string) pemfile.Store {
	store := pemfile.CAStore(path)
	store.Attributes = j.attributes(nil)
	return store
}

func (j *Job) crlStore() pemfile.Store {
	store := pemfile.CRLStore(j.CRL)
	store.Attributes = j.attributes(nil)
	return store
}

// absolute is the job for a process in another working directory.
func (j *Job) absolute() (Job, error) {
	a := *j
	for _, path := range []*string{&a.Crt, &a.Key, &a.CSR, &a.Invite, &a.SSHHostKey, &a.CA, &a.CRL, &a.CASCA, &a.Root, &a.State, &a.OnRenew} {
		if *path == "" {
			continue
		}
		var err error
		if *path, err = folder.Abs(*path); err != nil {
			return a, err
		}
	}
	return a, nil
}

// statePath is where memory is kept.
func (j *Job) statePath() string {
	if j.State != "" {
		return j.State
	}
	path := j.Crt
	if path == "" {
		path = j.CRL
	}
	path = filepath.Clean(path)
	return filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".updater.json")
}

// locked lists the files that nobody else may be writing.
func (j *Job) locked() []string {
	if j.Crt == "" {
		return []string{filepath.Clean(j.CRL)}
	}
	paths := []string{filepath.Clean(j.Crt)}
	if key := j.keyIfSeparate(); key != "" {
		paths = append(paths, filepath.Clean(key))
	}
	return paths
}

// paths lists everything that is looked at.
func (j *Job) paths() []string {
	var paths []string
	for _, path := range []string{j.Crt, j.keyIfSeparate(), j.CSR, j.Invite, j.CA, j.CRL, j.CASCA, j.Root} {
		if path != "" {
			paths = append(paths, path)
		}
	}
	return paths
}

// looked lists everything whose change is a reason to look again.
func (j *Job) looked() []string {
	if j.OnRenew == "" {
		return j.paths()
	}
	return append(j.paths(), j.OnRenew)
}
