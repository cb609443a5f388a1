package main

import (
	"crypto/x509"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	urfave "github.com/urfave/cli/v2"

	"cauase/pkg/cli"
	"cauase/pkg/client"
	"cauase/pkg/config"
	"cauase/pkg/pemfile"
)

// A target is what is known of the CA to check, beside the address on a command line.
type target struct {
	url, place string // the address, and where it stands
	pins       []client.Pin
	trusted    map[client.AuthorityName][]*x509.Certificate
	caucase    bool
}

// configured returns what the command line, the environment and then the configuration say of the CA. Whom to trust is not
// taken from a file that may be about another CA: if an address is given, only if it is also said which file or context
// is meant.
func configured(c *urfave.Context, address string) (target, error) {
	known := target{pins: *c.Generic(flagFingerprint).(*pins)}
	if address != "" && c.String(flagConfig) == "" && c.String(flagContext) == "" {
		return known, nil
	}
	files, err := config.ReadFiles(c.String(flagConfig), false)
	if err != nil {
		return known, err
	}
	context, err := files.Choose(c.String(flagContext))
	if err != nil || context == "" {
		return known, err
	}
	if err := known.read(c, files, context); err != nil {
		return known, err
	}
	if len(known.pins) == 0 {
		known.trusted, err = trusted(files, context)
	}
	return known, err
}

// read adds what the files say in so many words.
func (k *target) read(c *urfave.Context, files config.Files, context string) (wrong error) {
	refuse := func(place string, err error) {
		if err != nil {
			wrong = errors.Join(wrong, fmt.Errorf("%s: %w", place, err))
		}
	}
	texts, place, err := values(files, context, settingURL, &urfave.StringFlag{})
	if refuse(place, err); len(texts) == 1 {
		k.url, k.place = texts[0], place
	}
	if len(k.pins) == 0 {
		texts, place, err = values(files, context, flagFingerprint, &urfave.StringSliceFlag{})
		refuse(place, err)
		var found pins
		for _, text := range texts {
			refuse(place, found.Set(text))
		}
		k.pins = found
	}
	if !c.IsSet(flagCaucase) {
		texts, place, err = values(files, context, flagCaucase, &urfave.BoolFlag{})
		refuse(place, err)
		k.caucase = slices.Equal(texts, []string{"true"})
	}
	return wrong
}

// values are the texts of a setting of the files, and where it stands.
func values(files config.Files, context, name string, as urfave.Flag) (texts []string, place string, err error) {
	file, s, found := files.Get(context, name)
	if !found {
		return nil, "", nil
	}
	texts, err = cli.ValuesFor(as, s.Value)
	return texts, fmt.Sprintf("%s: %v: %s", file.Path, s.Position, name), err
}

// trusted are the CA certificates that the client has come to trust for a context.
func trusted(files config.Files, context string) (map[client.AuthorityName][]*x509.Certificate, error) {
	all := map[client.AuthorityName][]*x509.Certificate{}
	for name, setting := range map[client.AuthorityName]string{client.CAS: "ca-crt", client.CAU: "user-ca-crt"} {
		path, err := storePath(files, context, setting, name)
		if err != nil {
			return nil, err
		}
		if path == "" {
			continue
		}
		if all[name], err = pemfile.CAStore(path).ReadCertificates(); err != nil {
			return nil, cli.WithHint(fmt.Errorf("the CA certificates that are trusted: %w", err), "--%s says which CA it has to be instead; --%s %s is for whoever answers", flagFingerprint, flagConfig, config.None)
		}
	}
	return all, nil
}

// storePath is where the client keeps the CA certificates of an authority, "" if nobody knows.
func storePath(files config.Files, context, setting string, name client.AuthorityName) (string, error) {
	path, err := pathOf(files, context, setting)
	if path != "" || err != nil {
		return path, err
	}
	folder, err := pathOf(files, context, settingStore)
	if err != nil {
		return "", err
	}
	if folder == "" && config.Folder() != "" {
		folder = filepath.Join(config.Folder(), context)
	}
	if folder == "" {
		return "", nil
	}
	return filepath.Join(folder, string(name)+".crt.pem"), nil
}

func pathOf(files config.Files, context, name string) (string, error) {
	texts, place, err := values(files, context, name, &urfave.StringFlag{})
	if err != nil {
		return "", fmt.Errorf("%s: %w", place, err)
	}
	if len(texts) == 0 {
		return "", nil
	}
	file, _, _ := files.Get(context, name)
	return config.Locate(texts[0], filepath.Dir(file.Path)), nil
}
