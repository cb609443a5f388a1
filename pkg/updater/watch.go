package updater

import (
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fsnotify/fsnotify"
)

// A watcher calls back when something happens in the folders of files, which may not exist
// yet, come and go, or be symbolic links into other folders.
type watcher struct {
	events *fsnotify.Watcher      // nil if the system has no more of them
	notify func(changed []string) // what has changed, nil if that is not known
	log    *slog.Logger
	failed atomic.Bool
	done   chan struct{}

	mu      sync.Mutex
	current map[string]bool
	closed  bool
}

func newWatcher(notify func(changed []string), log *slog.Logger) *watcher {
	w := &watcher{notify: notify, log: log, current: map[string]bool{}, done: make(chan struct{})}
	events, err := fsnotify.NewWatcher()
	if err != nil {
		log.Warn("no events of files are to be had, they are looked at every second", "error", err.Error())
		w.failed.Store(true)
		close(w.done)
		return w
	}
	w.events = events
	go w.run()
	return w
}

// works reports whether all that should be watched is.
func (w *watcher) works() bool { return !w.failed.Load() }

func (w *watcher) run() {
	defer close(w.done)
	for {
		select {
		case event, open := <-w.events.Events:
			if !open {
				return
			}
			w.notify(w.settle(event.Name))
		case err, open := <-w.events.Errors:
			if !open {
				return
			}
			w.log.Warn("events of files may have been missed", "error", err.Error())
			w.notify(nil)
		}
	}
}

// maxChanged bounds the names that are kept of what has changed at once.
const maxChanged = 10_000

// settle collects the names in what comes together, so that at most so many notifications a second come out. Nil stands for
// more than are kept.
func (w *watcher) settle(first string) []string {
	timer := time.NewTimer(debounce)
	defer timer.Stop()
	changed := map[string]bool{first: true}
	for {
		select {
		case event, open := <-w.events.Events:
			if !open {
				return slices.Collect(maps.Keys(changed))
			}
			if len(changed) <= maxChanged {
				changed[event.Name] = true
			}
		case <-timer.C:
			if len(changed) > maxChanged {
				return nil
			}
			return slices.Collect(maps.Keys(changed))
		}
	}
}

// set says which files to watch. It is to be called again after every notification, as
// folders may have come and gone.
func (w *watcher) set(paths []string) {
	if w.events == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return
	}
	wanted := map[string]bool{}
	for _, path := range paths {
		for _, folder := range folders(path) {
			wanted[folder] = true
		}
	}
	failed := false
	for folder := range wanted {
		// Also those that are watched: a folder that was made anew under the same name is not.
		if err := w.events.Add(folder); err != nil && exists(folder) {
			if !w.failed.Load() && !failed {
				w.log.Warn("a folder cannot be watched, files are looked at every second", "folder", folder, "error", err.Error())
			}
			failed = true
		}
	}
	w.failed.Store(failed)
	for folder := range w.current {
		if !wanted[folder] {
			_ = w.events.Remove(folder) // it may be gone already
		}
	}
	w.current = wanted
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// folders lists what to watch for changes of path: its folder, that of what it points to,
// itself if it is a folder, and above what does not exist the next that does.
func folders(path string) []string {
	list := []string{existing(filepath.Dir(path))}
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		list = append(list, path)
	}
	if target, err := filepath.EvalSymlinks(path); err == nil {
		list = append(list, filepath.Dir(target))
	}
	// A folder that is itself replaced shows in the one above it.
	if above := filepath.Dir(list[0]); above != list[0] && above != "/" && above != "." {
		list = append(list, existing(above))
	}
	return list
}

func existing(folder string) string {
	for !exists(folder) {
		above := filepath.Dir(folder)
		if above == folder {
			break
		}
		folder = above
	}
	return folder
}

func (w *watcher) close() {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	if w.events != nil {
		_ = w.events.Close()
	}
	<-w.done
}

// Watch sends something when something happens to paths, which the receiver has to find
// out. It ends with the returned function.
func Watch(paths []string, log *slog.Logger) (<-chan struct{}, func()) {
	events := make(chan struct{}, 1)
	var w *watcher
	ready := make(chan struct{})
	w = newWatcher(func([]string) {
		<-ready
		w.set(present(paths))
		select {
		case events <- struct{}{}:
		default:
		}
	}, log)
	w.set(present(paths))
	close(ready)
	return events, w.close
}

func present(paths []string) []string {
	return slices.DeleteFunc(slices.Clone(paths), func(path string) bool { return path == "" })
}

// Fingerprint changes when the files at paths do.
func Fingerprint(paths ...string) string { return fingerprint(paths) }
