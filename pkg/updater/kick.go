package updater

import (
	"path/filepath"
	"slices"
	"strings"
)

// lookers are the jobs that look at a file or at what is in a folder, by every name that it has for us. What one job changes
// of its own is thus no reason for a thousand others to look.
type lookers map[string][]*running

// kick has the jobs look that something which has changed may matter to; nil stands for anything.
func (a *Agent) kick(changed []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	woken, all := a.concerned(changed)
	if all {
		woken = a.running
	}
	for _, r := range woken {
		r.keeper().wake()
	}
	// Folders may have come and gone, and links lead elsewhere.
	if all || len(woken) > 0 {
		a.watchAll()
	}
}

// concerned returns the jobs that changes matter to, or that it may be all of them: what is no job's file may be a link, or a
// folder, on the way to one.
func (a *Agent) concerned(changed []string) (woken []*running, all bool) {
	if changed == nil {
		return nil, true
	}
	seen := map[*running]bool{}
	folders := map[string]string{}
	for _, path := range changed {
		path = filepath.Clean(path)
		in := filepath.Dir(path)
		if _, known := folders[in]; !known {
			folders[in] = in
			if real, err := filepath.EvalSymlinks(in); err == nil {
				folders[in] = real
			}
		}
		known := false
		for _, name := range []string{path, filepath.Join(folders[in], filepath.Base(path)), in, folders[in]} {
			for _, r := range a.lookers[name] {
				known = true
				if !seen[r] {
					seen[r] = true
					woken = append(woken, r)
				}
			}
		}
		if !known && !isOurs(filepath.Base(path)) {
			return nil, true
		}
	}
	return woken, false
}

// isOurs reports whether a name is one of those that agents give what they keep for themselves: that is no news.
func isOurs(name string) bool {
	return strings.HasPrefix(name, ".") && slices.Contains([]string{".new", ".old", ".next", ".json", ".sock"}, filepath.Ext(name))
}

// watchAll has events come of all that jobs look at.
func (a *Agent) watchAll() {
	if a.watch == nil {
		return
	}
	a.lookers = lookers{}
	names := map[string][]string{} // of what is at a path that many jobs may look at
	var paths []string
	for _, r := range a.running {
		for _, path := range r.keeper().watches() {
			if names[path] == nil {
				paths = append(paths, path)
				names[path] = namesOf(path)
			}
			for _, name := range names[path] {
				a.lookers[name] = append(a.lookers[name], r)
			}
		}
	}
	a.watch.set(paths)
}

// namesOf returns the names by which something at a path can be met: the path, the file in the folder that this leads to, and what
// a link there leads to.
func namesOf(path string) []string {
	path = filepath.Clean(path)
	names := []string{path}
	if in, err := filepath.EvalSymlinks(filepath.Dir(path)); err == nil {
		names = append(names, filepath.Join(in, filepath.Base(path)))
	}
	if target, err := filepath.EvalSymlinks(path); err == nil {
		names = append(names, target)
	}
	slices.Sort(names)
	return slices.Compact(names)
}
