package kafkaws

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/caddyserver/caddy/v2"
)

// Values of settings that other code asks for.
const (
	startLatest        = "latest"
	startEarliest      = "earliest"
	missingWait        = "wait"
	missingReject      = "reject"
	onGapError         = "error"
	onGapEarliest      = "earliest"
	onGapLatest        = "latest"
	slowCatchUp        = "catch_up"
	slowDisconnect     = "disconnect"
	slowDropOldest     = "drop_oldest"
	onReloadKeep       = "keep"
	onReloadDrain      = "drain"
	isolationCommitted = "read_committed"
)

// choices are the values that a setting may have; the first is its default. It is
// empty where no value of its own is.
type choices []string

var (
	startChoices            = choices{startLatest, startEarliest}
	missingTopicsChoices    = choices{missingWait, missingReject}
	onGapChoices            = choices{"", onGapError, onGapEarliest, onGapLatest}
	slowClientChoices       = choices{slowCatchUp, slowDisconnect, slowDropOldest}
	onReloadChoices         = choices{onReloadKeep, onReloadDrain}
	acksChoices             = choices{"all", "leader", "none"}
	batchCompressionChoices = choices{"none", "gzip", "snappy", "lz4", "zstd"}
	isolationChoices        = choices{isolationCommitted, "read_uncommitted"}
)

// applyDefaults gives every setting that was left out the value that its
// documentation in [Handler] promises. What has none by default (the name, the
// patterns, the origins, the version, max_sessions, compression) stays as it is.
func (h *Handler) applyDefaults() {
	h.Cluster.ClientID = cmp.Or(h.Cluster.ClientID, "caddy")
	h.Producer.Acks = cmp.Or(h.Producer.Acks, acksChoices[0])
	h.Producer.Compression = cmp.Or(h.Producer.Compression, batchCompressionChoices[0])
	h.Consumer.Isolation = cmp.Or(h.Consumer.Isolation, isolationChoices[0])
	h.Consumer.KeepReading = cmp.Or(h.Consumer.KeepReading, caddy.Duration(30*time.Second))
	h.Consumer.BufferTotal = cmp.Or(h.Consumer.BufferTotal, 256<<20)
	// A total that was set to less than this default is all that one topic has.
	h.Consumer.Buffer = cmp.Or(h.Consumer.Buffer, min(8<<20, h.Consumer.BufferTotal))
	h.Start = cmp.Or(h.Start, startChoices[0])
	h.MissingTopics = cmp.Or(h.MissingTopics, missingTopicsChoices[0])
	h.SlowClient = cmp.Or(h.SlowClient, slowClientChoices[0])
	h.OnReload = cmp.Or(h.OnReload, onReloadChoices[0])
	if len(h.CodecsRaw) == 0 {
		h.CodecsRaw = []json.RawMessage{
			json.RawMessage(`{"codec":"text"}`),
			json.RawMessage(`{"codec":"binary"}`),
			json.RawMessage(`{"codec":"json"}`),
		}
	}
	h.Limits.MaxTopics = cmp.Or(h.Limits.MaxTopics, 128)
	h.Limits.MaxMessageSize = cmp.Or(h.Limits.MaxMessageSize, 1<<20)
	h.Limits.MaxInFlight = cmp.Or(h.Limits.MaxInFlight, 256)
	h.Limits.MaxGroupSessions = cmp.Or(h.Limits.MaxGroupSessions, 100)
	h.Limits.MaxUnacked = cmp.Or(h.Limits.MaxUnacked, 1000)
	h.PingInterval = cmp.Or(h.PingInterval, caddy.Duration(25*time.Second))
	h.WriteTimeout = cmp.Or(h.WriteTimeout, caddy.Duration(30*time.Second))
	h.PublishTimeout = cmp.Or(h.PublishTimeout, caddy.Duration(30*time.Second))
	h.DrainTimeout = cmp.Or(h.DrainTimeout, caddy.Duration(10*time.Second))
}

// Validate checks the configuration; nothing is dialed for it. Text that holds
// placeholders passes: Caddy calls this for what was written. For what it stands
// for, Provision calls it again, on the configuration that it resolved.
func (h *Handler) Validate() error {
	_, patternsErr := newPolicy(h.Subscribe, h.Publish, h.Groups)
	return cmp.Or(
		setting("name", checkPrintable(h.Name)),
		h.Cluster.validate(),
		h.Producer.validate(),
		h.Consumer.validate(),
		patternsErr,
		setting("origins", checkEach(h.Origins, checkOrigin)),
		setting("start", startChoices.check(h.Start)),
		setting("missing_topics", missingTopicsChoices.check(h.MissingTopics)),
		setting("on_gap", onGapChoices.check(h.OnGap)),
		setting("slow_client", slowClientChoices.check(h.SlowClient)),
		setting("on_reload", onReloadChoices.check(h.OnReload)),
		h.Limits.validate(),
		setting("ping_interval", checkDuration(h.PingInterval)),
		setting("write_timeout", checkDuration(h.WriteTimeout)),
		setting("publish_timeout", checkDuration(h.PublishTimeout)),
		setting("drain_timeout", checkDuration(h.DrainTimeout)),
		h.Compression.validate(),
	)
}

func (c Cluster) validate() error {
	return cmp.Or(
		checkBrokersGiven(c.Brokers),
		setting("brokers", checkEach(c.Brokers, checkBroker)),
		setting("client_id", checkPrintable(c.ClientID)),
		setting("kafka_version", checkKafkaVersion(c.Version)),
	)
}

