//go:build !linux

package folder

import "os"

func extendedOf(*os.File) (*Extended, error) { return &Extended{}, nil }

func (l acl) set(*os.File) error { return nil }

func (e *Extended) setAttributes(*os.File) error { return nil }

func folderACL(*os.File) acl { return nil }
