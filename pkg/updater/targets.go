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
	// What is wrong with files that cannot be read is said already.
	if w.job.Crt != "" && state.Pair != PairBroken {
		for _, path := range []string{w.paths.KeyPath(), w.job.Crt} {
			targets = append(targets, func() error { return w.paths.Attributes.Replaceable(path) })
		}
		targets = append(targets, func() error { return pemfile.CheckForm(w.paths.KeyPath(), s.files.RawKey) },
			func() error { return pemfile.CheckForm(w.job.Crt, s.files.RawCrt) })
	}
	if s.crl.state != StoreBroken {
		targets = append(targets, w.job.crlStore().Replaceable)
	}
	for _, target := range targets {
		err := target()
		switch {
		case err == nil, errors.Is(err, fs.ErrNotExist):
			continue
		case errors.Is(err, fs.ErrPermission) && w.silent && os.Geteuid() != 0:
			continue // whoever takes a look need not have the agent's rights
		}
		class, hint = w.explain(err)
		return class, err.Error(), hint
	}
	return "", "", ""
}
