package testkit

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// A JSONMember is a row of a table in docs/json.md.
type JSONMember struct {
	Type   string
	Always bool
}

// DocumentedJSON reads docs/json.md, which is at path: the members of each object, and what each command prints.
func DocumentedJSON(t testing.TB, path string) (objects map[string]map[string]JSONMember, commands map[string]string) {
	t.Helper()
	page, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	objects, commands = map[string]map[string]JSONMember{}, map[string]string{}
	section := ""
	row := regexp.MustCompile("^\\| `([^`]+)` \\| ([^|]+) \\|(?: ([^|]+) \\|)?")
	for line := range strings.Lines(string(page)) {
		if heading, found := strings.CutPrefix(line, "## "); found {
			section = strings.ToLower(strings.TrimSpace(heading))
			continue
		}
		cells := row.FindStringSubmatch(line)
		switch {
		case cells == nil:
		case strings.HasPrefix(section, "what the commands"):
			commands[cells[1]] = strings.TrimSpace(cells[2])
		default:
			if objects[section] == nil {
				objects[section] = map[string]JSONMember{}
			}
			objects[section][cells[1]] = JSONMember{strings.TrimSpace(cells[2]), strings.TrimSpace(cells[3]) == "always"}
		}
	}
	include(t, objects)
	return objects, commands
}

// include adds to the members of objects those that a row such as `request.…` says are as of another one.
func include(t testing.TB, objects map[string]map[string]JSONMember) {
	t.Helper()
	for section, members := range objects {
		for name, member := range members {
			prefix, found := strings.CutSuffix(name, "…")
			if !found {
				continue
			}
			delete(members, name)
			other := objects[strings.ToLower(strings.TrimPrefix(member.Type, "as of "))]
			if len(other) == 0 {
				t.Fatalf("%s: %s is %s, which is not documented", section, name, member.Type)
			}
			for one, of := range other {
				if _, own := members[prefix+one]; !own && !strings.HasSuffix(one, "…") {
					members[prefix+one] = of
				}
			}
		}
	}
}

// isOfType reports whether a value is of a documented type, or of one of several: time or null; string, number or boolean.
func isOfType(value any, typ string) bool {
	for one := range strings.SplitSeq(strings.ReplaceAll(typ, " or ", ", "), ", ") {
		if isOf(value, one) {
			return true
		}
	}
	return false
}

func isOf(value any, typ string) bool {
	if typ == "any" {
		return true
	}
	switch v := value.(type) {
	case nil:
		return typ == "null"
	case string:
		if typ == "time" {
			at, err := time.Parse(time.RFC3339, v)
			return err == nil && strings.HasSuffix(v, "Z") && !at.IsZero()
		}
		return typ == "string"
	case bool:
		return typ == "boolean"
	case float64:
		return typ == "number"
	case map[string]any:
		if element, isMap := strings.CutPrefix(typ, "map of "); isMap {
			for _, e := range v {
				if !isOf(e, element) {
					return false
				}
			}
			return true
		}
		return typ == "object"
	case []any:
		element, isList := strings.CutPrefix(typ, "list of ")
		return isList && !slices.ContainsFunc(v, func(e any) bool { return !isOf(e, element) })
	}
	return false
}

// ConformsTo checks an object against its documentation, and all objects in it.
func ConformsTo(value map[string]any, prefix string, members map[string]JSONMember) error {
	for name, v := range value {
		member, known := members[prefix+name]
		switch {
		case !known:
			return fmt.Errorf("%s%s is not documented", prefix, name)
		case !isOfType(v, member.Type):
			return fmt.Errorf("%s%s is %v, and not a %s", prefix, name, v, member.Type)
		}
		inner := []any{v}
		below := prefix + name + "."
		if list, isList := v.([]any); isList {
			inner, below = list, prefix+name+"[]."
		}
		for _, one := range inner {
			if object, is := one.(map[string]any); is && !strings.HasPrefix(member.Type, "map of ") && !strings.HasSuffix(member.Type, "any") {
				if err := ConformsTo(object, below, members); err != nil {
					return err
				}
			}
		}
	}
	for name, member := range members {
		rest, found := strings.CutPrefix(name, prefix)
		if found && member.Always && !strings.ContainsAny(rest, ".[") {
			if _, there := value[rest]; !there {
				return fmt.Errorf("%s is missing", name)
			}
		}
	}
	return nil
}

// CheckJSON checks one JSON value, an object or with "list of " in front of its name a list of them, against what
// docs/json.md, which is at path, has under that name.
func CheckJSON(t testing.TB, path, name, text string) {
	t.Helper()
	objects, _ := DocumentedJSON(t, path)
	kind, isList := strings.CutPrefix(name, "list of ")
	members := objects[strings.ToLower(kind)]
	if len(members) == 0 {
		t.Fatalf("%s is not documented", kind)
	}
	list := make([]map[string]any, 1)
	var err error
	if isList {
		err = json.Unmarshal([]byte(text), &list)
	} else {
		err = json.Unmarshal([]byte(text), &list[0])
	}
	if err != nil || len(list) == 0 {
		t.Errorf("%s: %v: %s", name, err, text)
	}
	for _, one := range list {
		if err := ConformsTo(one, "", members); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
	}
}
