package kafkaws

import (
	"strings"
	"testing"
	"time"
)

// valid is the least that a handler needs.
func valid() *Handler {
	return &Handler{Cluster: Cluster{Brokers: []string{"kafka:9092"}}}
}

func TestDefaultsAreValid(t *testing.T) {
	h := valid()
	if err := h.Validate(); err != nil {
		t.Errorf("before the defaults: %v", err)
	}
	h.applyDefaults()
	if err := h.Validate(); err != nil {
		t.Errorf("after the defaults: %v", err)
	}
}

func TestApplyDefaults(t *testing.T) {
	h := valid()
	h.applyDefaults()
	for name, equal := range map[string]bool{
		"client_id":        h.Cluster.ClientID == "caddy",
		"kafka_version":    h.Cluster.Version == "",
		"acks":             h.Producer.Acks == "all",
		"batches":          h.Producer.Compression == "none",
		"create_topics":    !h.Producer.CreateTopics,
		"isolation":        h.Consumer.Isolation == "read_committed",
		"keep_reading":     time.Duration(h.Consumer.KeepReading) == 30*time.Second,
		"buffer":           h.Consumer.Buffer == 8<<20,
		"buffer_total":     h.Consumer.BufferTotal == 256<<20,
		"subscribe":        len(h.Subscribe) == 0,
		"publish":          len(h.Publish) == 0,
		"origins":          len(h.Origins) == 0,
		"start":            h.Start == "latest",
		"missing_topics":   h.MissingTopics == "wait",
		"on_gap":           h.OnGap == "",
		"slow_client":      h.SlowClient == "catch_up",
		"on_reload":        h.OnReload == "keep",
		"max_sessions":     h.Limits.MaxSessions == 0,
		"max_topics":       h.Limits.MaxTopics == 128,
		"max_message_size": h.Limits.MaxMessageSize == 1<<20,
		"max_in_flight":    h.Limits.MaxInFlight == 256,
		"ping_interval":    time.Duration(h.PingInterval) == 25*time.Second,
		"write_timeout":    time.Duration(h.WriteTimeout) == 30*time.Second,
		"publish_timeout":  time.Duration(h.PublishTimeout) == 30*time.Second,
		"drain_timeout":    time.Duration(h.DrainTimeout) == 10*time.Second,
		"compression":      h.Compression == nil,
	} {
		if !equal {
			t.Errorf("%s has another default", name)
		}
	}
	var codecs []string
	for _, raw := range h.CodecsRaw {
		codecs = append(codecs, string(raw))
	}
	if got := strings.Join(codecs, " "); got != `{"codec":"text"} {"codec":"binary"} {"codec":"json"}` {
		t.Errorf("codecs are %s", got)
	}
}

// What was set stays, and an unset buffer is never more than a set total.
func TestApplyDefaultsKeepsWhatIsSet(t *testing.T) {
	h := valid()
	h.Start = "earliest"
	h.Limits.MaxTopics = 3
	h.Consumer.BufferTotal = 1 << 20
	h.applyDefaults()
	if h.Start != "earliest" || h.Limits.MaxTopics != 3 || h.Consumer.BufferTotal != 1<<20 || h.Consumer.Buffer != 1<<20 {
		t.Errorf("got %+v", h)
	}
	if err := h.Validate(); err != nil {
		t.Error(err)
	}
}

