// Package lint holds the rules of the code base as tests: who may import whom, where C may be used, what library code may not do to its host
// process, that generated files are what their generators make, that lists in different places agree.
//
// A rule that fails names the file, the rule and the reason. Change a rule here only together with ARCHITECTURE.md.
package lint
