package main

import (
	"context"
	"errors"
	"fmt"
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
		Description: `A file may be PEM, also with text or a key in it, or DER; - is standard input. The request is
sent, and nothing else of the file.`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "profile", Usage: "ask for certificates of this `PROFILE` (default: the authority's)"},
			&cli.BoolFlag{Name: "again", Usage: "submit requests once more that a user has rejected"},
		},
		Action: t.action(func(c *cli.Context) error {
			if c.NArg() == 0 {
				return errUsage(c, "which request?")
			}
			paths, err := fileArguments(c)
			if err != nil {
				return err
			}
			if err := onceFromInput(paths); err != nil {
				return err
			}
			service, err := t.connect()
			if err != nil {
				return err
			}
			sent := []sentView{}
			for _, path := range paths {
				data, failed := t.readRequest(path)
				var id client.ID
				if failed == nil {
					id, failed = service.SubmitFor(c.Context, data, client.Submission{Profile: c.String("profile"), Once: !c.Bool("again")})
					failed = onPath(path, failed)
				}
				if failed != nil {
					err = join(err, failed)
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

// onPath says which file an error is about, and what can be done about a rejection.
func onPath(path string, err error) error {
	if err == nil {
		return nil
	}
	if why := (*client.Rejection)(nil); errors.As(err, &why) {
		return &manners.Error{Err: fmt.Errorf("%s: %s", path, why), Hint: "--again submits it once more", Code: manners.ExitRejected}
	}
	return fmt.Errorf("%s: %w", path, err)
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
				views = append(views, viewSubmitted(p))
			}
			return t.print(views, func(p *printer) { p.requests(views) })
		}),
	}
}

func (t *tool) csrShow() *cli.Command {
	return &cli.Command{
		Name:      "show",
		Usage:     "describe a request, by its id or in a file",
		ArgsUsage: "ID|FILE",
		Description: `What is all digits is an id: a file of such a name is ./123. A file may be PEM, also with
text in it, or DER; - is standard input.

Of a pending request it says what would be in the certificate. With --user-key, it is
fetched over HTTPS from the daemon that will be told to sign it. Without, over HTTP,
whoever is in between may show another.`,
		Action: t.action(func(c *cli.Context) error {
			if c.NArg() != 1 {
				return errUsage(c, "which request?")
			}
			view, err := t.described(c.Context, c.Args().First())
			if err != nil {
				return err
			}
			return t.print(view, func(p *printer) { p.request(view) })
		}),
	}
}

// described shows the request with an id, or in a file.
func (t *tool) described(ctx context.Context, name string) (requestView, error) {
	if !isID(name) {
		req, err := t.parseRequest(name)
		if err != nil {
			return requestView{}, err
		}
		return viewRequest(req), nil
	}
	id, err := client.ParseID(name)
	if err != nil {
		return requestView{}, err
	}
	found, err := t.show(ctx, id)
	view := viewSubmitted(found)
	if t.userKey == "" {
		view.Unverified = "fetched over HTTP, without --user-key: nothing vouches for this answer"
	}
	return view, err
}

// show fetches a request to look at. A user is about to decide by it, and gets it as securely as
// the list.
func (t *tool) show(ctx context.Context, id client.ID) (client.Submitted, error) {
	if t.userKey != "" {
		session, err := t.session(ctx)
		if err != nil {
			return client.Submitted{}, err
		}
		return session.Show(ctx, id, client.Approval{})
	}
	service, err := t.connect()
	if err != nil {
		return client.Submitted{}, err
	}
	return service.Show(ctx, id)
}

// submitted fetches a request as it was submitted.
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
			id, err := idAndFile(c)
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

// A resultView is what became of one of several objects of a command.
type resultView struct {
	ID   string `json:"id,omitempty"`
	File string `json:"file,omitempty"`
	manners.Serial
	Result string `json:"result"`

	RejectedAt *time.Time `json:"rejected_at,omitempty"`
	Reason     string     `json:"reason,omitempty"` // of a rejection

	Certificate *hitView `json:"certificate,omitempty"` // that was revoked

	Request *requestView `json:"request,omitempty"` // that was shown
}

func (t *tool) printResults(results []resultView) error {
	return t.print(results, func(p *printer) {
		for _, r := range results {
			if r.Request != nil {
				p.request(*r.Request)
			}
			what := r.ID + r.File
			if !r.Serial.IsZero() {
				what += "serial " + r.Serial.Text(p.decimal)
			}
			if r.Certificate != nil {
				what += ": " + r.Certificate.text(p.decimal)
			}
			p.line("%s %s", r.Result, what)
		}
	})
}
