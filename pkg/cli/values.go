package cli

import (
	"errors"
	"strconv"

	urfave "github.com/urfave/cli/v2"
)

// ValuesFor returns the texts that stand on a command line for a value from a configuration file, if it is one that the
// flag takes.
func ValuesFor(flag urfave.Flag, value any) ([]string, error) {
	switch flag.(type) {
	case *urfave.StringFlag:
		if v, ok := value.(string); ok {
			return []string{v}, nil
		}
		return nil, errors.New("must be a text in quotes")
	case *urfave.BoolFlag:
		if v, ok := value.(bool); ok {
			return []string{strconv.FormatBool(v)}, nil
		}
		return nil, errors.New("must be true or false")
	case *IntFlag:
		if v, ok := value.(int64); ok {
			return []string{strconv.FormatInt(v, 10)}, nil
		}
		return nil, errors.New("must be a whole number")
	case *Float64Flag:
		if v, ok := numberText(value); ok {
			return []string{v}, nil
		}
		return nil, errors.New("must be a number")
	case *DaysFlag:
		if v, ok := numberText(value); ok {
			return []string{v}, nil
		}
		if v, ok := value.(string); ok {
			return []string{v}, nil
		}
		return nil, errors.New(`must be a number of days, or a text such as "31d" or "12h"`)
	case *urfave.StringSliceFlag:
		list, ok := value.([]any)
		var texts []string
		for _, one := range list {
			text, isText := one.(string)
			texts, ok = append(texts, text), ok && isText
		}
		if ok {
			return texts, nil
		}
		return nil, errors.New(`must be a list of texts, such as ["a", "b"]`)
	}
	return nil, errors.New("cannot be given in a file")
}

func numberText(value any) (string, bool) {
	switch v := value.(type) {
	case int64:
		return strconv.FormatInt(v, 10), true
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64), true
	}
	return "", false
}
