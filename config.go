package kafkaws

import (
	"encoding/json"

	"github.com/caddyserver/caddy/v2"
)

// Handler opens Apache Kafka to WebSocket clients: a client subscribes to
// topics and publishes to them on one socket. Nothing may be subscribed to or
// published to until `subscribe` and `publish` say so.
//
// The request names the topics: `/v2/broker/?topics=a,b`. The subprotocol
// decides how records look on the wire: `kafka-text` (the default),
// `kafka-binary` or `kafka-json`. A request that is refused before the upgrade gets an HTTP
// status, which `handle_errors` can act on; a session that ends gets a
// WebSocket close code and a sentence (see docs/protocol.md).
//
// Placeholders of the request, such as `{http.auth.user.id}`, may be used in
// `subscribe`, `publish` and `groups`. Placeholders known when the configuration is
// loaded, such as `{env.KAFKA}` and `{file./run/brokers}`, may be used
// everywhere.
//
// The handler ends its part of the request with the handshake: access logs,
// metrics and traces of Caddy show a status of 101 and the time that the
// handshake took. Sessions go on through a reload of the configuration when
// their handler has not changed.
type Handler struct {
	// Tells apart handlers of one server that are configured alike, so that
	// each keeps sessions and limits of its own. Default: empty; equal
	// handlers of one server share them.
	Name string `json:"name,omitempty"`

	// The Kafka cluster. Required.
	Cluster Cluster `json:"cluster"`

	// How records are written.
	Producer Producer `json:"producer,omitzero"`

	// How topics are read.
	Consumer Consumer `json:"consumer,omitzero"`

	// Which topics a client may subscribe to. In a pattern `*` stands for any
	// run of characters and `?` for one; a pattern is case-sensitive and
	// matches the whole name. Names that begin with two underscores are
	// matched by exact name only. A placeholder is replaced when the client
	// connects and its value is taken literally; one that is unknown or empty
	// makes its pattern match nothing. Default: nothing.
	Subscribe []string `json:"subscribe,omitempty"`

	// Which topics a client may publish to; patterns as in `subscribe`.
	// Default: nothing.
	Publish []string `json:"publish,omitempty"`

	// Which consumer groups a client may be a member of (`group.id`); patterns
	// as in `subscribe`. Each such session is a consumer of its own in Kafka.
	// Default: nothing.
	Groups []string `json:"groups,omitempty"`

	// Pages of which origins may connect besides those of the same host:
	// `https://example.com`, `https://*.example.com`, `null` by name, or `*`
	// for all. A request without an `Origin` header, which no browser sends,
	// passes always; one with two is refused. Default: the same host only.
	Origins []string `json:"origins,omitempty"`

	// Where a subscription starts: `latest` or `earliest`. Default: `latest`.
	Start string `json:"start,omitempty"`

	// What happens to a client that asks for a topic that does not exist:
	// with `wait` its subscription begins with the topic's first record, with
	// `reject` it is answered 404. Default: `wait`.
	MissingTopics string `json:"missing_topics,omitempty"`

	// What happens to a subscription that is to get records which Kafka does not
	// have any more: with `error` it ends, with `earliest` it goes on with the
	// first record that there is, with `latest` at the end. Clients of `json` are
	// told of the gap, or of the end. Those of `text` and `binary` cannot be:
	// with `error` they are closed. Default: `earliest` for clients of `json`,
	// `error` for the others.
	OnGap string `json:"on_gap,omitempty"`

	// What happens to a session whose client takes records more slowly than
	// they come, once it is further behind than what is buffered: with
	// `catch_up` it reads on from Kafka at its own pace and misses nothing, with
	// `disconnect` it is closed, with `drop_oldest` it goes on with what is
	// buffered and misses what is not. Default: `catch_up`.
	SlowClient string `json:"slow_client,omitempty"`

	// What happens to the sessions of this handler on a reload that does not
	// change it: `keep` them, or `drain` them like those of a changed one.
	// Default: `keep`.
	OnReload string `json:"on_reload,omitempty"`

	// The codecs that are offered, each by its subprotocol. The client's order
	// decides; the first one serves clients that name none, or none that is
	// known. Default: `text`, then `binary`, then `json`.
	CodecsRaw []json.RawMessage `json:"codecs,omitempty" caddy:"namespace=http.kafka_websocket.codecs inline_key=codec"`

	// What changes records, or drops them, on their way.
	Transforms Transforms `json:"transforms,omitzero"`

	// Limits of the handler and of its sessions.
	Limits Limits `json:"limits,omitzero"`

	// How often a quiet client is pinged. A client that shows no sign of life
	// for two intervals is gone. Default: 25s.
	PingInterval caddy.Duration `json:"ping_interval,omitempty"`

	// How long a write to a client may make no progress before the session is
	// ended. Default: 30s.
	WriteTimeout caddy.Duration `json:"write_timeout,omitempty"`

	// How long a record may wait for Kafka's acknowledgement. One that was sent
	// by then has an unknown outcome: it may have been written or not. One that
	// was not, or that Kafka turned away each time, has failed.
	// Default: 30s.
	PublishTimeout caddy.Duration `json:"publish_timeout,omitempty"`

	// How long sessions have to end when their handler was changed or removed
	// by a reload, and when Caddy stops. Keep it below what the service
	// manager grants before it kills: 30s in Kubernetes, 90s in systemd, but 5s
	// in the unit that Caddy's packages bring (TimeoutStopSec).
	// Default: 10s.
	DrainTimeout caddy.Duration `json:"drain_timeout,omitempty"`

	// Compression of messages to and from clients (permessage-deflate, RFC
	// 7692). Default: off.
	Compression *Compression `json:"compression,omitempty"`

	handlerState
}

