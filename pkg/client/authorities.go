package client

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"

	"cauase/pkg/pki"
)

// maxAuthorities is far more than any daemon has.
const maxAuthorities = 10_000

// Authorities asks the daemon which authorities it serves: those its first page links to
// (protocol: "HAL"). They come in the order of their names. Nothing vouches for the answer.
func (c *Client) Authorities(ctx context.Context) ([]AuthorityName, error) {
	const op = "list authorities"
	body, _, err := c.http.do(ctx, call{op: op, method: http.MethodGet, accept: "application/hal+json", want: http.StatusOK})
	if err != nil {
		return nil, err
	}
	found, err := readAuthorities(body)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	return found, nil
}

func readAuthorities(body []byte) ([]AuthorityName, error) {
	var page struct {
		// A link may be one object or a list of them (draft-kelly-json-hal 4.1.1).
		Links map[string]oneOrMany `json:"_links"`
	}
	if err := json.Unmarshal(body, &page); err != nil {
		return nil, fmt.Errorf("%w: %s", ErrNotCA, pki.EscapeText(err.Error()))
	}
	var found []AuthorityName
	for relation, links := range page.Links {
		if relation == "self" || relation == "home" {
			continue
		}
		for _, link := range links {
			name, below := strings.CutPrefix(link.Href, "/")
			authority, err := ParseAuthority(name)
			if below && err == nil && !slices.Contains(found, authority) {
				found = append(found, authority)
			}
		}
		if len(found) > maxAuthorities {
			return nil, fmt.Errorf("%w: more than %d", ErrTooLong, maxAuthorities)
		}
	}
	slices.Sort(found)
	return found, nil
}

type halLink struct {
	Href string `json:"href"`
}

type oneOrMany []halLink

// UnmarshalJSON takes an object for a list of one.
func (l *oneOrMany) UnmarshalJSON(data []byte) error {
	if strings.HasPrefix(strings.TrimSpace(string(data)), "[") {
		return json.Unmarshal(data, (*[]halLink)(l))
	}
	var one halLink
	err := json.Unmarshal(data, &one)
	*l = oneOrMany{one}
	return err
}
