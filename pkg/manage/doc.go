// Package manage holds what operators do to a store while no daemon need run, one file for each
// operation: it knows neither flags nor terminals. What changes a store does so in one transaction, and
// records it in the audit log.
package manage
