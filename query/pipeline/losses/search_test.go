package losses

import (
	"testing"

	"github.com/weirhq/weir/query/flow"
)

func TestVerdictsArePicked(t *testing.T) {
	for verdict, want := range map[string][2]bool{
		flow.Loss: {true, false}, flow.RetentionLoss: {true, false}, flow.Mixed: {true, false},
		flow.Unknown: {false, true}, "": {false, true}, flow.OK: {false, false}, flow.InFlight: {false, false},
	} {
		if picks("loss", verdict) != want[0] || picks("unknown", verdict) != want[1] || !picks("", verdict) {
			t.Errorf("%s", verdict)
		}
	}
}
