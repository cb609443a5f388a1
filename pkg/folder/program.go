package folder

import "fmt"

// CheckProgram reports why a program at path is not to be run: it is no regular file, or others than root and the user of
// this process could have put something else in its place. Symbolic links in folders that are safe are, too.
func CheckProgram(path string) error {
	in, name, err := Access{Guard: true}.Target(path)
	if err != nil {
		return err
	}
	defer in.Close()
	info, err := in.Stat(name)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s %w", path, ErrNotRegular)
	}
	if known, err := in.WithExtended(name, info); err == nil { // which takes reading it
		info = known
	}
	return info.Exposed(path)
}
