package dialog

import (
	"testing"
	"time"

	"github.com/kafkaws/kafkaws/codec"
	"github.com/kafkaws/kafkaws/gateway"
)

// TestRetryAfter: a client that may come back is told when, not every one the same,
// and later where Kafka has to come back first. The others are told nothing.
func TestRetryAfter(t *testing.T) {
	for code, least := range map[int]time.Duration{
		gateway.CloseGoingAway: soon, gateway.CloseRestart: soon, gateway.CloseTryLater: soon + patience,
		gateway.CloseRecordsLost: soon, gateway.CloseUnknownOutcome: soon, 4499: soon,
	} {
		delays := make(map[time.Duration]bool)
		for range 20 {
			r, ok := retryAfter(code).(*codec.RetryAfter)
			if !ok {
				t.Fatalf("%d: nothing is told", code)
			}
			if r.Delay < least || r.Delay > least+later {
				t.Errorf("%d: %v, want %v to %v", code, r.Delay, least, least+later)
			}
			delays[r.Delay] = true
		}
		if len(delays) < 10 {
			t.Errorf("%d: all clients are to come back after %v", code, delays)
		}
	}
	for _, code := range []int{
		gateway.CloseNormal, gateway.CloseProtocolError, gateway.CloseUnsupported, gateway.CloseNotDecodable,
		gateway.ClosePolicy, gateway.CloseTooBig, gateway.CloseInternal, gateway.CloseUnknownTopic, gateway.CloseRefused,
	} {
		if r := retryAfter(code); r != nil {
			t.Errorf("%d: told %v", code, r)
		}
	}
}
