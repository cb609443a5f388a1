package updater

import (
	"errors"
	"io/fs"
	"os"

	"cauase/pkg/pemfile"
)

// targetCondition is what keeps files from being replaced that will have to be: it is said at once, not when
// the certificate is about to expire.
func (w *worker) targetCondition(s *snapshot, state State) (class, message, hint string) {
	var targets []func() error
	pair := 0 // how many of them are about key and certificate
	// What is wrong with files that cannot be read is said already.
	if w.job.Crt != "" && state.Pair != PairBroken {
		for _, path := range []string{w.paths.KeyPath(), w.job.Crt} {
			targets = append(targets, func() error { return w.paths.Attributes.Replaceable(path) })
		}
		targets = append(targets, func() error { return pemfile.CheckForm(w.paths.KeyPath(), s.files.RawKey) },
			func() error { return pemfile.CheckForm(w.job.Crt, s.files.RawCrt) })
	}
	pair = len(targets)
	// They are what is trusted, so that they are read before they are replaced, and an error of that is said already, too.
	for _, store := range []struct {
		path string
		is   storeSnapshot
		of   func(string) pemfile.Store
	}{
		{w.job.CA, s.ca, w.job.caStore}, {w.job.CASCA, s.casca, w.job.caStore}, {w.job.Root, s.root, w.job.caStore},
		{w.job.CRL, s.crl, func(string) pemfile.Store { return w.job.crlStore() }},
	} {
		if store.path != "" && store.is.state != StoreBroken {
			targets = append(targets, store.of(store.path).Replaceable)
		}
	}
	for i, target := range targets {
		err := target()
		switch {
		case err == nil, errors.Is(err, fs.ErrNotExist):
			continue
		case errors.Is(err, fs.ErrPermission) && w.silent && os.Geteuid() != 0:
			continue // whoever takes a look need not have the agent's rights
		}
		class, hint = w.explain(err)
		if errors.Is(err, pemfile.ErrIrreplaceable) && i >= pair {
			hint = "until it can be, this host does not follow the CA and hears of no revocation"
		}
		return class, err.Error(), hint
	}
	return "", "", ""
}
