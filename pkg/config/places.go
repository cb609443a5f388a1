package config

import (
	"bytes"
	"slices"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"
)

// Places are where the keys of a file stand. They are found in one pass, so that each of the many tables of a file can be
// asked for its own.
type Places struct {
	keys map[string]Position // by path
	once map[string]Position // of tables in single brackets, [TABLE], by path
	in   map[string]Position // by array, index and name
}

// PlacesIn returns where the keys of a file stand. Of what cannot be parsed there are none; whoever reads the file has
// said so.
func PlacesIn(content []byte) *Places {
	p := &Places{keys: map[string]Position{}, once: map[string]Position{}, in: map[string]Position{}}
	begun := map[string]int{} // tables of an array, by its path
	_ = eachKey(content, func(table, key []string, begins beginning, at Position) {
		whole := joined(slices.Concat(table, key)...)
		if _, known := p.keys[whole]; !known {
			p.keys[whole] = at
		}
		switch {
		case begins == ofTable:
			p.once[whole] = at
			begun[whole]++
		case begins == ofArray:
			p.in[joined(whole, strconv.Itoa(begun[whole]), "")] = at
			begun[whole]++
		case len(table) == 1 && len(key) == 1:
			p.in[joined(table[0], strconv.Itoa(begun[joined(table[0])]-1), key[0])] = at
		}
	})
	return p
}

// joined is a path as one text, which no other path has.
func joined(path ...string) string {
	var text strings.Builder
	for _, part := range path {
		text.WriteString(strconv.Quote(part))
	}
	return text.String()
}

// Find returns where a key stands, given with the names of the tables that it is in, or the innermost of
// those tables if it is not there.
func (p *Places) Find(path ...string) Position {
	for n := len(path); n > 0; n-- {
		if at, known := p.keys[joined(path[:n]...)]; known {
			return at
		}
	}
	return Position{}
}

// FindIn returns where a key stands in one of the tables of an array, [[ARRAY]], counted from 0; nowhere if it is not
// there.
func (p *Places) FindIn(array string, index int, name string) Position {
	return p.in[joined(array, strconv.Itoa(index), name)]
}

// FindTable returns where a key stands in one of the tables of an array, like FindIn, or where that table begins if the key is not there.
func (p *Places) FindTable(array string, index int, name string) Position {
	if at, known := p.in[joined(array, strconv.Itoa(index), name)]; known {
		return at
	}
	return p.in[joined(joined(array), strconv.Itoa(index), "")]
}

// Once returns where [TABLE] stands, and whether it does: parsers take it for one of [[TABLE]], or leave it out.
func (p *Places) Once(table string) (Position, bool) {
	at, there := p.once[joined(table)]
	return at, there
}

// A beginning is what begins with a key.
type beginning int

const (
	ofValue beginning = iota
	ofTable           // [TABLE]
	ofArray           // [[TABLE]]
)

// eachKey calls fn with each key and the table that it is in; where a table begins,
// its name is the key.
func eachKey(content []byte, fn func(table, key []string, begins beginning, at Position)) error {
	content, err := plain(content)
	if err != nil {
		return err
	}
	var p unstable.Parser
	p.Reset(content)
	place := cursor{content: content, at: Position{1, 1}}
	var table []string
	for p.NextExpression() {
		e := p.Expression()
		if e.Kind != unstable.KeyValue && e.Kind != unstable.Table && e.Kind != unstable.ArrayTable {
			continue
		}
		var key []string
		var at Position
		for parts := e.Key(); parts.Next(); {
			if len(key) == 0 {
				at = place.advance(int(parts.Node().Raw.Offset))
			}
			key = append(key, string(parts.Node().Data))
		}
		if e.Kind == unstable.KeyValue {
			fn(table, key, ofValue, at)
			continue
		}
		begins := ofTable
		if e.Kind == unstable.ArrayTable {
			begins = ofArray
		}
		fn(nil, key, begins, at)
		table = key
	}
	return p.Error()
}

// A cursor counts lines and columns on its way through a text, so that it reads each line once. [unstable.Parser.Shape]
// begins at the beginning for every key.
type cursor struct {
	content []byte
	offset  int
	at      Position
}

// advance goes on to an offset, which is not before where the cursor is.
func (c *cursor) advance(offset int) Position {
	passed := c.content[c.offset:offset]
	c.offset = offset
	if last := bytes.LastIndexByte(passed, '\n'); last >= 0 {
		c.at.Line += bytes.Count(passed, []byte{'\n'})
		c.at.Column, passed = 1, passed[last+1:]
	}
	c.at.Column += len(passed)
	return c.at
}
