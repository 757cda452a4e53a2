package kafkaws

import (
	"errors"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kafkaws/kafkaws/gateway"
)

// The collectors are made once for the process, because sessions outlive
// configurations, and registered with the registry of each configuration.
var (
	openSessions = prometheus.NewGauge(prometheus.GaugeOpts{
		Namespace: "caddy", Subsystem: "kafka_websocket", Name: "sessions",
		Help: "WebSocket sessions that are open.",
	})
	endedSessions = prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "caddy", Subsystem: "kafka_websocket", Name: "sessions_ended_total",
		Help: "WebSocket sessions that ended, by close code; 1006 stands for a connection that broke.",
	}, []string{"code"})
	ignoredMessages = prometheus.NewCounter(prometheus.CounterOpts{
		Namespace: "caddy", Subsystem: "kafka_websocket", Name: "ignored_messages_total",
		Help: "Messages of clients that were ignored because they lack a required field.",
	})
	discardedRecords = prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "caddy", Subsystem: "kafka_websocket", Name: "discarded_records_total",
		Help: "Records of clients that a transform dropped; cause is dropped where it meant to and error where it failed.",
	}, []string{"cause"})
	skippedRecords = prometheus.NewCounter(prometheus.CounterOpts{
		Namespace: "caddy", Subsystem: "kafka_websocket", Name: "skipped_records_total",
		Help: "Records that were not sent to clients because a transform failed on them or a codec could not encode them.",
	})
	bufferedBytes = prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: "caddy", Subsystem: "kafka_websocket", Name: "buffered_bytes",
		Help: "Memory that holds records for clients, in bytes; buffer_total bounds it for each cluster and consumer settings.",
	}, func() float64 { return held((*gateway.Hub).Held) })
	catchUpFetches = prometheus.NewCounter(prometheus.CounterOpts{
		Namespace: "caddy", Subsystem: "kafka_websocket", Name: "catch_up_fetches_total",
		Help: "Fetches from Kafka for sessions that read records which are not buffered.",
	})
	catchUpFetchedRecords = prometheus.NewCounter(prometheus.CounterOpts{
		Namespace: "caddy", Subsystem: "kafka_websocket", Name: "catch_up_fetched_records_total",
		Help: "Records that were fetched from Kafka for sessions that read records which are not buffered; all such sessions share them.",
	})
	catchUpEncodedRecords = prometheus.NewCounter(prometheus.CounterOpts{
		Namespace: "caddy", Subsystem: "kafka_websocket", Name: "catch_up_encoded_records_total",
		Help: "Records that were transformed and encoded for sessions that read records which are not buffered, once for each chain of transforms and codec in use.",
	})
	catchUpBytes = prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: "caddy", Subsystem: "kafka_websocket", Name: "catch_up_buffered_bytes",
		Help: "Part of buffered_bytes that holds records which were fetched for sessions that read what was not buffered, in bytes.",
	}, func() float64 { return held((*gateway.Hub).HeldBehind) })
)

// held adds up how many bytes all hubs hold.
func held(by func(*gateway.Hub) int64) float64 {
	var bytes int64
	hubs.Range(func(_, value any) bool {
		if h, ok := value.(*hub); ok {
			bytes += by(h.Hub)
		}
		return true
	})
	return float64(bytes)
}

// registerMetrics registers the collectors with a configuration's registry.
// Several handlers of one configuration do so.
func registerMetrics(registry *prometheus.Registry) error {
	for _, c := range []prometheus.Collector{
		openSessions, endedSessions, ignoredMessages, discardedRecords, skippedRecords, bufferedBytes,
		catchUpFetches, catchUpFetchedRecords, catchUpEncodedRecords, catchUpBytes,
	} {
		var already prometheus.AlreadyRegisteredError
		if err := registry.Register(c); err != nil && !errors.As(err, &already) {
			return err
		}
	}
	return nil
}

// sessionEnded counts the end of a session that sessionOpened counted.
func sessionEnded(code int) {
	openSessions.Dec()
	endedSessions.WithLabelValues(codeLabel(code)).Inc()
}

func sessionOpened() { openSessions.Inc() }

// codeLabel keeps the label's values few: codes that clients make up are not
// counted one by one.
func codeLabel(code int) string {
	switch {
	case code >= 1000 && code <= 1015, code >= 4000 && code <= 4009, code >= 4500 && code <= 4509:
		return strconv.Itoa(code)
	default:
		return "other"
	}
}
