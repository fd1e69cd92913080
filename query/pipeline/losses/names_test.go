package losses

import (
	"testing"

	"github.com/weirhq/weir/store"
)

func TestIDsReadBack(t *testing.T) {
	k := store.VerdictKey{Pipeline: "a~b/c", Kind: store.EdgeBalance, From: "x y,z", Destination: "%7E", Group: "", To: "ö"}
	if got, ok := KeyOf(ID(k)); !ok || got != k {
		t.Errorf("%q reads back as %+v", ID(k), got)
	}
}
