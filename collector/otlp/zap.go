package otlp

import (
	"context"
	"log/slog"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// newZap lets hosted receivers, which want a zap logger, write to ours.
func newZap(log *slog.Logger) *zap.Logger { return zap.New(&zapCore{log: log}) }

type zapCore struct{ log *slog.Logger }

func slogLevel(l zapcore.Level) slog.Level {
	switch {
	case l <= zapcore.DebugLevel:
		return slog.LevelDebug
	case l == zapcore.InfoLevel:
		return slog.LevelInfo
	case l == zapcore.WarnLevel:
		return slog.LevelWarn
	default:
		return slog.LevelError
	}
}

// Enabled asks the logger behind.
func (c *zapCore) Enabled(l zapcore.Level) bool {
	return c.log.Enabled(context.Background(), slogLevel(l))
}

// With adds fields to every further entry.
func (c *zapCore) With(fields []zapcore.Field) zapcore.Core {
	return &zapCore{log: slog.New(c.log.Handler().WithAttrs(slogAttrs(fields)))}
}

// Check adds the core when the level is wanted.
func (c *zapCore) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(e.Level) {
		return ce.AddCore(e, c)
	}
	return ce
}

// Write passes an entry on. The text of the entry is the hosted receiver's, so it becomes an attribute.
func (c *zapCore) Write(e zapcore.Entry, fields []zapcore.Field) error {
	attrs := append([]slog.Attr{slog.String("says", e.Message)}, slogAttrs(fields)...)
	c.log.LogAttrs(context.Background(), slogLevel(e.Level), "receiver", attrs...)
	return nil
}

// Sync has nothing to do.
func (*zapCore) Sync() error { return nil }

func slogAttrs(fields []zapcore.Field) []slog.Attr {
	enc := zapcore.NewMapObjectEncoder()
	attrs := make([]slog.Attr, 0, len(fields))
	for _, f := range fields {
		f.AddTo(enc)
	}
	for k, v := range enc.Fields {
		attrs = append(attrs, slog.Any(k, v))
	}
	return attrs
}
