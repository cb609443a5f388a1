package dump

import (
	"bytes"
	"fmt"
	"io"

	"github.com/go-json-experiment/json"

	"cauase/pkg/store"
)

// firstLine is the first line.
type firstLine struct {
	Format   string `json:"format"`
	Version  int    `json:"version"`
	Created  string `json:"created"`
	Software string `json:"software"`
}

const (
	formatName = "cauase-rows"
	// timeLayout is RFC 3339, in UTC and to the microsecond.
	timeLayout = "2006-01-02T15:04:05.999999Z"
)

// An encoder makes lines, each in the place of the one before.
type encoder struct{ buf bytes.Buffer }

// encode returns the line of v, with its end. Equal values have equal lines.
func (e *encoder) encode(v any) ([]byte, error) {
	e.buf.Reset()
	if err := json.MarshalWrite(&e.buf, v); err != nil {
		return nil, fmt.Errorf("it cannot be written: %w", err)
	}
	e.buf.WriteByte('\n')
	if e.buf.Len() > MaxLine {
		return nil, fmt.Errorf("it is longer than %d bytes", MaxLine)
	}
	return e.buf.Bytes(), nil
}

// Write writes a stream to w, of the rows that the function rows gives to its argument in the order
// of store.Reader.Rows, and says what it has written. meta.Version is not looked at. A row that
// Read would refuse is an ErrInvalid. After an error, what was written is worth nothing.
func Write(w io.Writer, meta Meta, rows func(fn func(store.Row) error) error) (Summary, error) {
	h := NewHash()
	created := meta.Created.UTC().Format(timeLayout)
	start, err := h.enc.encode(firstLine{formatName, Version, created, text(meta.Software)})
	if err != nil {
		return nil, err
	}
	if len(start) > maxFirstLine {
		return nil, fmt.Errorf("dump: the first line is longer than %d bytes", maxFirstLine)
	}
	if _, err := w.Write(start); err != nil {
		return nil, err
	}
	err = rows(func(row store.Row) error {
		data, err := h.line(row)
		if err != nil {
			return err
		}
		_, err = w.Write(data)
		return err
	})
	if err != nil {
		return nil, err
	}
	sum := h.Summary()
	end, err := h.enc.encode(&line{end: (*endWire)(&sum)})
	if err != nil {
		return nil, err
	}
	_, err = w.Write(end)
	return sum, err
}
