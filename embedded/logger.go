package embedded

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kfake"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/caddyserver/caddy/v2"
)

// brokerLogger returns the logger for what the broker says of itself. The broker
// outlives the configuration that started it, so this is Caddy's default logger
// of the moment, not that of a configuration.
func brokerLogger() *zap.Logger {
	return caddy.Log().Named("kafka_embedded")
}

// logger hands kfake's log lines to Caddy's log: what is a warning or worse as
// a warning, everything else, such as each request, at debug.
type logger struct{}

// Logf logs one line of kfake's.
func (logger) Logf(level kfake.LogLevel, format string, args ...any) {
	to := zapcore.DebugLevel
	if level <= kfake.LogLevelWarn {
		to = zapcore.WarnLevel
	}
	// Only a line that is wanted is formatted: there is one for each request.
	if e := brokerLogger().Check(to, ""); e != nil {
		e.Message = fmt.Sprintf(format, args...)
		e.Write()
	}
}

// Interface guard
var _ kfake.Logger = logger{}
