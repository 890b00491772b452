//go:build !race

package bridge

const raceEnabled = false // the race detector allocates
