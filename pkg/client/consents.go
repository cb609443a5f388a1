package client

import (
	"context"
	"net/http"
	"net/url"
	"time"
)

// A Consent is what a user has decided about web pages of an origin: whether they may act in the user's name.
type Consent struct {
	Origin  string    `json:"origin"`
	Allowed bool      `json:"allowed"`
	At      time.Time `json:"at"`
	Until   time.Time `json:"until"`
}

// Consents lists what the user has decided, in whatever browser.
func (s *Session) Consents(ctx context.Context) (list []Consent, err error) {
	err = s.getJSON(ctx, call{op: "list decisions about web pages", method: http.MethodGet, path: "/cors", want: http.StatusOK}, &list)
	return list, err
}

// WithdrawConsents takes back what the user has decided about an origin, about all if it is empty.
func (s *Session) WithdrawConsents(ctx context.Context, origin string) error {
	c := call{op: "withdraw decisions about web pages", method: http.MethodDelete, path: "/cors", want: http.StatusNoContent}
	if origin != "" {
		c.query = url.Values{"origin": {origin}}
	}
	_, _, err := s.https.do(ctx, c)
	return err
}
