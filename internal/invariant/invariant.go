// Package invariant has rules checked that must hold whatever happens: what would be a sentence in a comment otherwise ("no page is freed while a slot
// names it"). Checks cost time and are made in tests only; a test package turns them on for itself:
//
//	func init() { invariant.Enabled = true }
package invariant

import "fmt"

// Enabled turns the checks on. It is set before anything else runs, or never.
var Enabled bool

// Check panics unless ok, with what is wrong. Callers that would have to work for the answer look at Enabled first.
func Check(ok bool, format string, args ...any) {
	if Enabled && !ok {
		panic(fmt.Sprintf("invariant broken: "+format, args...))
	}
}
