package kafkaws

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/kafkaws/kafkaws/gateway"
)

// resetContext is what every answer to an offer of permessage-deflate says: each
// message is compressed alone, in both directions, because frames are shared by
// sessions and no session shall hold a compressor.
const resetContext = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"

// The sizes that a window may have, as powers of two (RFC 7692 §7.1.2).
const (
	minWindow = 8
	maxWindow = 15
)

// negotiateDeflate answers the first of the client's offers of
// permessage-deflate (RFC 7692 §7.1) that can be accepted, with the response's
// Sec-WebSocket-Extensions. Without one, messages are sent as they are.
func negotiateDeflate(headers []string, minSize int) (gateway.Deflate, string) {
	for _, offer := range tokens(headers) {
		name, parameters, _ := strings.Cut(offer, ";")
		if strings.TrimSpace(name) != "permessage-deflate" {
			continue
		}
		bits, ok := parseDeflate(parameters)
		if !ok {
			continue
		}
		deflate := gateway.Deflate{On: true, MinSize: minSize}
		switch bits {
		case 0:
			return deflate, resetContext
		case maxWindow:
		default:
			// The smallest window is inside every other: clients that ask for
			// small ones, of which there are few, share one kind of frames.
			deflate.WindowBits = minWindow
		}
		return deflate, fmt.Sprintf("%s; server_max_window_bits=%d", resetContext, bits)
	}
	return gateway.Deflate{}, ""
}

// parseDeflate reads the parameters of an offer: the window that the server is
// asked for, 0 if none, and whether the offer is one that RFC 7692 allows.
func parseDeflate(parameters string) (bits int, ok bool) {
	seen := make(map[string]bool)
	for parameter := range strings.SplitSeq(parameters, ";") {
		if parameter = strings.TrimSpace(parameter); parameter == "" {
			continue
		}
		name, value, hasValue := strings.Cut(parameter, "=")
		name = strings.TrimSpace(name)
		value = unquoted(strings.TrimSpace(value))
		if seen[name] {
			return 0, false
		}
		seen[name] = true
		switch name {
		case "server_no_context_takeover", "client_no_context_takeover":
			if hasValue {
				return 0, false
			}
		case "client_max_window_bits":
			// A smaller window of the client's is inflated all the same.
			if hasValue && windowBits(value) == 0 {
				return 0, false
			}
		case "server_max_window_bits":
			if bits = windowBits(value); bits == 0 {
				return 0, false
			}
		default:
			return 0, false
		}
	}
	return bits, true
}

// unquoted takes the quotes from a value that has them.
func unquoted(value string) string {
	if inner, ok := strings.CutPrefix(value, `"`); ok {
		if inner, ok = strings.CutSuffix(inner, `"`); ok {
			return inner
		}
	}
	return value
}

// windowBits reads a window size of RFC 7692 §7.1.2; 0 is none.
func windowBits(value string) int {
	bits, err := strconv.Atoi(value)
	if err != nil || bits < minWindow || bits > maxWindow || strconv.Itoa(bits) != value {
		return 0
	}
	return bits
}
