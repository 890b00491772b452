// Package slack keeps the Go runtime's monitor from looking around thousands of times a second, in programs and libraries that import it. What
// they fork and execute inherits that, so it is not for those that start the programs of others.
package slack

import "C" // compiles slack.c
