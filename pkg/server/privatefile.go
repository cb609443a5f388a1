package server

import "cauase/pkg/pemfile"

// writePrivateFile replaces the file at path by one with data that only its owner can read.
// A symbolic link is followed, so that it stays one: what is named on our command line is ours.
func writePrivateFile(path string, data []byte) error {
	_, err := pemfile.Write(pemfile.File{Path: path, Content: data, Secret: true, Follow: true})
	return err
}
