//go:build profile

package main

import (
	"fmt"
	"net/http"
	"net/http/pprof"
	"os"
)

// Programs that are built with the tag "profile", which none that is shipped is, serve profiles at the address in
// CAUASE_PROFILE_ADDRESS to anybody. bench builds one.
func init() {
	address := os.Getenv("CAUASE_PROFILE_ADDRESS")
	if address == "" {
		return
	}
	routes := http.NewServeMux()
	routes.HandleFunc("/debug/pprof/", pprof.Index)
	routes.HandleFunc("/debug/pprof/profile", pprof.Profile)
	go func() {
		fmt.Fprintln(os.Stderr, http.ListenAndServe(address, routes)) //nolint:gosec // for measurements on loopback
	}()
}
