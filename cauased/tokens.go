package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	urfave "github.com/urfave/cli/v2"

	"cauase/pkg/cli"
	"cauase/pkg/config"
	"cauase/pkg/keys"
	"cauase/pkg/store"
	"cauase/pkg/token"
)

const (
	flagToken = "token"
	flagKey   = "key"
)

// keyInDatabase has the next keys of an authority made in the database.
const keyInDatabase = "database"

func tokenFlag() urfave.Flag {
	return texts(groupKeys, flagToken, "PKCS #11 `URI` of a token with CA keys: pkcs11:token=LABEL?module-path=LIBRARY&pin-source=FILE, repeatable; [authority.NAME] in the file of --config says whose keys are made there")
}

// An authorityTable is a table [authority.NAME].
type authorityTable struct {
	Key string `toml:"key"`
}

// Keys are what the tables [authority.NAME] say.
type placedKeys struct {
	places map[store.AuthorityName]string // as daemon.Config.Keys
	tokens []token.URI                    // that are named with what it takes to reach them
}

// readPlaces reads where keys of authorities are made.
func readPlaces(tables map[string]authorityTable, places *config.Places) (p placedKeys, err error) {
	p.places = map[store.AuthorityName]string{}
	for _, name := range slices.Sorted(maps.Keys(tables)) {
		if !store.AuthorityName(name).Valid() {
			err = errors.Join(err, fmt.Errorf("%v: [authority.%s]: %q is no name of an authority", places.Find("authority", name), name, name))
			continue
		}
		uri, place, wrong := readKeyPlace(tables[name].Key)
		if wrong != nil {
			err = errors.Join(err, fmt.Errorf("%v: authority.%s.key: %w", places.Find("authority", name, flagKey), name, wrong))
			continue
		}
		p.places[store.AuthorityName(name)] = place
		if uri.Module != "" {
			p.tokens = append(p.tokens, uri)
		}
	}
	return p, err
}

// readKeyPlace reads where keys are made: what is stored of it, which is nothing of how a token is reached.
func readKeyPlace(text string) (uri token.URI, place string, err error) {
	switch {
	case text == keyInDatabase:
		return uri, "", nil
	case !token.Is(text):
		return uri, "", fmt.Errorf("it is neither %s nor a PKCS #11 URI such as pkcs11:token=LABEL;object=LABEL", keyInDatabase)
	}
	if uri, err = token.Parse(text); err == nil {
		err = token.CheckPlace(uri)
	}
	return uri, uri.String(), err
}

// readTokens reads the tokens of --token.
func readTokens(c *urfave.Context) (list []token.URI, err error) {
	for _, text := range c.StringSlice(flagToken) {
		uri, err := token.Parse(text)
		switch {
		case err != nil:
			return nil, err
		case !uri.Names():
			return nil, errors.New("which token is not said: token= or serial= is needed in the PKCS #11 URI")
		case uri.Module == "":
			return nil, fmt.Errorf("%s: the library by which the token is reached is not said: ?module-path= is needed", uri)
		}
		list = append(list, uri)
	}
	return list, nil
}

// withCustody has a command find the CA keys of the database, on whatever tokens the daemon's settings name.
func withCustody(c *urfave.Context) error {
	list, err := readTokens(c)
	if err != nil {
		return fmt.Errorf("--%s: %w", flagToken, err)
	}
	file, err := readPlacesOnly(c)
	if err != nil {
		return err
	}
	tokens, err := token.New(token.Config{Tokens: append(list, file.tokens...)})
	if errors.Is(err, token.ErrNotBuilt) {
		tokens, err = token.New(token.Config{}) // most commands need no key; others are told
	}
	if err != nil {
		return fmt.Errorf("--%s: %w", flagToken, err)
	}
	c.Context = keys.Into(c.Context, token.NewCustody(tokens, keys.Row{}))
	return nil
}

// readPlacesOnly reads where keys of authorities are made, for a command.
func readPlacesOnly(c *urfave.Context) (placedKeys, error) {
	path := c.String(flagConfig)
	if path == "" {
		return placedKeys{}, nil
	}
	content, err := config.Read(path)
	if err != nil {
		return placedKeys{}, fmt.Errorf("--%s: %w", flagConfig, err)
	}
	var file fileTables
	if config.DecodeTables(content, &file) != nil {
		return placedKeys{}, nil // as with other tables that a command has no use for, the daemon says what is wrong
	}
	p, err := readPlaces(file.Authorities, config.PlacesIn(content))
	if err != nil {
		return p, fmt.Errorf("%s: %w", path, err)
	}
	return p, nil
}

// hintTokens adds to an error about tokens what can be done.
func hintTokens(err error) error {
	switch {
	case errors.Is(err, token.ErrNotBuilt):
		return cli.WithHint(err, "make build-pkcs11 builds a cauased that can use tokens; it needs a C compiler")
	case errors.Is(err, token.ErrUnknown):
		return cli.WithHint(err, "give --%s pkcs11:token=LABEL?module-path=LIBRARY&pin-source=FILE, or name the library in [authority.NAME]", flagToken)
	case errors.Is(err, token.ErrIncapable):
		return cli.WithHint(err, "cauased manage next-key-type chooses another type of key, --%s one for new authorities", flagKeyType)
	}
	return err
}
