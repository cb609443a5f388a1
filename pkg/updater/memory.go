package updater

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"slices"
	"time"

	"cauase/pkg/client"
	"cauase/pkg/pemfile"
)

// memory is what has to survive a restart. It holds no secrets.
type memory struct {
	// Changed are the files that the hook has not heard of: "ca", "crl", "crt", "key", "root".
	Changed      []string  `json:"hook_changed,omitempty"`
	HookFailures int       `json:"hook_failures,omitempty"`
	HookError    string    `json:"hook_error,omitempty"`
	HookNext     time.Time `json:"hook_next,omitzero"`

	// Request is the one that was handed in.
	Request *submission `json:"request,omitempty"`

	// Invited is the id of the invitation that it was handed in with, until that is erased.
	Invited string `json:"invited,omitempty"`

	Contact  time.Time  `json:"last_contact,omitzero"`
	Problems []*Problem `json:"problems,omitempty"`
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

func loadMemory(path string) (memory, error) {
	var m memory
	content, err := pemfile.Read(path)
	if errors.Is(err, fs.ErrNotExist) {
		return m, nil
	}
	if err != nil {
		return m, err
	}
	if err := json.Unmarshal(content, &m); err != nil {
		return memory{}, err
	}
	return m, nil
}

func (m *memory) save(path string, attributes pemfile.Attributes) error {
	content, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	attributes.Mode = 0o644
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
