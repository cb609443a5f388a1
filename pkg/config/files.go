package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"cauase/pkg/cli"
)

// None is given instead of a path for no configuration file at all.
const None = "none"

// DefaultContext is the one that is made, and meant, unless another is named.
const DefaultContext = "default"

// Files are the configuration files that were read, the nearest first.
type Files []*Contexts

// UserFile is the path of the user's configuration, or of the one that is named instead, "" if nobody knows.
func UserFile(named string) string {
	if named != "" && named != None {
		return named
	}
	if folder := Folder(); folder != "" {
		return filepath.Join(folder, FileName)
	}
	return ""
}

// ReadFiles reads the user's configuration, or the one that is named instead, and the machine's. One that is named has to
// be there, unless it may be made. The machine's may be for others than this user; the user's own is never left out because
// it cannot be read: without it whoever answers would be trusted.
func ReadFiles(named string, mayBeMade bool) (files Files, err error) {
	if named == None {
		return nil, nil
	}
	for _, path := range []string{UserFile(named), SystemFile} {
		if path == "" {
			continue
		}
		file, err := ReadContexts(path, Names)
		switch {
		case err == nil:
			files = append(files, file)
		case errors.Is(err, fs.ErrNotExist) && (path != named || mayBeMade), path == SystemFile && path != named && Absent(err):
		case errors.Is(err, fs.ErrNotExist):
			return nil, cli.WithHint(fmt.Errorf("--config: %w", err), "cauase init makes one; %s is for no file at all", None)
		case errors.Is(err, fs.ErrPermission):
			return nil, cli.WithHint(err, "have it be yours (chown), name another with --config, or say --config %s for no file at all", None)
		default:
			return nil, err
		}
	}
	return files, nil
}

// ErrWhich says that the files have several contexts, and call none of them the current one.
var ErrWhich = errors.New("which context? the configuration has several, and says of none that it is the current one")

// Choose returns which of the contexts is meant: the one named, or else the current one. It is "" if there are no files.
func (f Files) Choose(named string) (string, error) {
	names, current := f.Names(), f.Current()
	name, from := current, keyCurrent
	if named != "" {
		if err := CheckContextName(named); err != nil {
			return "", fmt.Errorf("--context %w", err)
		}
		name, from = named, "--context"
	}
	switch {
	case slices.Contains(names, name):
		return name, nil
	case name == "" && slices.Contains(names, DefaultContext):
		return DefaultContext, nil
	case name == "" && len(names) == 1:
		return names[0], nil
	case name == "" && len(names) > 1:
		return "", cli.WithHint(ErrWhich, "give --context, one of %s, or set %s in %s", strings.Join(names, ", "), keyCurrent, f[0].Path)
	case name == "" && len(f) > 0:
		return DefaultContext, nil
	case name == "":
		return "", nil
	case len(names) == 0 && named != "":
		return "", cli.WithHint(fmt.Errorf("--context %s: there is no configuration with contexts", name), "cauase init --context %s --ca-url http://HOST[:PORT] makes one", name)
	}
	err := fmt.Errorf("%s %q: there is no such context", from, name)
	if len(names) == 0 {
		return "", cli.WithHint(err, "[context.%s] begins its settings in %s", name, f[0].Path)
	}
	return "", cli.DidYouMean(err, name, names)
}

// Current is what the nearest file that says so calls the current context.
func (f Files) Current() string {
	for _, file := range f {
		if file.Current != "" {
			return file.Current
		}
	}
	return ""
}

// Names returns the contexts that the files describe, in alphabetical order.
func (f Files) Names() (names []string) {
	for _, file := range f {
		names = append(names, file.Names()...)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Get returns a setting for a context from the nearest file that has it.
func (f Files) Get(context, key string) (file *Contexts, s Setting, found bool) {
	for _, file := range f {
		if s, found := file.Get(context, key); found {
			return file, s, true
		}
	}
	return nil, Setting{}, false
}

// Apply gives an option its value from a file.
func (c *Contexts) Apply(to *urfave.Context, name string, s Setting) error {
	place := fmt.Sprintf("%s: %v: %s", c.Path, s.Position, name)
	texts, err := cli.ValuesFor(cli.OptionOf(to, name), s.Value)
	if err != nil {
		return fmt.Errorf("%s: %w", place, err)
	}
	for _, text := range texts {
		if slices.Contains(Paths, name) {
			text = Locate(text, filepath.Dir(c.Path))
		}
		if err := cli.SetAt(to, name, text, place); err != nil {
			return fmt.Errorf("%s: %w", place, err)
		}
	}
	return nil
}

// Locate makes a path of a file's absolute: ~/ is the user's own folder.
func Locate(text, folder string) string {
	if rest, ok := strings.CutPrefix(text, "~/"); ok && os.Getenv("HOME") != "" {
		return filepath.Join(os.Getenv("HOME"), rest)
	}
	if text == "" || filepath.IsAbs(text) {
		return text
	}
	return filepath.Join(folder, text)
}
