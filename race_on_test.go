//go:build race

package kafkaws_test

const raceEnabled = true