func (p Producer) validate() error {
	return cmp.Or(
		setting("producer acks", acksChoices.check(p.Acks)),
		setting("producer compression", batchCompressionChoices.check(p.Compression)),
	)
}

func (c Consumer) validate() error {
	var total error
	if c.BufferTotal > 0 && c.Buffer > c.BufferTotal {
		total = fmt.Errorf("got %d bytes for one topic (buffer), more than the %d for all of them (buffer_total); "+
			"lower the one or raise the other", c.Buffer, c.BufferTotal)
	}
	return cmp.Or(
		setting("consumer isolation", isolationChoices.check(c.Isolation)),
		setting("consumer keep_reading", checkDuration(c.KeepReading)),
		setting("consumer buffer_total", checkNumber(c.BufferTotal)),
		setting("consumer buffer", checkNumber(c.Buffer)),
		setting("consumer buffer", total),
	)
}

func (l Limits) validate() error {
	return cmp.Or(
		setting("max_sessions", checkNumber(l.MaxSessions)),
		setting("max_topics", checkNumber(l.MaxTopics)),
		setting("max_message_size", checkNumber(l.MaxMessageSize)),
		setting("max_in_flight", checkNumber(l.MaxInFlight)),
		setting("max_group_sessions", checkNumber(l.MaxGroupSessions)),
		setting("max_unacked", checkNumber(l.MaxUnacked)),
	)
}

func (c *Compression) validate() error {
	if c == nil {
		return nil
	}
	return setting("compression", checkNumber(c.MinSize))
}

// setting says which setting an error is about.
func setting(name string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", name, err)
}

// checkEach applies a check to every value of a list.
func checkEach(values []string, check func(string) error) error {
	for _, value := range values {
		if value == "" {
			return errors.New("got an empty value; remove it")
		}
		if err := check(value); err != nil {
			return err
		}
	}
	return nil
}

// The checks below let a value pass that is empty, which is one that was left
// out, or that holds a placeholder, whose value is not known yet.

// named returns the values that can be written.
func (c choices) named() choices {
	if c[0] == "" {
		return c[1:]
	}
	return c
}

func (c choices) check(value string) error {
	if value == "" || hasPlaceholder(value) || slices.Contains(c, value) {
		return nil
	}
	return fmt.Errorf("got %q, expected %s; leave it out for %s", value, enumerate(c.named(), "or"), cmp.Or(c[0], "the default"))
}

// checkNumber also serves sizes. 0 is a number that was left out.
func checkNumber[T int | int64](n T) error {
	if n >= 0 {
		return nil
	}
	return fmt.Errorf("got %d, expected a number above 0; leave it out for the default", n)
}

func checkDuration(length caddy.Duration) error {
	if length >= 0 {
		return nil
	}
	return fmt.Errorf("got %s, expected a duration above 0; leave it out for the default", time.Duration(length))
}

func checkBrokersGiven(brokers []string) error {
	if len(brokers) == 0 {
		return errors.New("brokers: none given; name one broker of the Kafka cluster at least, as host:port")
	}
	return nil
}

// checkBroker checks an address by its shape alone: whether it can be reached
// is a question for later, since a configuration loads with Kafka down.
func checkBroker(address string) error {
	if address == "" || hasPlaceholder(address) {
		return nil
	}
	host, port, err := net.SplitHostPort(address)
	number, portErr := strconv.ParseUint(port, 10, 16)
	switch {
	case strings.Contains(address, "://"):
		return fmt.Errorf("got %q, expected host:port without a scheme", address)
	case strings.ContainsAny(address, ",;"):
		return fmt.Errorf("got %q, expected one host:port; put a space between two brokers", address)
	case err != nil && !strings.Contains(address, ":"):
		return fmt.Errorf("got %q, expected host:port; Kafka's usual port is 9092", address)
	case err != nil || host == "" || portErr != nil || number == 0 || strings.ContainsFunc(host, notInHost):
		return fmt.Errorf("got %q, expected host:port such as kafka:9092 or [::1]:9092", address)
	}
	return nil
}

func notInHost(r rune) bool {
	return unicode.IsSpace(r) || !unicode.IsPrint(r) || strings.ContainsRune(`/\@?#"'`, r)
}

// checkPrintable keeps out of names what would break the lines of a log, here
// or at the brokers.
func checkPrintable(name string) error {
	if hasPlaceholder(name) || !strings.ContainsFunc(name, notPrintable) {
		return nil
	}
	return fmt.Errorf("got %q, expected printable characters only; remove the others", name)
}

func notPrintable(r rune) bool { return !unicode.IsPrint(r) }

// kafkaVersion is a version of Kafka; before 1.0 they had four numbers.
var kafkaVersion = regexp.MustCompile(`^(0\.\d{1,4}\.\d{1,4}\.\d{1,4}|[1-9]\d{0,3}\.\d{1,4}\.\d{1,4})$`)

func checkKafkaVersion(version string) error {
	if version == "" || hasPlaceholder(version) || kafkaVersion.MatchString(version) {
		return nil
	}
	return fmt.Errorf("got %q, expected a version of Kafka such as 2.8.0 or 4.0.0; leave it out for the newest that is known", version)
}

func checkOrigin(origin string) error {
	if origin == "" || hasPlaceholder(origin) {
		return nil
	}
	_, err := parseOriginPattern(origin)
	return err
}

func checkPattern(s string) error {
	_, err := compilePattern(s)
	return err
}

// hasPlaceholder reports whether s has what Caddy takes for a placeholder.
func hasPlaceholder(s string) bool {
	_, after, found := strings.Cut(s, "{")
	return found && strings.Contains(after, "}")
}
