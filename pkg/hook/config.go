package hook

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"regexp"
	"slices"
	"time"

	"cauase/pkg/pki"
)

// A Config is the table [hooks] of a configuration file. Programs are absolute paths, called in this order.
type Config struct {
	Boot      []string `toml:"boot"`
	Authorize []string `toml:"authorize"`
	Presign   []string `toml:"presign"`
	Postsign  []string `toml:"postsign"`
	// Timeout is how long those may take for which somebody waits, authorize and presign; PostsignTimeout and BootTimeout are for the
	// others.
	Timeout         string `toml:"timeout"`
	PostsignTimeout string `toml:"postsign_timeout"`
	BootTimeout     string `toml:"boot_timeout"`
	// Renewals has postsign be called for renewals, too.
	Renewals bool `toml:"renewals"`
}

// A WebhookTable is a table [[webhook]].
type WebhookTable struct {
	Name       string `toml:"name"`
	URL        string `toml:"url"`
	SecretFile string `toml:"secret_file"`
	CAFile     string `toml:"ca_file"`
	Timeout    string `toml:"timeout"`
	Renewals   bool   `toml:"renewals"`
}

// A ConfigError says what is wrong with hooks in a configuration, and where.
type ConfigError struct {
	Webhook int    // index of the table, -1 for that of hooks
	Field   string // empty: the table itself
	Err     error
}

func (e *ConfigError) Error() string {
	table := "hooks"
	if e.Webhook >= 0 {
		table = "webhook"
	}
	if e.Field == "" {
		return table + ": " + e.Err.Error()
	}
	return table + "." + e.Field + ": " + e.Err.Error()
}

// Unwrap returns what is wrong.
func (e *ConfigError) Unwrap() error { return e.Err }

// maxHooks bounds how many there are of one kind.
const maxHooks = 16

// webhookName is the syntax of names of webhooks.
var webhookName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,39}$`)

// Compile checks the tables whole: programs have to be there, and nobody else may be able to change them. The error joins a
// [*ConfigError] for everything that is wrong.
func Compile(c Config, webhooks []WebhookTable, log *slog.Logger) (*Set, error) {
	r := &compiler{log: log}
	ask, post, boot := r.span("timeout", c.Timeout), r.span("postsign_timeout", c.PostsignTimeout), r.span("boot_timeout", c.BootTimeout)
	s := &Set{
		Boot: r.programs(Boot, c.Boot, boot), Authorize: r.programs(Authorize, c.Authorize, ask), Presign: r.programs(Presign, c.Presign, ask),
	}
	for _, p := range r.programs(Postsign, c.Postsign, post) {
		s.Recipients = append(s.Recipients, ProgramRecipient{p, c.Renewals})
	}
	if len(webhooks) > maxHooks {
		r.fail(maxHooks, "", fmt.Errorf("there are %d, at most %d are possible", len(webhooks), maxHooks))
		webhooks = webhooks[:maxHooks]
	}
	for i, table := range webhooks {
		if w := r.webhook(i, table, webhooks[:i]); w != nil {
			s.Recipients = append(s.Recipients, w)
		}
	}
	if r.err != nil {
		return nil, r.err
	}
	return s, nil
}

// A compiler keeps all errors.
type compiler struct {
	log   *slog.Logger
	err   error
	count int // of errors
}

func (r *compiler) fail(webhook int, field string, err error) {
	r.count++
	r.err = errors.Join(r.err, &ConfigError{webhook, field, err})
}

func (r *compiler) programs(event Event, paths []string, timeout time.Duration) (list []*Program) {
	field := string(event)
	if len(paths) > maxHooks {
		r.fail(-1, field, fmt.Errorf("there are %d, at most %d are possible", len(paths), maxHooks))
		return nil
	}
	for i, path := range paths {
		switch {
		case path != filepath.Clean(path) && filepath.IsAbs(path):
			r.fail(-1, field, fmt.Errorf("%q is written %s", pki.EscapeText(path), pki.EscapeText(filepath.Clean(path))))
		case slices.Contains(paths[:i], path):
			r.fail(-1, field, fmt.Errorf("%q is there twice", pki.EscapeText(path)))
		default:
			if err := CheckPath(path); err != nil {
				r.fail(-1, field, err)
			}
		}
		list = append(list, NewProgram(event, path, timeout, r.log))
	}
	return list
}

func (r *compiler) span(field, text string) time.Duration { return r.spanOf(-1, field, text) }

func (r *compiler) spanOf(webhook int, field, text string) time.Duration {
	if text == "" {
		return 0
	}
	d, err := pki.ParseDuration(text)
	switch {
	case err != nil:
		r.fail(webhook, field, err)
	case d <= 0 || d > MaxTimeout:
		r.fail(webhook, field, fmt.Errorf("%s is not between 0 and %s", text, pki.FormatDuration(MaxTimeout)))
	}
	return d
}

func (r *compiler) webhook(i int, t WebhookTable, before []WebhookTable) *Webhook {
	failed := r.count
	if !webhookName.MatchString(t.Name) {
		r.fail(i, "name", fmt.Errorf("%q is no name: lower-case letters, digits and hyphens are, at most 40", t.Name))
	} else if slices.ContainsFunc(before, func(o WebhookTable) bool { return o.Name == t.Name }) {
		r.fail(i, "name", fmt.Errorf("%q is that of another", t.Name))
	}
	for field, path := range map[string]string{"secret_file": t.SecretFile, "ca_file": t.CAFile} {
		if path != "" && !filepath.IsAbs(path) {
			r.fail(i, field, fmt.Errorf("%q is not an absolute path", pki.EscapeText(path)))
		}
	}
	timeout := r.spanOf(i, "timeout", t.Timeout)
	if r.count > failed {
		return nil
	}
	w, err := NewWebhook(WebhookConfig{t.Name, t.URL, t.SecretFile, t.CAFile, timeout, t.Renewals}, r.log)
	if wrong := (*FieldError)(nil); errors.As(err, &wrong) {
		r.fail(i, wrong.Field, wrong.Err)
		return nil
	} else if err != nil {
		r.fail(i, "", err)
		return nil
	}
	return w
}
