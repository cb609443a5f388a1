package anchors

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// Kinds are the kinds of stores there are.
func Kinds() []string { return []string{"debian", "redhat", "java", "nss"} }

// A Search says which stores to look for.
type Search struct {
	Kinds []string // empty for all; a database of NSS is made for the user who asks for that kind and has none
	Home  string   // of the user, "" for nobody's

	NSS         []string // folders of databases, instead of those of the user
	NSSPassword string   // file
	Keystores   []string // files, instead of that of the Java in use
	Password    string   // file, of keystores
}

// A Found is what a search has come to: a store, or why there is none of a kind.
type Found struct {
	Kind  string
	Store Store
	Why   string // there is no store, or it follows another one
}

// Find looks for stores on this machine. An error is about something that was asked for by its path.
func (s Search) Find() (found []Found, err error) {
	wanted := func(kind string) bool { return len(s.Kinds) == 0 || slices.Contains(s.Kinds, kind) }
	for _, one := range systems() {
		switch {
		case !wanted(one.kind):
		case one.there():
			found = append(found, Found{Kind: one.kind, Store: one})
		case len(s.Kinds) > 0:
			found = append(found, Found{Kind: one.kind, Why: fmt.Sprintf("this machine has no %s, or no %s", one.folder, one.tool)})
		}
	}
	if wanted("java") {
		more, err := s.findJava()
		if err != nil {
			return nil, err
		}
		found = append(found, more...)
	}
	if wanted("nss") {
		more, err := s.findNSS()
		if err != nil {
			return nil, err
		}
		found = append(found, more...)
	}
	return found, nil
}

func (s Search) findJava() (found []Found, err error) {
	for _, path := range s.Keystores {
		if _, err := os.Stat(path); err != nil {
			return nil, err
		}
		found = append(found, Found{Kind: "java", Store: &java{path: path, password: s.Password}})
	}
	if len(found) > 0 {
		return found, nil
	}
	switch path, follows := javaRuntime(); {
	case path == "":
		return []Found{{Kind: "java", Why: "no Java was found, neither by JAVA_HOME nor by keytool"}}, nil
	case follows:
		return []Found{{Kind: "java", Why: path + " follows the system's store"}}, nil
	default:
		return []Found{{Kind: "java", Store: &java{path: path, password: s.Password}}}, nil
	}
}

func (s Search) findNSS() (found []Found, err error) {
	folders := s.NSS
	if len(folders) == 0 && s.Home != "" {
		folders = databases(s.Home)
	}
	for _, folder := range folders {
		if _, err := os.Stat(filepath.Join(folder, "cert9.db")); errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%s holds no NSS database (cert9.db)", folder)
		} else if err != nil {
			return nil, err
		}
		found = append(found, Found{Kind: "nss", Store: &nss{folder: folder, password: s.NSSPassword}})
	}
	if len(found) == 0 && s.Home != "" && slices.Contains(s.Kinds, "nss") {
		return []Found{{Kind: "nss", Store: &nss{folder: UserNSS(s.Home), password: s.NSSPassword, make: true}}}, nil
	}
	if len(found) == 0 {
		return []Found{{Kind: "nss", Why: "this user has no NSS database"}}, nil
	}
	return found, nil
}
