package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"cauase/pkg/client"
	"cauase/pkg/pemfile"
	"cauase/pkg/pki"

	manners "cauase/pkg/cli"
)

func (t *tool) csrSend() *cli.Command {
	return &cli.Command{
		Name:      "send",
		Usage:     "submit requests made elsewhere",
		ArgsUsage: "FILE…",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "profile", Usage: "ask for certificates of this `PROFILE` (default: the authority's)"},
		},
		Action: t.action(func(c *cli.Context) error {
			if c.NArg() == 0 {
				return errUsage(c, "which request?")
			}
			service, err := t.connect()
			if err != nil {
				return err
			}
			var sent []sentView
			for _, path := range c.Args().Slice() {
				data, failed := pemfile.Read(path)
				var id client.ID
				if failed == nil {
					id, failed = service.SubmitFor(c.Context, data, c.String("profile"))
				}
				if failed != nil {
					err = join(err, fmt.Errorf("%s: %w", path, failed))
					continue
				}
				sent = append(sent, sentView{ID: id.String(), File: path})
			}
			return join(err, t.print(sent, func(p *printer) {
				for _, s := range sent {
					p.line("%s %s", s.ID, s.File)
				}
			}))
		}),
	}
}

type sentView struct {
	ID   string `json:"id"`
	File string `json:"file"`
}

func (t *tool) csrList() *cli.Command {
	return &cli.Command{
		Name:  "list",
		Usage: "list pending requests (users only)",
		Action: t.action(func(c *cli.Context) error {
			if c.NArg() > 0 {
				return errUsage(c, "csr list takes no arguments")
			}
			session, err := t.session(c.Context)
			if err != nil {
				return err
			}
			pending, err := session.Pending(c.Context)
			if err != nil {
				return err
			}
			views := make([]requestView, 0, len(pending))
			for _, p := range pending {
				views = append(views, viewPending(p))
			}
			return t.print(views, func(p *printer) { p.requests(views) })
		}),
	}
}

// viewPending shows also what we would not have let in: a reference daemon may have, and
// it is somebody's decision to make.
func viewPending(p client.Pending) requestView {
	req, err := pki.ParseRequest(p.PEM)
	if err != nil {
		return requestView{ID: p.ID.String(), Profile: p.Profile, Problem: err.Error()}
	}
	view := viewRequest(req)
	view.ID, view.Profile = p.ID.String(), p.Profile
	return view
}

// requests prints a table.
func (p *printer) requests(views []requestView) {
	if len(views) == 0 {
		p.line("No request is pending.")
		return
	}
	w := tabwriter.NewWriter(p.w, 0, 0, 2, ' ', 0)
	profiles := slices.ContainsFunc(views, func(v requestView) bool { return v.Profile != "" })
	heading := "ID\tSUBJECT\tNAMES\tKEY\tKEY ID"
	if profiles {
		heading = "ID\tPROFILE\tSUBJECT\tNAMES\tKEY\tKEY ID"
	}
	fmt.Fprintln(w, heading)
	for _, v := range views {
		id := v.ID
		if profiles {
			id += "\t" + pki.EscapeText(v.Profile)
		}
		if v.Problem != "" {
			fmt.Fprintf(w, "%s\t(not acceptable: %s)\n", id, pki.EscapeText(v.Problem))
			continue
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", id, v.Subject, shorten(v.SANs), v.Key, v.KeyID)
	}
	w.Flush()
}

// shorten keeps a table readable. What is left out is counted.
func shorten(names []string) string {
	const shown = 3
	if len(names) <= shown {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s, and %d more", strings.Join(names[:shown], ", "), len(names)-shown)
}

func (t *tool) csrShow() *cli.Command {
	return &cli.Command{
		Name:      "show",
		Usage:     "describe a request, by its id or in a file",
		ArgsUsage: "ID|FILE",
		Description: `With --user-key, a request is fetched over HTTPS from the daemon that will be told to
sign it. Without, over HTTP, whoever is in between may show another.`,
		Action: t.action(func(c *cli.Context) error {
			if c.NArg() != 1 {
				return errUsage(c, "which request?")
			}
			name := c.Args().First()
			var data []byte
			id, err := client.ParseID(name)
			if _, statErr := os.Stat(name); err != nil || statErr == nil {
				data, err = pemfile.Read(name)
			} else {
				data, err = t.submitted(c.Context, id)
			}
			if err != nil {
				return err
			}
			req, err := pki.ParseRequest(data)
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			view := viewRequest(req)
			if id != 0 {
				view.ID = id.String()
			}
			return t.print(view, func(p *printer) { p.request(view) })
		}),
	}
}

// submitted fetches a request. A user is about to decide by it, and gets it as securely as
// the list.
func (t *tool) submitted(ctx context.Context, id client.ID) ([]byte, error) {
	if t.userKey != "" {
		session, err := t.session(ctx)
		if err != nil {
			return nil, err
		}
		return session.Request(ctx, id)
	}
	service, err := t.connect()
	if err != nil {
		return nil, err
	}
	return service.Request(ctx, id)
}

func (t *tool) csrGet() *cli.Command {
	return &cli.Command{
		Name:      "get",
		Usage:     "fetch a submitted request, into a file or to standard output",
		ArgsUsage: "ID [FILE]",
		Action: t.action(func(c *cli.Context) error {
			if c.NArg() < 1 || c.NArg() > 2 {
				return errUsage(c, "which request, and where to?")
			}
			id, err := client.ParseID(c.Args().First())
			if err != nil {
				return err
			}
			data, err := t.submitted(c.Context, id)
			if err != nil {
				return err
			}
			// Into a file goes what was submitted, to a terminal what it means.
			req, err := pki.ParseRequest(data)
			if err != nil {
				return fmt.Errorf("request %s: %w", id, err)
			}
			if path := c.Args().Get(1); path != "" && path != "-" {
				if err := writeNew(path, data, func(old []byte) bool { _, err := pki.ParseRequest(old); return err == nil }); err != nil || !t.json {
					return err
				}
				return t.print(resultView{ID: id.String(), File: path, Result: "stored"}, nil)
			}
			return t.printPEM(id, pki.EncodeCSRPEM(req.CSR.Raw))
		}),
	}
}

// writeNew writes a file that does not exist or that may be replaced.
func writeNew(path string, data []byte, replaceable func(old []byte) bool) error {
	if old, err := pemfile.Read(path); err == nil && !replaceable(old) {
		return fmt.Errorf("%s holds something else, which is not overwritten", path)
	}
	_, err := pemfile.Write(pemfile.File{Path: path, Content: data})
	return err
}

func (t *tool) csrSign() *cli.Command {
	return &cli.Command{
		Name:      "sign",
		Usage:     "sign pending requests (users only)",
		ArgsUsage: "[--with FILE] [--profile NAME] [--validity DURATION] ID…",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "with", TakesFile: true, Usage: "take subject and extensions from the request in `FILE`, and only the key from the submitted one"},
			&cli.StringFlag{Name: "profile", Usage: "sign as a certificate of this `PROFILE` (default: what the request asks for)"},
			&cli.StringFlag{Name: "validity", Usage: "for how long: a `DURATION` such as 36h, 1d or 90d, a number alone means days (default: the profile's)"},
		},
		Action: t.action(func(c *cli.Context) error {
			how := client.Approval{Profile: c.String("profile")}
			if text := c.String("validity"); c.IsSet("validity") {
				validity, err := parseValidity(text)
				if err != nil {
					return fmt.Errorf("--validity %w", err)
				}
				how.Validity = validity
			}
			if path := c.String("with"); c.IsSet("with") {
				if path == "" {
					return errUsage(c, "--with needs the path of a request")
				}
				if c.NArg() > 1 {
					return errUsage(c, "--with signs one request at a time")
				}
				data, err := pemfile.Read(path)
				if err != nil {
					return err
				}
				if _, err := pki.ParseRequest(data); err != nil {
					return fmt.Errorf("%s: %w", path, err)
				}
				how.Template = data
			}
			return t.decide(c, "signed", func(s *client.Session, id client.ID) error {
				return s.Approve(c.Context, id, how)
			})
		}),
	}
}

