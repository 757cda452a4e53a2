package kafkaws

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/kafkaws/kafkaws/codec"
	"github.com/kafkaws/kafkaws/transforms"
)

// directiveName is the name of the handler in a Caddyfile.
const directiveName = "kafka_websocket"

func init() {
	httpcaddyfile.RegisterHandlerDirective(directiveName, parseCaddyfile)
	// reverse_proxy answers everything that reaches it; a socket for Kafka has
	// to be taken out before, and after everything that authenticates.
	httpcaddyfile.RegisterDirectiveOrder(directiveName, httpcaddyfile.Before, "reverse_proxy")
}

// parseCaddyfile makes a handler of one kafka_websocket directive.
func parseCaddyfile(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	handler := new(Handler)
	if err := handler.UnmarshalCaddyfile(h.Dispenser); err != nil {
		return nil, err
	}
	return handler, nil
}

// UnmarshalCaddyfile sets up the handler from Caddyfile tokens. Syntax:
//
//	kafka_websocket [<matcher>] {
//		name            <name>
//		brokers         <host:port...>
//		client_id       <id>
//		kafka_version   <x.y.z>
//		producer {
//			acks          all|leader|none
//			compression   none|gzip|snappy|lz4|zstd
//			create_topics
//		}
//		consumer {
//			isolation     read_committed|read_uncommitted
//			keep_reading  <duration>
//			buffer        <size>
//			buffer_total  <size>
//		}
//
//		subscribe       <pattern...>
//		publish         <pattern...>
//		groups          <pattern...>
//		origins         <origin...>
//		start           latest|earliest
//		missing_topics  wait|reject
//		on_gap          error|earliest|latest
//		slow_client     catch_up|disconnect|drop_oldest
//		on_reload       keep|drain
//
//		codec           <name> [<args...>] {
//			...
//		}
//
//		transform       in|out <name> [<args...>] {
//			...
//		}
//
//		max_sessions      <n>
//		max_topics        <n>
//		max_message_size  <size>
//		max_in_flight     <n>
//		max_group_sessions  <n>
//		max_unacked       <n>
//		ping_interval     <duration>
//		write_timeout     <duration>
//		publish_timeout   <duration>
//		drain_timeout     <duration>
//		compression       [<min size>]
//	}
//
// Only brokers is required. brokers, subscribe, publish, groups and origins may
// be given more than once and add up; codec is given once for each codec that is
// offered, and transform once for each step of a chain, in its order. Everything
// else may be given once. The fields of [Handler] state what each means and what
// holds without it.
func (h *Handler) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the directive's name
	start := *d
	if d.NextArg() {
		return d.Errf("%s: unexpected argument %q; a matcher is *, begins with / or with @, and all else belongs in the block",
			directiveName, d.Val())
	}
	if opens, empty := opensBlock(*d); !opens || empty {
		return d.Errf("%s: expects a block; it needs at least: brokers <host:port...>", directiveName)
	}
	if err := unmarshalBlock(d, h, directiveName, subdirectives); err != nil {
		return err
	}
	if err := checkBrokersGiven(h.Cluster.Brokers); err != nil {
		return start.Errf("%s: %w", directiveName, err)
	}
	return nil
}

// subdirectives are those of the directive itself.
var subdirectives = map[string]subdirective{
	"name":          readText("<name>", checkPrintable, func(h *Handler) *string { return &h.Name }),
	"brokers":       readList("<host:port...>", checkBroker, func(h *Handler) *[]string { return &h.Cluster.Brokers }),
	"client_id":     readText("<id>", checkPrintable, func(h *Handler) *string { return &h.Cluster.ClientID }),
	"kafka_version": readText("<x.y.z>", checkKafkaVersion, func(h *Handler) *string { return &h.Cluster.Version }),
	"producer":      readBlock(producerSubdirectives),
	"consumer":      readBlock(consumerSubdirectives),

	"subscribe":      readList("<pattern...>", checkPattern, func(h *Handler) *[]string { return &h.Subscribe }),
	"publish":        readList("<pattern...>", checkPattern, func(h *Handler) *[]string { return &h.Publish }),
	"groups":         readList("<pattern...>", checkPattern, func(h *Handler) *[]string { return &h.Groups }),
	"origins":        readList("<origin...>", checkOrigin, func(h *Handler) *[]string { return &h.Origins }),
	"start":          readChoice(startChoices, func(h *Handler) *string { return &h.Start }),
	"missing_topics": readChoice(missingTopicsChoices, func(h *Handler) *string { return &h.MissingTopics }),
	"on_gap":         readChoice(onGapChoices, func(h *Handler) *string { return &h.OnGap }),
	"slow_client":    readChoice(slowClientChoices, func(h *Handler) *string { return &h.SlowClient }),
	"on_reload":      readChoice(onReloadChoices, func(h *Handler) *string { return &h.OnReload }),

	"codec":     {usage: "<name> [<args...>] { ... }", repeats: true, parse: unmarshalCodec},
	"transform": {usage: "in|out <name> [<args...>] { ... }", repeats: true, parse: unmarshalTransform},

	"max_sessions":       readNumber(func(h *Handler) *int { return &h.Limits.MaxSessions }),
	"max_topics":         readNumber(func(h *Handler) *int { return &h.Limits.MaxTopics }),
	"max_message_size":   readSize(func(h *Handler) *int64 { return &h.Limits.MaxMessageSize }),
	"max_in_flight":      readNumber(func(h *Handler) *int { return &h.Limits.MaxInFlight }),
	"max_group_sessions": readNumber(func(h *Handler) *int { return &h.Limits.MaxGroupSessions }),
	"max_unacked":        readNumber(func(h *Handler) *int { return &h.Limits.MaxUnacked }),
	"ping_interval":      readDuration(func(h *Handler) *caddy.Duration { return &h.PingInterval }),
	"write_timeout":      readDuration(func(h *Handler) *caddy.Duration { return &h.WriteTimeout }),
	"publish_timeout":    readDuration(func(h *Handler) *caddy.Duration { return &h.PublishTimeout }),
	"drain_timeout":      readDuration(func(h *Handler) *caddy.Duration { return &h.DrainTimeout }),
	"compression":        {usage: "[<min size>]", max: 1, set: setCompression},
}

