package metricdb

import (
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/weirhq/weir/store"
)

var errNoName = errors.New("no __name__ label, or an empty one")

// checkLabels says why a label set cannot be stored. A label with an empty value is the same as no label.
func (c *Config) checkLabels(symbols []string, refs []uint32) error {
	if len(refs) == 0 {
		return errors.New("no labels")
	}
	if len(refs)%2 != 0 {
		return fmt.Errorf("%d label references: the last name has no value", len(refs))
	}
	if n := len(refs) / 2; n > c.MaxLabels {
		return fmt.Errorf("%d labels, %d are allowed (max_labels)", n, c.MaxLabels)
	}
	named := false
	prev := ""
	for i := 0; i < len(refs); i += 2 {
		if int(refs[i]) >= len(symbols) || int(refs[i+1]) >= len(symbols) {
			return fmt.Errorf("label reference %d or %d outside the %d symbols", refs[i], refs[i+1], len(symbols))
		}
		name, value := symbols[refs[i]], symbols[refs[i+1]]
		switch {
		case name == "":
			return errors.New("empty label name")
		case i > 0 && name == prev:
			return fmt.Errorf("label %q twice", name)
		case i > 0 && name < prev:
			return fmt.Errorf("label %q after %q: labels must be sorted by name", name, prev)
		case len(name) > c.MaxNameBytes:
			return fmt.Errorf("label name %.40q… of %d bytes, %d are allowed (max_label_name_bytes)", name, len(name), c.MaxNameBytes)
		case len(value) > c.MaxValueBytes:
			return fmt.Errorf("value %.40q… of label %q has %d bytes, %d are allowed (max_label_value_bytes)", value, name, len(value), c.MaxValueBytes)
		case !utf8.ValidString(name):
			return fmt.Errorf("label name %q is not UTF-8", name)
		case !utf8.ValidString(value):
			return fmt.Errorf("value %q of label %q is not UTF-8", value, name)
		case name == model.MetricNameLabel && value != "":
			named = true
		}
		prev = name
	}
	if !named {
		return errNoName
	}
	return nil
}

// describe writes a series for people, as far as its references can be read.
func describe(b *store.MetricBatch, refs []uint32) string {
	sb := labels.NewScratchBuilder(len(refs) / 2)
	for i := 0; i+1 < len(refs) && i < 40; i += 2 {
		if int(refs[i]) < len(b.Symbols) && int(refs[i+1]) < len(b.Symbols) {
			sb.Add(fmt.Sprintf("%.64s", b.Symbols[refs[i]]), fmt.Sprintf("%.128s", b.Symbols[refs[i+1]]))
		}
	}
	return sb.Labels().String()
}
