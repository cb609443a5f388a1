package main

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/urfave/cli/v2"

	"cauase/pkg/client"
	"cauase/pkg/enroll"

	manners "cauase/pkg/cli"
)

// signing reads how a request is to be signed by the user who makes it, nil if it is not.
func signing(c *cli.Context) (*client.Approval, error) {
	if !c.Bool("sign") {
		if c.IsSet("validity") {
			return nil, errUsage(c, "--validity is for the user who signs: give --sign, too")
		}
		return nil, nil
	}
	validity, err := givenValidity(c)
	if err != nil {
		return nil, err
	}
	return &client.Approval{Profile: c.String("profile"), Validity: validity}, nil
}

// signOwn signs a request that was just submitted from here, and no other one that is shown in its place.
func (t *tool) signOwn(ctx context.Context, r *enrolment, how client.Approval, wait bool) error {
	session := r.engine.User
	err := t.persist(ctx, wait, func() error {
		found, err := session.Show(ctx, r.ID, how)
		if err != nil {
			return err
		}
		shown := how
		shown.Shown = &r.Digest
		bound, view, err := bind(shown, nil, found)
		if err != nil {
			return err
		}
		if len(view.Dropped) > 0 {
			t.note("not granted by the profile: %s", strings.Join(view.Dropped, ", "))
		}
		return session.Approve(ctx, r.ID, bound)
	}, enroll.Busy)
	switch {
	case err == nil, client.IsStatus(err, http.StatusNotFound):
		return nil // which is signed already, or rejected: collecting it tells
	case errors.Is(err, client.ErrAwaiting):
		t.note("%v", err)
		return nil // which waits for others, as if somebody else had submitted it
	case ctx.Err() != nil:
		return t.leftPending(ctx, r)
	}
	return manners.WithHint(err, notAUser(err)+"key and request are kept in %s and %s, and the request %s is pending; the same command again goes on with them", r.engine.Paths.KeyPath(), r.csr, r.ID)
}