func TestValidateErrors(t *testing.T) {
	for _, test := range []struct {
		name string
		set  func(h *Handler)
		want string
	}{
		{"no brokers", func(h *Handler) { h.Cluster.Brokers = nil }, "brokers: none given; name one broker"},
		{"empty broker", func(h *Handler) { h.Cluster.Brokers = []string{"a:1", ""} }, "brokers: got an empty value"},
		{"broker without port", func(h *Handler) { h.Cluster.Brokers = []string{"kafka"} }, `brokers: got "kafka", expected host:port; Kafka's usual port is 9092`},
		{"broker without host", func(h *Handler) { h.Cluster.Brokers = []string{":9092"} }, "such as kafka:9092"},
		{"broker with path", func(h *Handler) { h.Cluster.Brokers = []string{"kafka/x:9092"} }, "such as kafka:9092"},
		{"broker with scheme", func(h *Handler) { h.Cluster.Brokers = []string{"kafka://a:9092"} }, "without a scheme"},
		{"brokers by comma", func(h *Handler) { h.Cluster.Brokers = []string{"a:9092,b:9092"} }, "put a space between"},
		{"broker with space", func(h *Handler) { h.Cluster.Brokers = []string{"a b:9092"} }, "such as kafka:9092"},
		{"broker with port 0", func(h *Handler) { h.Cluster.Brokers = []string{"a:0"} }, "such as kafka:9092"},
		{"broker with port 65536", func(h *Handler) { h.Cluster.Brokers = []string{"a:65536"} }, "such as kafka:9092"},
		{"broker with named port", func(h *Handler) { h.Cluster.Brokers = []string{"a:kafka"} }, "such as kafka:9092"},
		{"broker is a bare IPv6 address", func(h *Handler) { h.Cluster.Brokers = []string{"::1:9092"} }, "[::1]:9092"},
		{"name", func(h *Handler) { h.Name = "a\nb" }, "name: got"},
		{"client_id", func(h *Handler) { h.Cluster.ClientID = "a\x00" }, "client_id: got"},
		{"kafka_version", func(h *Handler) { h.Cluster.Version = "4" }, `kafka_version: got "4", expected a version of Kafka such as`},
		{"acks", func(h *Handler) { h.Producer.Acks = "1" }, `producer acks: got "1", expected all, leader or none; leave it out for all`},
		{"batches", func(h *Handler) { h.Producer.Compression = "brotli" }, "producer compression: got"},
		{"isolation", func(h *Handler) { h.Consumer.Isolation = "none" }, "consumer isolation: got"},
		{"keep_reading", func(h *Handler) { h.Consumer.KeepReading = -1 }, "consumer keep_reading: got -1ns"},
		{"buffer", func(h *Handler) { h.Consumer.Buffer = -1 }, "consumer buffer: got -1"},
		{"buffer_total", func(h *Handler) { h.Consumer.BufferTotal = -1 }, "consumer buffer_total: got -1"},
		{"buffer over the total", func(h *Handler) { h.Consumer.Buffer, h.Consumer.BufferTotal = 2, 1 }, "consumer buffer: got 2 bytes for one topic"},
		{"subscribe", func(h *Handler) { h.Subscribe = []string{"a b"} }, `subscribe: got pattern "a b"`},
		{"publish", func(h *Handler) { h.Publish = []string{"{"} }, `publish: got pattern "{"`},
		{"origins", func(h *Handler) { h.Origins = []string{"example.com"} }, `origins: got "example.com"`},
		{"empty origin", func(h *Handler) { h.Origins = []string{""} }, "origins: got an empty value"},
		{"start", func(h *Handler) { h.Start = "first" }, "start: got"},
		{"missing_topics", func(h *Handler) { h.MissingTopics = "create" }, "missing_topics: got"},
		{"on_reload", func(h *Handler) { h.OnReload = "close" }, "on_reload: got"},
		{"max_sessions", func(h *Handler) { h.Limits.MaxSessions = -1 }, "max_sessions: got -1"},
		{"max_topics", func(h *Handler) { h.Limits.MaxTopics = -1 }, "max_topics: got -1"},
		{"max_message_size", func(h *Handler) { h.Limits.MaxMessageSize = -1 }, "max_message_size: got -1"},
		{"max_in_flight", func(h *Handler) { h.Limits.MaxInFlight = -1 }, "max_in_flight: got -1"},
		{"ping_interval", func(h *Handler) { h.PingInterval = -1 }, "ping_interval: got -1ns"},
		{"write_timeout", func(h *Handler) { h.WriteTimeout = -1 }, "write_timeout: got -1ns"},
		{"publish_timeout", func(h *Handler) { h.PublishTimeout = -1 }, "publish_timeout: got -1ns"},
		{"drain_timeout", func(h *Handler) { h.DrainTimeout = -1 }, "drain_timeout: got -1ns"},
		{"compression", func(h *Handler) { h.Compression = &Compression{MinSize: -1} }, "compression: got -1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := valid()
			test.set(h)
			if err := h.Validate(); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got error %v, want one with %q", err, test.want)
			}
		})
	}
}

func TestValidateAccepts(t *testing.T) {
	for _, set := range []func(h *Handler){
		func(h *Handler) { h.Cluster.Brokers = []string{"10.0.0.1:9092", "[::1]:9092", "kafka_1.internal:1"} },
		func(h *Handler) { h.Cluster.Version = "0.10.2.1" },
		func(h *Handler) { h.Cluster.Version = "4.1.0" },
		func(h *Handler) { h.Cluster.ClientID = "Web, Nürnberg" },
		func(h *Handler) { h.Consumer.Buffer, h.Consumer.BufferTotal = 1, 1 },
		func(h *Handler) { h.Compression = &Compression{} },
		// Placeholders stand for what is not known yet.
		func(h *Handler) {
			h.Name = "{env.A}"
			h.Cluster = Cluster{Brokers: []string{"{env.A}", "{env.A}:9092"}, ClientID: "{env.A}", Version: "{env.A}"}
			h.Producer = Producer{Acks: "{env.A}", Compression: "{env.A}"}
			h.Consumer = Consumer{Isolation: "{env.A}"}
			h.Subscribe, h.Publish, h.Origins = []string{"{env.A}"}, []string{"{env.A}"}, []string{"{env.A}"}
			h.Start, h.MissingTopics, h.OnReload = "{env.A}", "{env.A}", "{env.A}"
		},
	} {
		h := valid()
		set(h)
		if err := h.Validate(); err != nil {
			t.Error(err)
		}
	}
}
