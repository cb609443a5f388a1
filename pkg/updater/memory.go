package updater

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"cauase/pkg/client"
	"cauase/pkg/pemfile"
	"cauase/pkg/pki"
)

// changeable are the kinds of files, as hooks hear of them.
var changeable = []string{"ca", "crl", "crt", "key", "log", "root"}

// memory is what has to survive a restart. It holds no secrets.
type memory struct {
	// Changed are the kinds of files of which the hook has not heard that they have changed.
	Changed      []string  `json:"hook_changed,omitempty"`
	HookFailures int       `json:"hook_failures,omitempty"`
	HookError    string    `json:"hook_error,omitempty"`
	HookNext     time.Time `json:"hook_next,omitzero"`

	// LogEvent is what the hook has to hear of the CA's log, if Changed says that there is something.
	LogEvent string `json:"log_event,omitempty"`

	// Request is the one that was handed in.
	Request *submission `json:"request,omitempty"`

	// Invited is the id of the invitation that it was handed in with, until that is erased.
	Invited string `json:"invited,omitempty"`

	Contact  time.Time  `json:"last_contact,omitzero"`
	Problems []*Problem `json:"problems,omitempty"`

	// Lists are the revocation lists that were last fetched: those need not come again after a restart.
	Lists *fetchedLists `json:"lists,omitempty"`

	// Confirmed is the key identifier, in hexadecimal, of the CA certificate that the daemon was told is on disk.
	Confirmed string `json:"confirmed_ca,omitempty"`

	// Reminded says of which restore of the daemon, and of which certificate, the daemon was told.
	Reminded string `json:"reminded,omitempty"`

	Counts Counts `json:"counts,omitzero"`
}

type fetchedLists struct {
	Tag    string `json:"tag"`    // see client.RevalidateCRLs
	Digest string `json:"digest"` // of all of them
}

// maxKeyID is more than key identifiers have.
const maxKeyID = 64

// maxTag is the longest tag that is kept.
const maxTag = 200

func (l *fetchedLists) plausible() bool {
	printable := func(c rune) bool { return c > ' ' && c < 0x7f }
	return len(l.Tag) <= maxTag && strings.TrimFunc(l.Tag, printable) == "" && len(l.Digest) == 2*sha256.Size && showable(l.Digest)
}

type submission struct {
	Digest   string    `json:"csr_digest"` // of the configured CSR
	Own      bool      `json:"own"`        // made from the configured one, for the staged key
	PEM      string    `json:"csr,omitempty"`
	ID       client.ID `json:"id"`
	Rejected bool      `json:"rejected,omitempty"`
}

// A Problem is a task that fails.
type Problem struct {
	Task     Task      `json:"task"`
	Class    string    `json:"class"`
	Message  string    `json:"message"`
	Hint     string    `json:"hint,omitempty"`
	Since    time.Time `json:"since"`
	Failures int       `json:"failures"`
	Next     time.Time `json:"next_try,omitzero"`
}

// errForeignState is a state file that this agent has not written.
var errForeignState = errors.New("is not the state of an agent")

// maxState bounds what is read of it.
const maxState = 1 << 20

// loadMemory reads what an agent remembers. Whoever could write the file could have the hook, which may run
// as root, do as they please, so it counts only as far as an agent could have written it.
func loadMemory(j *Job) (memory, error) {
	path := j.statePath()
	content, err := j.beside(nil).Read(path)
	if errors.Is(err, fs.ErrNotExist) {
		return memory{}, nil
	}
	if err == nil {
		err = content.Info.Exposed(path)
	}
	if err != nil {
		return memory{}, err
	}
	var m memory
	if len(content.Data) > maxState || json.Unmarshal(content.Data, &m) != nil || !m.plausible() {
		return memory{}, fmt.Errorf("%s %w", path, errForeignState)
	}
	return m, nil
}

// plausible reports whether an agent could have written m.
func (m *memory) plausible() bool {
	for _, word := range m.Changed {
		if !slices.Contains(changeable, word) {
			return false
		}
	}
	for _, p := range m.Problems {
		if p == nil || !slices.Contains(allTasks, p.Task) || p.Failures < 0 || !showable(p.Class, p.Message, p.Hint) {
			return false
		}
	}
	if r := m.Request; r != nil {
		digest, err := hex.DecodeString(r.Digest)
		if err != nil || len(digest) != sha256.Size || !r.Own && r.PEM != "" {
			return false
		}
		if _, err := pki.ParseRequest([]byte(r.PEM)); r.PEM != "" && err != nil {
			return false
		}
	}
	if _, err := hex.DecodeString(m.Confirmed); err != nil || len(m.Confirmed) > 2*maxKeyID {
		return false
	}
	if m.Lists != nil && !m.Lists.plausible() || !m.Counts.plausible() {
		return false
	}
	if m.LogEvent != "" && m.LogEvent != logForked && m.LogEvent != logRestored {
		return false
	}
	return m.HookFailures >= 0 && showable(m.HookError, m.Invited, m.Reminded)
}

// maxShown bounds a text that is kept to be shown.
const maxShown = 10_000

// shown is a text as it may be kept to be shown.
func shown(text string) string {
	text = pki.EscapeText(text)
	if len(text) <= maxShown {
		return text
	}
	return strings.ToValidUTF8(text[:maxShown-len("…")], "") + "…"
}

// showable reports whether texts may be shown as they are.
func showable(texts ...string) bool {
	for _, text := range texts {
		if len(text) > maxShown || pki.EscapeText(text) != text {
			return false
		}
	}
	return true
}

func (m *memory) save(path string, attributes pemfile.Attributes) error {
	content, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	_, err = pemfile.Write(pemfile.File{Path: path, Content: append(bytes.TrimSpace(content), '\n'), Attributes: attributes})
	return err
}

func (m *memory) changed(what ...string) {
	m.Changed = append(m.Changed, what...)
	slices.Sort(m.Changed)
	m.Changed = slices.Compact(m.Changed)
}

func (m *memory) problem(task Task) *Problem {
	for _, p := range m.Problems {
		if p.Task == task {
			return p
		}
	}
	return nil
}
