package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/urfave/cli/v2"

	"cauase/pkg/client"
	"cauase/pkg/enroll"
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
sent, and nothing else of the file.

With --wait it stays until all requests are decided, and says how; cauase crt get fetches what is signed.`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "profile", Usage: "ask for certificates of this `PROFILE` (default: the authority's)"},
			&cli.BoolFlag{Name: "again", Usage: "submit requests once more that a user has rejected"},
			waitFlag("until all of them are signed or rejected"),
		},
		Action: t.action(t.send),
	}
}

func (t *tool) send(c *cli.Context) error {
	if err := spaceBeforeDuration(c); err != nil {
		return err
	}
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
	ctx, wait, cancel := patience(c)
	defer cancel()
	connect := t.connect
	if wait { // what comes is verified
		connect = func() (*client.Client, error) { return t.trust(c.Context) }
	}
	service, err := connect()
	if err != nil {
		return err
	}
	sent := []*sentView{}
	for _, path := range paths {
		s := &sentView{File: path}
		failed := t.submitFile(ctx, c.Context, wait, service, s, client.Submission{Profile: c.String("profile"), Once: !c.Bool("again")})
		if failed != nil {
			err = join(err, failed)
			continue
		}
		if sent = append(sent, s); !t.json {
			fmt.Fprintf(t.stdout, "%s %s\n", s.ID, s.File)
		}
	}
	if wait {
		err = join(err, t.awaitSent(ctx, sent))
	}
	return t.printDone(err, len(sent), sent, func(*printer) {})
}

// submitFile submits the request in a file. It tries again until limit ends, if it may wait.
func (t *tool) submitFile(limit, ctx context.Context, wait bool, service *client.Client, s *sentView, how client.Submission) error {
	data, err := t.readRequest(s.File)
	if err != nil {
		return err
	}
	err = t.persist(limit, wait, func() error {
		id, err := service.SubmitFor(ctx, data, how)
		s.id, s.ID = id, id.String()
		if digest, failed := (client.Submitted{PEM: data}).Digest(); failed == nil {
			s.digest = digest
		}
		return err
	}, enroll.Busy)
	return onPath(s.File, err)
}

// awaitSent waits for decisions on requests that were submitted, and says what they are.
func (t *tool) awaitSent(ctx context.Context, sent []*sentView) (err error) {
	engine := t.engine(pemfile.PairPaths{})
	engine.Client = t.client
	for _, s := range sent {
		failed := t.decision(ctx, true, s.id, func() error {
			_, err := engine.FetchFor(ctx, s.id, s.digest, t.verification())
			return err
		})
		switch view := (resultView{ID: s.ID, File: s.File}); {
		case failed == nil:
			s.Result = resultSigned
			t.note("%s: request %s is signed; %s crt get %s%s FILE fetches the certificate", s.File, s.ID, toolName, s.ID, t.authorityFlag())
		case errors.Is(failed, enroll.ErrRejected):
			view, failed = rejection(view, failed, "--again submits it once more")
			s.Result, s.RejectedAt, s.Reason = view.Result, view.RejectedAt, view.Reason
		case undecided(ctx, failed):
			s.Result = resultPending
			failed = manners.WithCode(manners.WithHint(fmt.Errorf("%s: request %s was left pending", s.File, s.ID),
				"%s crt get %s%s --wait goes on waiting", toolName, s.ID, t.authorityFlag()), manners.ExitPending)
		default:
			failed = onPath(s.File, failed)
		}
		err = join(err, failed)
	}
	return err
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

// A sentView is a request that was submitted, and what has become of it, where that was waited for.
type sentView struct {
	ID         string     `json:"id"`
	File       string     `json:"file"`
	Result     string     `json:"result,omitempty"`
	RejectedAt *time.Time `json:"rejected_at,omitempty"`
	Reason     string     `json:"reason,omitempty"`

	id     client.ID
	digest pki.Digest
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

// Results of requests.
const (
	resultPending  = "pending"
	resultSigned   = "signed"
	resultRejected = "rejected"
)

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

func (t *tool) printResults(failed error, results []resultView) error {
	return t.printDone(failed, len(results), results, func(p *printer) {
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
