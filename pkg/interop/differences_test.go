//go:build interop

package interop

import (
	"maps"
	"os"
	"regexp"
	"strings"
	"testing"
)

// Section 11 of docs/protocol.md lists what the two daemons do differently on purpose. Each of its lines has a name, and
// is held to be true, of both sides, by what is here: by questions that name it, or by a pin.

// A pin shows that one line is true. The peers are shared by those which change nothing that others look at.
type pin func(t *testing.T, ours, theirs *peer)

// pins are those of all files.
func pins() map[string]pin {
	all := maps.Clone(wirePins)
	maps.Copy(all, corsPins)
	maps.Copy(all, signingPins)
	maps.Copy(all, programPins)
	return all
}

// listed are the names of the lines of the section.
func listed(t *testing.T) []string {
	t.Helper()
	page, err := os.ReadFile("../../docs/protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(page), "\n## 11. ")
	if !found {
		t.Fatal("docs/protocol.md has no section 11")
	}
	var names []string
	line := regexp.MustCompile("^- `([a-z-]+)`: ")
	for _, text := range strings.Split(section, "\n") {
		if match := line.FindStringSubmatch(text); match != nil {
			names = append(names, match[1])
		} else if strings.HasPrefix(strings.TrimLeft(text, " "), "- ") {
			t.Errorf("a line without a name: %s", text)
		}
	}
	return names
}

// Nothing is said of the reference that is not shown, and nothing is excused that is not said.
func TestEveryDifferenceIsListedAndTested(t *testing.T) {
	needReference(t)
	asked := map[string]bool{}
	for _, q := range append(crossed(), questions...) {
		if q.because != "" {
			asked[q.because] = true
		}
	}
	pinned, names := pins(), map[string]bool{}
	for _, name := range listed(t) {
		if names[name] {
			t.Errorf("%s is there twice", name)
		}
		names[name] = true
		if pinned[name] == nil && !asked[name] {
			t.Errorf("%s: nothing tests this line of docs/protocol.md, section 11", name)
		}
	}
	if len(names) < 40 {
		t.Errorf("only %d lines were read", len(names))
	}
	for name := range pinned {
		if !names[name] {
			t.Errorf("%s is tested, but not in docs/protocol.md, section 11", name)
		}
	}
	for name := range asked {
		if !names[name] {
			t.Errorf("questions refer to %s, which is not in docs/protocol.md, section 11", name)
		}
	}
}

func TestDifferencesAreAsListed(t *testing.T) {
	needReference(t)
	ours, theirs := newPeer(t, startOurs(t)), newPeer(t, startReference(t))
	for name, pin := range pins() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pin(t, ours, theirs)
		})
	}
}

// both runs something about each of the daemons.
func both(t *testing.T, ours, theirs *peer, see func(p *peer) string, want, wantTheirs string) {
	t.Helper()
	if got := see(ours); got != want {
		t.Errorf("ours: %s, want %s", got, want)
	}
	if got := see(theirs); got != wantTheirs {
		t.Errorf("theirs: %s, want %s", got, wantTheirs)
	}
}
