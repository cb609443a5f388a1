package pemfile

import (
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"cauase/pkg/folder"
)

// Listings are the temporary names in folders, each of which is listed once, when it is first looked at: for those who look
// for what crashes have left of many files in few folders. What comes into being after that is not in them. The zero value
// is ready for use.
type Listings struct {
	mu     sync.Mutex
	listed map[string][]string // by path of the folder
}

// names returns the temporary names in a folder, and whether it could be listed. Some may be gone.
func (l *Listings) names(in *folder.Folder) (names []string, listed bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if names, listed = l.listed[in.Path()]; listed {
		return names, true
	}
	names, err := in.Names(maxEntries, isTemporary)
	if err != nil {
		return nil, false
	}
	if l.listed == nil {
		l.listed = map[string][]string{}
	}
	l.listed[in.Path()] = names
	return names, true
}

// isTemporary reports whether a name may be that of a file that is being written, or of what it replaces.
func isTemporary(name string) bool {
	ext := filepath.Ext(name)
	return strings.HasPrefix(name, ".") && (ext == suffixNew || ext == suffixOld)
}

func (a Attributes) sweep(in *folder.Folder, name string) {
	for _, left := range a.leftovers(in, name, suffixNew, suffixOld) {
		_ = in.Remove(left)
	}
}

// leftovers lists the temporary names of a file that exist.
func (a Attributes) leftovers(in *folder.Folder, file string, suffixes ...string) []string {
	ours := func(name string) bool { return isLeftoverOf(name, file, suffixes) }
	names, listed := []string(nil), false
	if a.Listings != nil {
		names, listed = a.Listings.names(in)
	}
	if !listed {
		var err error
		if names, err = in.Names(maxEntries, ours); err != nil {
			return nil
		}
	}
	var files []string
	for _, name := range names {
		if !ours(name) {
			continue
		}
		if info, err := in.Stat(name); err == nil && info.Mode().IsRegular() {
			files = append(files, name)
		}
	}
	return files
}

// isLeftoverOf reports whether a name is a temporary one of a file.
func isLeftoverOf(name, file string, suffixes []string) bool {
	rest, ours := strings.CutPrefix(name, siblingPrefix(file))
	suffix := filepath.Ext(rest)
	random := strings.TrimSuffix(rest, suffix)
	return ours && slices.Contains(suffixes, suffix) && len(random) == 16 && strings.Trim(random, "0123456789abcdef") == ""
}
