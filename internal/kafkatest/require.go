package kafkatest

import (
	"os"
	"testing"
)

// RequireEnv names the environment variable that turns a skipped test into a
// failed one. It stands for every tool that tests need beside Go, not only for
// Kafka.
const RequireEnv = "KAFKAWS_REQUIRE_KAFKA"

// Required tells whether a test may not be skipped for want of a tool.
func Required() bool {
	v := os.Getenv(RequireEnv)
	return v != "" && v != "0"
}

// Lack skips the test aloud because something it needs is not installed, or
// fails it where [Required] says so.
func Lack(t testing.TB, format string, args ...any) {
	t.Helper()
	if Required() {
		t.Fatalf(format+" (%s is set, so this is not skipped)", append(args, RequireEnv)...)
	}
	t.Skipf("skipped: "+format, args...)
}