// Cluster says how to reach a Kafka cluster.
type Cluster struct {
	// The addresses, `host:port`, of some brokers; the others are learned from
	// them. Required.
	Brokers []string `json:"brokers,omitempty"`

	// The client id that brokers see in their logs, metrics and quotas.
	// Default: `caddy`.
	ClientID string `json:"client_id,omitempty"`

	// The newest Kafka protocol to speak, as the version of Kafka that brought
	// it, `x.y.z`; brokers that are older are spoken to in their own. Default:
	// the newest that the client library calls stable.
	Version string `json:"version,omitempty"`
}

// Producer says how records are written to Kafka.
type Producer struct {
	// Which brokers must have a record before it counts as published: `all`
	// in-sync replicas, the `leader` alone, or `none`. Only `all` writes each
	// record exactly once (KIP-98); with the others a record may be doubled
	// when a broker fails, and with `none` a lost one is not noticed.
	// Default: `all`.
	Acks string `json:"acks,omitempty"`

	// How batches of records are compressed: `none`, `gzip`, `snappy`, `lz4`
	// or `zstd`. Default: `none`.
	Compression string `json:"compression,omitempty"`

	// Make topics that clients publish to and that do not exist, with the
	// partitions and replicas that the brokers give by default. Default: false;
	// a record to an unknown topic is refused.
	CreateTopics bool `json:"create_topics,omitempty"`
}

// Consumer says how topics are read from Kafka.
type Consumer struct {
	// Which records of transactions clients see: `read_committed` or
	// `read_uncommitted`. Default: `read_committed`.
	Isolation string `json:"isolation,omitempty"`

	// How long a topic is read on after its last subscriber has left, so that
	// one that comes back finds it running. Default: 30s.
	KeepReading caddy.Duration `json:"keep_reading,omitempty"`

	// How many bytes of each topic, as they go out on the wire, are held for
	// clients that are behind, for each form that clients take them in (codec,
	// compression). What becomes of a client that falls further behind is up to
	// `slow_client`. Default: 8 MiB.
	Buffer int64 `json:"buffer,omitempty"`

	// How many bytes all topics of the cluster may hold together. Default:
	// 256 MiB.
	BufferTotal int64 `json:"buffer_total,omitempty"`
}

// Transforms are chains that records pass, each transform in its turn. A record
// that one of them drops goes no further. One that a transform fails on is
// dropped too, counted, and logged once in a while.
type Transforms struct {
	// What the records of clients pass on their way to Kafka, after decoding.
	// What comes out is what `publish` is asked about. Default: nothing.
	InRaw []json.RawMessage `json:"in,omitempty" caddy:"namespace=http.kafka_websocket.transforms inline_key=transform"`

	// What the records of Kafka pass on their way to clients, before encoding:
	// once for each record, however many clients there are. Default: nothing.
	OutRaw []json.RawMessage `json:"out,omitempty" caddy:"namespace=http.kafka_websocket.transforms inline_key=transform"`
}

// Limits bounds what clients may take.
type Limits struct {
	// How many sessions the handler serves at a time; one more is answered
	// 503. Default: unlimited.
	MaxSessions int `json:"max_sessions,omitempty"`

	// How many topics a session may subscribe to. Default: 128.
	MaxTopics int `json:"max_topics,omitempty"`

	// How many bytes a message of a client may have, after inflating; one more
	// closes the session with 1009. It also bounds a record to be published.
	// Default: 1 MiB.
	MaxMessageSize int64 `json:"max_message_size,omitempty"`

	// How many records of a session may wait for Kafka's acknowledgement; the
	// session is not read from while there are more. Default: 256.
	MaxInFlight int `json:"max_in_flight,omitempty"`

	// How many sessions may be members of consumer groups: each takes about
	// 100 KiB of memory and a connection to a broker. Default: 100.
	MaxGroupSessions int `json:"max_group_sessions,omitempty"`

	// How many records a member of a consumer group may have been given that it
	// has not acknowledged, where its client does that (`ack=client`); it gets no
	// more while there are as many. Default: 1000.
	MaxUnacked int `json:"max_unacked,omitempty"`
}

// Compression turns on permessage-deflate (RFC 7692) for clients that offer it.
type Compression struct {
	// Messages of fewer bytes are sent as they are. Default: 0; all are
	// compressed.
	MinSize int64 `json:"min_size,omitempty"`
}
