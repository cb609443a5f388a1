package caucase

import (
	"net/http"
	"strings"

	"cauase/pkg/ca"
	"cauase/pkg/pki"
	"cauase/pkg/server"
)

// A request has its digest for an entity tag. Whoever decides on it sends the tag of what was shown to him,
// so that the decision is about that and nothing else (docs/protocol.md, "What was shown is what is signed").

func requestTag(digest pki.Digest) string { return `"` + digest.String() + `"` }

// readShown reads the entity tags in If-Match (RFC 9110 13.1.1). Without that header any request is fine, and
// so it is with "*". Weak tags and those of other things are none of a request.
func readShown(x *server.Exchange) (ca.Shown, error) {
	lines := x.Request.Header.Values("If-Match")
	if len(lines) == 0 {
		return nil, nil
	}
	list := strings.Join(lines, ",")
	if strings.Trim(list, " \t") == "*" {
		return nil, nil
	}
	shown, found := ca.Shown{}, false
	for {
		list = strings.TrimLeft(list, " \t,")
		if list == "" {
			break
		}
		tag, rest, ok := cutTag(list)
		if !ok {
			return nil, server.Refuse(http.StatusBadRequest, "If-Match is neither * nor a list of entity tags")
		}
		list, found = rest, true
		if digest, err := pki.ParseDigest(strings.Trim(tag, `"`)); err == nil && requestTag(digest) == tag {
			shown = append(shown, digest)
		}
	}
	if !found {
		return nil, server.Refuse(http.StatusBadRequest, "If-Match is empty")
	}
	return shown, nil
}

// cutTag splits the first entity tag (RFC 9110 8.8.3) off a list, up to the comma behind it.
func cutTag(list string) (tag, rest string, ok bool) {
	opaque := strings.TrimPrefix(list, "W/")
	if !strings.HasPrefix(opaque, `"`) {
		return "", "", false
	}
	end := strings.IndexByte(opaque[1:], '"')
	if end < 0 || strings.ContainsFunc(opaque[1:end+1], func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		return "", "", false
	}
	size := len(list) - len(opaque) + end + 2
	tag, rest = list[:size], strings.TrimLeft(list[size:], " \t")
	if rest != "" && rest[0] != ',' {
		return "", "", false
	}
	return tag, rest, true
}
