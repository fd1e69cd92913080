package otlp

import (
	"go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/collector/receiver/otlpreceiver"
)

// factories lists the receivers this collector can host. A contributed receiver is one more line here
// (and its module in go.mod); its configuration then stands under otlp.receivers by its type.
func factories() []receiver.Factory {
	return []receiver.Factory{
		otlpreceiver.NewFactory(),
	}
}