// producerSubdirectives are those of the producer block.
var producerSubdirectives = map[string]subdirective{
	"acks":          readChoice(acksChoices, func(h *Handler) *string { return &h.Producer.Acks }),
	"compression":   readChoice(batchCompressionChoices, func(h *Handler) *string { return &h.Producer.Compression }),
	"create_topics": readFlag(func(h *Handler) *bool { return &h.Producer.CreateTopics }),
}

// consumerSubdirectives are those of the consumer block.
var consumerSubdirectives = map[string]subdirective{
	"isolation":    readChoice(isolationChoices, func(h *Handler) *string { return &h.Consumer.Isolation }),
	"keep_reading": readDuration(func(h *Handler) *caddy.Duration { return &h.Consumer.KeepReading }),
	"buffer":       readSize(func(h *Handler) *int64 { return &h.Consumer.Buffer }),
	"buffer_total": readSize(func(h *Handler) *int64 { return &h.Consumer.BufferTotal }),
}

// setCompression turns permessage-deflate on. Unlike other sizes this one may
// be 0, which is what it is when it is not given.
func setCompression(h *Handler, args []string) error {
	h.Compression = new(Compression)
	if len(args) == 0 || args[0] == "0" {
		return nil
	}
	n, err := parseSize(args[0])
	h.Compression.MinSize = n
	return err
}

// unmarshalCodec hands a codec's line and block to the module of its name.
func unmarshalCodec(d *caddyfile.Dispenser, h *Handler) error {
	named := *d
	named.NextArg()
	_, raw, err := unmarshalGuest(d, "codec", codec.Namespace)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(h.CodecsRaw, func(other json.RawMessage) bool { return bytes.Equal(raw, other) }) {
		return d.Errf("codec: %s is given twice with the same options; remove one", named.Val())
	}
	h.CodecsRaw = append(h.CodecsRaw, raw)
	return nil
}

// unmarshalTransform hands a transform's line and block, behind the direction, to
// the module of its name.
func unmarshalTransform(d *caddyfile.Dispenser, h *Handler) error {
	if !d.NextArg() {
		return d.Err("transform: expects a direction, in or out, and a name")
	}
	chain, direction := &h.Transforms.InRaw, transforms.Direction(d.Val())
	switch direction {
	case transforms.DirectionIn:
	case transforms.DirectionOut:
		chain = &h.Transforms.OutRaw
	default:
		return d.Errf("transform: got %q, expected in (from clients to Kafka) or out (from Kafka to clients)", d.Val())
	}
	guest, raw, err := unmarshalGuest(d, "transform", transforms.Namespace)
	if err != nil {
		return err
	}
	if directional, ok := guest.(transforms.Directional); ok {
		if err := directional.SetDirection(direction); err != nil {
			return d.Errf("transform: %w", err)
		}
	}
	*chain = append(*chain, raw)
	return nil
}

// unmarshalGuest hands the rest of a line, and its block, to the module that the
// next argument names.
func unmarshalGuest(d *caddyfile.Dispenser, kind, namespace string) (caddyfile.Unmarshaler, json.RawMessage, error) {
	if !d.NextArg() {
		return nil, nil, d.Errf("%s: expects a name; known are %s", kind, enumerate(moduleNames(namespace), "and"))
	}
	name := d.Val()
	if _, err := caddy.GetModule(namespace + "." + name); err != nil {
		return nil, nil, d.Errf("%s: there is no %s %q; known are %s, and others are added by building Caddy with their modules",
			kind, kind, name, enumerate(moduleNames(namespace), "and"))
	}
	afterArgs := *d
	afterArgs.RemainingArgs()
	if opens, empty := opensBlock(afterArgs); opens && empty {
		return nil, nil, d.Errf("%s: the block of %s is empty; leave it out", kind, name)
	}
	module, err := caddyfile.UnmarshalModule(d, namespace+"."+name)
	if err != nil {
		return nil, nil, err
	}
	return module, caddyconfig.JSONModuleObject(module, kind, name, nil), nil
}

// moduleNames lists the modules of a namespace that this Caddy was built with.
func moduleNames(namespace string) []string {
	modules := caddy.GetModules(namespace)
	names := make([]string, 0, len(modules))
	for _, module := range modules {
		names = append(names, strings.TrimPrefix(string(module.ID), namespace+"."))
	}
	slices.Sort(names)
	return names
}

// enumerate writes words as a sentence does: a, b and c.
func enumerate(words []string, conjunction string) string {
	switch n := len(words); n {
	case 0:
		return "none"
	case 1:
		return words[0]
	default:
		return fmt.Sprintf("%s %s %s", strings.Join(words[:n-1], ", "), conjunction, words[n-1])
	}
}

// Interface guard.
var _ caddyfile.Unmarshaler = (*Handler)(nil)
