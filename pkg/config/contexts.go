package config

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"cauase/pkg/cli"
	"cauase/pkg/pemfile"
)

// Contexts are what a user's configuration file is made of: settings at its top, which hold for all, and tables
// [context.NAME] with those of one, which come first.
//
//	current-context = "home"
//	threshold = "31d"
//
//	[context.home]
//	ca-url = "http://ca.home.example:8009"
type Contexts struct {
	Path    string
	Current string // the context that is meant where none is named, "" if the file does not say

	content []byte
	places  *Places // of its keys
	common  map[string]Setting
	tables  map[string]map[string]Setting
}

const (
	keyCurrent = "current-context"
	keyContext = "context"
)

// contextName is what contexts are named: a folder may be named after one.
var contextName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$`)

// CheckContextName reports why no context can have a name.
func CheckContextName(name string) error {
	if !contextName.MatchString(name) {
		return fmt.Errorf("%q is not the name of a context: letters, digits, dots, dashes and underscores are, up to 64", name)
	}
	return nil
}

// ReadContexts reads the configuration file at path, in which a setting is one of known. A file that others can
// change is refused: whoever can write it decides which CA is trusted, and what programs are run.
func ReadContexts(path string, known []string) (*Contexts, error) {
	if _, err := os.Stat(path); err != nil {
		return nil, err
	}
	content, err := pemfile.Attributes{Guard: true, Follow: true}.Read(path)
	if err == nil {
		err = content.Info.Exposed(path)
	}
	if errors.Is(err, pemfile.ErrExposed) {
		return nil, cli.WithHint(err, "whoever can write it decides which CA is trusted: make it yours alone (chmod go-w, chown), or name another with --config")
	}
	if err != nil {
		return nil, err
	}
	if len(content.Data) > MaxSize {
		return nil, fmt.Errorf("%s: longer than %d bytes", path, MaxSize)
	}
	c, err := ParseContexts(path, content.Data, known)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

// ParseContexts reads the content of a configuration file.
func ParseContexts(path string, content []byte, known []string) (*Contexts, error) {
	c := &Contexts{Path: path, content: content, places: PlacesIn(content), tables: map[string]map[string]Setting{}}
	text, err := plain(content)
	if err != nil {
		return nil, err
	}
	if c.common, err = Settings(text); err != nil {
		return nil, err
	}
	var all map[string]any
	if err := toml.Unmarshal(text, &all); err != nil {
		return nil, located(err)
	}
	var wrong error
	for _, key := range slices.SortedFunc(maps.Keys(all), c.inOrder) {
		place, isSetting := c.common[key]
		switch {
		case key == keyCurrent:
			wrong = errors.Join(wrong, c.readCurrent(place))
		case key == keyContext:
			wrong = errors.Join(wrong, c.readTables(all[key], known))
		case !isSetting:
			wrong = errors.Join(wrong, Unknown(c.places.Find(key), key, keyContext))
		case !slices.Contains(known, key):
			wrong = errors.Join(wrong, Unknown(place.Position, key, append(slices.Clone(known), keyCurrent)...))
		}
	}
	delete(c.common, keyCurrent)
	return c, wrong
}

// inOrder compares two keys at the top of the file by where they stand.
func (c *Contexts) inOrder(a, b string) int {
	return cmp.Or(cmp.Compare(c.places.Find(a).Line, c.places.Find(b).Line), strings.Compare(a, b))
}

func (c *Contexts) readCurrent(s Setting) error {
	name, isText := s.Value.(string)
	if !isText {
		return fmt.Errorf("%v: %s must be a text in quotes", s.Position, keyCurrent)
	}
	c.Current = name
	if err := CheckContextName(name); err != nil {
		return fmt.Errorf("%v: %s: %w", s.Position, keyCurrent, err)
	}
	return nil
}

func (c *Contexts) readTables(value any, known []string) error {
	tables, isTable := value.(map[string]any)
	if !isTable {
		return cli.WithHint(fmt.Errorf("%v: %s is a table for each context", c.places.Find(keyContext), keyContext), "[%s.NAME] begins one; %s = %q chooses one", keyContext, keyCurrent, "NAME")
	}
	var wrong error
	for _, name := range slices.Sorted(maps.Keys(tables)) {
		at := c.places.Find(keyContext, name)
		if err := CheckContextName(name); err != nil {
			wrong = errors.Join(wrong, fmt.Errorf("%v: %w", at, err))
			continue
		}
		table, isTable := tables[name].(map[string]any)
		if !isTable {
			wrong = errors.Join(wrong, cli.WithHint(fmt.Errorf("%v: %s.%s is no table", at, keyContext, name), "[%s.NAME] begins the settings of a context", keyContext))
			continue
		}
		settings := map[string]Setting{}
		for _, key := range slices.Sorted(maps.Keys(table)) {
			at := c.places.Find(keyContext, name, key)
			if !slices.Contains(known, key) {
				wrong = errors.Join(wrong, Unknown(at, key, known...))
				continue
			}
			settings[key] = Setting{at, table[key]}
		}
		c.tables[name] = settings
	}
	return wrong
}

// Names returns the contexts that the file describes, in alphabetical order.
func (c *Contexts) Names() []string { return slices.Sorted(maps.Keys(c.tables)) }

// Has reports whether the file describes a context.
func (c *Contexts) Has(name string) bool { return c.tables[name] != nil }

// Get returns a setting for a context: from its table, or else from the top of the file.
func (c *Contexts) Get(context, key string) (s Setting, found bool) {
	if s, found = c.tables[context][key]; !found {
		s, found = c.common[key]
	}
	return s, found
}

// With returns the content of the file with settings set for a context. What is there stays as it is, comments
// included. Values are texts, booleans, lists of texts, or
// numbers that say themselves how they are written.
func (c *Contexts) With(context string, settings map[string]any) []byte {
	lines := strings.SplitAfter(string(c.content), "\n")
	if n := len(lines); lines[n-1] != "" {
		lines[n-1] += "\n"
		lines = append(lines, "")
	}
	var more []string
	for _, key := range slices.Sorted(maps.Keys(settings)) {
		text := key + " = " + valueText(settings[key]) + "\n"
		if old, ok := c.tables[context][key]; ok && old.Line > 0 && old.Line <= len(lines) && oneLine(old.Value) {
			lines[old.Line-1] = text
			continue
		}
		more = append(more, text)
	}
	if len(more) > 0 {
		at := len(lines)
		if table := c.places.Find(keyContext, context); c.Has(context) && table.Line > 0 {
			at = table.Line
		} else {
			begin := fmt.Sprintf("[%s.%s]\n", keyContext, quotedKey(context))
			if len(c.content) > 0 {
				begin = "\n" + begin
			}
			more = append([]string{begin}, more...)
		}
		lines = slices.Insert(lines, at, more...)
	}
	return []byte(strings.Join(lines, ""))
}

// oneLine reports whether a value stands in one line of the file, as far as can be told from it.
func oneLine(value any) bool {
	text, isText := value.(string)
	_, isList := value.([]any)
	return !isList && (!isText || !strings.Contains(text, "\n"))
}

func valueText(value any) string {
	switch v := value.(type) {
	case bool, fmt.Stringer: // what has a text of its own is a number
		return fmt.Sprint(v)
	case []string:
		var all []string
		for _, one := range v {
			all = append(all, basicString(one))
		}
		return "[" + strings.Join(all, ", ") + "]"
	}
	return basicString(fmt.Sprint(value))
}

// basicString writes a text as a string of TOML (1.0, String).
func basicString(text string) string {
	var out strings.Builder
	out.WriteByte('"')
	for _, r := range text {
		switch {
		case r == '"' || r == '\\':
			out.WriteByte('\\')
			out.WriteRune(r)
		case r < 0x20 || r == 0x7f:
			fmt.Fprintf(&out, `\u%04X`, r)
		default:
			out.WriteRune(r)
		}
	}
	out.WriteByte('"')
	return out.String()
}

// quotedKey writes the name of a context in a key: one with dots in it would be several.
func quotedKey(name string) string {
	if strings.Contains(name, ".") {
		return basicString(name)
	}
	return name
}

// NewContexts is the beginning of a configuration file with one context.
func NewContexts(path, context string) *Contexts {
	content := fmt.Sprintf("# Settings of cauase, named like its options; cauase config show says where each has its value from.\n%s = %s\n", keyCurrent, basicString(context))
	return &Contexts{Path: path, Current: context, content: []byte(content), places: PlacesIn([]byte(content)), tables: map[string]map[string]Setting{}}
}

// Folder returns the folder of a user's configuration, $XDG_CONFIG_HOME/cauase or ~/.config/cauase (XDG Base
// Directory Specification), "" if neither variable says where.
func Folder() string {
	if base := os.Getenv("XDG_CONFIG_HOME"); filepath.IsAbs(base) { // a relative one is to be ignored
		return filepath.Join(base, "cauase")
	}
	if home := os.Getenv("HOME"); filepath.IsAbs(home) {
		return filepath.Join(home, ".config", "cauase")
	}
	return ""
}

// FileName is the name of a configuration file of users.
const FileName = "cauase.toml"

// SystemFile is the configuration of all users of a machine.
const SystemFile = "/etc/cauase/" + FileName

// Absent reports whether an error of ReadContexts says that there is no file for this user: none at all, or one
// that is not for this user to read.
func Absent(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission)
}