// maxValidity is longer than anything is valid for.
const maxValidity = 100_000 * day

const day = 24 * time.Hour

// parseValidity reads how long a certificate is to be valid: days, or a duration in which days
// may be a unit.
func parseValidity(text string) (time.Duration, error) {
	bad := fmt.Errorf("%.40q is not a duration such as 36h, 1d or 90d", text)
	days, unit := strings.CutSuffix(text, "d")
	if n, err := strconv.ParseFloat(days, 64); err == nil && strings.Trim(days, "0123456789.") == "" {
		if n <= 0 || n > maxValidity.Hours()/24 {
			return 0, bad
		}
		return (time.Duration(n*float64(day)) + time.Second/2).Truncate(time.Second), nil
	} else if unit {
		return 0, bad
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < time.Second || d > maxValidity || d%time.Second != 0 {
		return 0, bad
	}
	return d, nil
}

func (t *tool) csrReject() *cli.Command {
	return &cli.Command{
		Name:      "reject",
		Usage:     "reject pending requests (users only)",
		ArgsUsage: "ID…",
		Action: t.action(func(c *cli.Context) error {
			return t.decide(c, "rejected", func(s *client.Session, id client.ID) error {
				return s.Reject(c.Context, id)
			})
		}),
	}
}

// decide does the same to several requests. One that fails does not keep the others
// from their decision.
func (t *tool) decide(c *cli.Context, done string, do func(*client.Session, client.ID) error) error {
	if c.NArg() == 0 {
		return errUsage(c, "which request?")
	}
	var ids []client.ID
	for _, arg := range c.Args().Slice() {
		id, err := client.ParseID(arg)
		if err != nil {
			return err
		}
		ids = append(ids, id)
	}
	session, err := t.session(c.Context)
	if err != nil {
		return err
	}
	results := []resultView{}
	for _, id := range ids {
		if failed := do(session, id); failed != nil {
			if client.IsStatus(failed, http.StatusNotFound) {
				failed = manners.WithHint(failed, "it is not pending: somebody has signed or rejected it, or it belongs to another authority (--mode, --authority)")
			}
			err = join(err, failed)
			continue
		}
		results = append(results, resultView{ID: id.String(), Result: done})
	}
	return join(err, t.printResults(results))
}

// A resultView is what became of one of several objects of a command.
type resultView struct {
	ID     string `json:"id,omitempty"`
	File   string `json:"file,omitempty"`
	Serial string `json:"serial,omitempty"`
	Result string `json:"result"`
}

func (t *tool) printResults(results []resultView) error {
	return t.print(results, func(p *printer) {
		for _, r := range results {
			if r.Serial != "" {
				r.Serial = "serial " + r.Serial
			}
			p.line("%s %s", r.Result, r.ID+r.File+r.Serial)
		}
	})
}
