package kafkaws

import (
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/caddyserver/caddy/v2"
)

// sampled returns a logger that writes a message a few times in ten seconds,
// however often it is given.
func sampled(logger *zap.Logger) *zap.Logger {
	return logger.WithOptions(zap.WrapCore(func(core zapcore.Core) zapcore.Core {
		return zapcore.NewSamplerWithOptions(core, 10*time.Second, 5, 1000)
	}))
}

// refusalLoggers log refused requests: a client that is refused connects again
// and again, but one status must not keep another out of the log.
type refusalLoggers struct {
	logger *zap.Logger
	byCode sync.Map // int to *zap.Logger
}

// of returns the logger of a status.
func (l *refusalLoggers) of(status int) *zap.Logger {
	if logger, ok := l.byCode.Load(status); ok {
		return logger.(*zap.Logger)
	}
	logger, _ := l.byCode.LoadOrStore(status, sampled(l.logger))
	return logger.(*zap.Logger)
}

// loggers has one entry, whose users are the handlers and what outlives them.
var loggers = caddy.NewUsagePool()

// lasting passes log entries on to the newest logger of a handler that is still
// configured: sessions and clusters outlive the configuration that they were
// made by, and with it the log files that it had open.
type lasting struct {
	mu      sync.Mutex
	loggers []*zap.Logger
}

// acquireLasting returns the one lasting logger and what gives it back.
func acquireLasting() (*lasting, func()) {
	const key = "lasting"
	value, _, err := loggers.LoadOrNew(key, func() (caddy.Destructor, error) { return new(lasting), nil })
	if err != nil {
		// The constructor cannot fail.
		panic(err)
	}
	return value.(*lasting), func() { _, _ = loggers.Delete(key) }
}

// Destruct does nothing; there is nothing to let go of.
func (l *lasting) Destruct() error { return nil }

func (l *lasting) add(logger *zap.Logger) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.loggers = append(l.loggers, logger)
}

func (l *lasting) remove(logger *zap.Logger) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if i := slices.Index(l.loggers, logger); i >= 0 {
		l.loggers = slices.Delete(l.loggers, i, i+1)
	}
}

// current returns the logger to use now; Caddy's default one where no handler
// is configured any more.
func (l *lasting) current() *zap.Logger {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := len(l.loggers); n > 0 {
		return l.loggers[n-1]
	}
	return caddy.Log().Named(moduleID)
}

// logger returns a logger that looks up the current one for each entry.
func (l *lasting) logger() *zap.Logger { return zap.New(&lastingCore{lasting: l}) }

type lastingCore struct {
	lasting *lasting
	fields  []zapcore.Field
}

// Enabled implements zapcore.LevelEnabler.
func (c *lastingCore) Enabled(level zapcore.Level) bool {
	return c.lasting.current().Core().Enabled(level)
}

// With implements zapcore.Core.
func (c *lastingCore) With(fields []zapcore.Field) zapcore.Core {
	return &lastingCore{c.lasting, append(slices.Clip(c.fields), fields...)}
}

// Check implements zapcore.Core.
func (c *lastingCore) Check(entry zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(entry.Level) {
		return checked.AddCore(entry, c)
	}
	return checked
}

// Write implements zapcore.Core.
func (c *lastingCore) Write(entry zapcore.Entry, fields []zapcore.Field) error {
	current := c.lasting.current()
	name := entry.LoggerName
	entry.LoggerName = current.Name()
	if name != "" {
		entry.LoggerName += "." + name
	}
	if checked := current.Core().Check(entry, nil); checked != nil {
		checked.Write(append(slices.Clip(c.fields), fields...)...)
	}
	return nil
}

// Sync implements zapcore.Core.
func (c *lastingCore) Sync() error { return c.lasting.current().Core().Sync() }

var (
	_ caddy.Destructor = (*lasting)(nil)
	_ zapcore.Core     = (*lastingCore)(nil)
)
