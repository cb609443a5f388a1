package server

import (
	"io"
	"net/http"
	"strconv"
	"time"
)

// A Kept is an answer that is the same for all who ask until there is another in its place: its header is made once.
type Kept struct {
	contentType, etag string

	modified time.Time
	header   []keptField
	body     io.ReaderAt
	size     int64
	small    []byte // all of the body, if one write is enough for it
}

// A keptField has its value in a form in which headers can share it.
type keptField struct {
	name  string
	value []string
}

// NewKept returns an answer with a tag and a body, as [Exchange.ReplyTagged] gives it.
func NewKept(contentType, etag string, modified time.Time, body io.ReaderAt, size int64) (*Kept, error) {
	k := &Kept{contentType: contentType, etag: etag, modified: modified, body: body, size: size, header: []keptField{
		{"Cache-Control", []string{revalidate}}, {"Etag", []string{etag}},
		{"Content-Type", []string{contentType}}, {"Accept-Ranges", []string{"bytes"}}, {"Content-Length", []string{strconv.FormatInt(size, 10)}},
	}}
	if !modified.IsZero() {
		k.header = append(k.header, keptField{"Last-Modified", []string{modified.UTC().Format(http.TimeFormat)}})
	}
	if size > maxWrite {
		return k, nil
	}
	k.small = make([]byte, size)
	_, err := io.ReadFull(io.NewSectionReader(body, 0, size), k.small)
	return k, err
}

// tagFields are how many fields of a Kept's header a 304 has, too.
const tagFields = 2

// preconditions are the fields of a request that decide what of an answer is wanted (RFC 9110 13.1, 14.2).
var preconditions = [...]string{"If-None-Match", "If-Modified-Since", "If-Match", "If-Unmodified-Since", "If-Range", "Range"}

// ReplyKept answers with k, or that the peer has it already (RFC 9110 13). What most ask, for all of it or whether it is still the one with
// this tag, is answered from what is ready; anything else is the standard library's to interpret.
func (x *Exchange) ReplyKept(k *Kept) error {
	conditions := 0
	for _, name := range preconditions {
		conditions += len(x.Request.Header[name])
	}
	switch known := x.Request.Header["If-None-Match"]; {
	case conditions == 0 && k.small != nil:
		x.keep(k.header)
		return x.send(http.StatusOK, k.small)
	case conditions == 1 && len(known) == 1 && known[0] == k.etag:
		x.keep(k.header[:tagFields])
		return x.Empty(http.StatusNotModified)
	}
	return x.ReplyTagged(k.contentType, k.etag, k.modified, io.NewSectionReader(k.body, 0, k.size))
}

// Tag is the tag of the answer.
func (k *Kept) Tag() string { return k.etag }

func (x *Exchange) keep(fields []keptField) {
	h := x.Header()
	for _, f := range fields {
		h[f.name] = f.value
	}
}
