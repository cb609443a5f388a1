package server

import (
	"strings"
	"sync"
)

// A parameter is what stands in a path for a parameter of the route's.
type parameter struct{ name, value string }

// parameters are those of a path, in its order.
type parameters []parameter

// value returns what stands for a parameter, nothing if the route has none of that name.
func (p parameters) value(name string) string {
	for _, one := range p {
		if one.name == name {
			return one.value
		}
	}
	return ""
}

// labels are those of a route, by what stands for its first parameter.
type labels struct {
	mu    sync.Mutex
	known map[string]string
}

// maxLabels is how many are remembered: there are as many as authorities.
const maxLabels = 1024

// of returns the label where these parameters lead on. Those of routes with several are made each time.
func (l *labels) of(leading parameters, create func() string) string {
	first := ""
	switch len(leading) {
	case 0:
	case 1:
		first = leading[0].value
	default:
		return create()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if label, known := l.known[first]; known {
		return label
	}
	label := create()
	if l.known == nil {
		l.known = map[string]string{}
	}
	if len(l.known) < maxLabels {
		l.known[strings.Clone(first)] = label
	}
	return label
}
