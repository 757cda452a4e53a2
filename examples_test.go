package kafkaws_test

import (
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/kafkaws/kafkaws/internal/kafkatest"
)

// example reads a Caddyfile of the examples, with other addresses in it.
func example(t *testing.T, path string, replace ...string) string {
	t.Helper()
	config, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(replace); i += 2 {
		if !strings.Contains(string(config), replace[i]) {
			t.Fatalf("%s has no %q", path, replace[i])
		}
	}
	return strings.NewReplacer(replace...).Replace(string(config))
}

// TestMigrateExample has a client of the original, as it is, use the example that
// takes the original's place.
func TestMigrateExample(t *testing.T) {
	broker, addr := kafkatest.Shared(t), freeAddr(t)
	s := &site{addr: addr, path: brokerPath, caddyProcess: startCaddy(t, example(t, "examples/migrate/Caddyfile",
		"http://:7080", "http://"+addr,
		"{$KAFKA_BROKERS:localhost:9092}", broker.Addr(),
		"\tgrace_period", "\tadmin ADMIN\n\tgrace_period"))}
	topic := kafkatest.Topic(t) // nobody has made it
	c, _, err := s.tryDial("topics="+topic, http.Header{"Origin": {"https://elsewhere.example"}}, "kafka-text")
	if err != nil {
		t.Fatal(err)
	}
	c.send(`{"topic":"` + topic + `","key":"k","message":"made on demand"}`)
	c.expect(`{"topic":"` + topic + `","key":"k","message":"made on demand"}`)
	c.send(`{"topic":"__consumer_offsets","message":"no"}`)
	c.expectClose(1008)
}
