package kafkatest

import (
	"maps"
	"strconv"
)

// Option changes how a broker is started.
type Option func(*settings)

type settings struct {
	properties map[string]string
	heapMiB    int
	jvm        []string
	proxied    bool
}

func newSettings(opts []Option) settings {
	s := settings{properties: map[string]string{}, heapMiB: 384, jvm: briefJVM}
	for _, o := range opts {
		o(&s)
	}
	return s
}

// Property sets a property of the broker, as in its server.properties. It wins
// over this package's defaults.
func Property(key, value string) Option {
	return func(s *settings) { s.properties[key] = value }
}

// Properties sets several properties, as [Property] does.
func Properties(p map[string]string) Option {
	return func(s *settings) { maps.Copy(s.properties, p) }
}

// AutoCreateTopics lets any request for an unknown topic create it, as brokers
// do unless told otherwise. This package tells them otherwise, so that a test
// notices a topic made by accident.
func AutoCreateTopics() Option {
	return Property("auto.create.topics.enable", "true")
}

// MaxMessageBytes sets the largest batch of records that the broker takes.
func MaxMessageBytes(n int) Option {
	v := strconv.Itoa(n)
	return Properties(map[string]string{"message.max.bytes": v, "replica.fetch.max.bytes": v})
}

// HeapMiB sets the size of the Java heap.
func HeapMiB(n int) Option {
	return func(s *settings) { s.heapMiB = n }
}

// Lasting runs the broker's Java with the collector of Kafka's own scripts, which pauses
// for shorter times: for measurements. Otherwise it starts quickly and takes little.
func Lasting() Option {
	return func(s *settings) { s.jvm = lastingJVM }
}
