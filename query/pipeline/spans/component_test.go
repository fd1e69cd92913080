package spans

import (
	"slices"
	"testing"

	"github.com/weirhq/weir/query/flow"
)

func TestComponents(t *testing.T) {
	side := func(stage, d string) flow.SpanSide { return flow.SpanSide{Stage: stage, Destination: d} }
	book := &flow.SpanBook{
		Writers: []flow.SpanSide{side("a", "x"), side("b", "y"), side("q", "z")},
		Readers: []flow.SpanSide{side("b", "x"), side("c", "y"), side("r", "z")},
		Edges:   []flow.SpanEdge{{Destination: "x"}, {Destination: "y"}, {Destination: "z"}},
	}
	cs := components(book)
	if len(cs) != 2 || len(cs[0].sides)+len(cs[1].sides) != 6 || len(cs[0].edges)+len(cs[1].edges) != 3 {
		t.Fatalf("%+v", cs)
	}
	b := Book{owner: map[string]string{}}
	names := []string{b.nameOf(&cs[0], nil), b.nameOf(&cs[1], nil)}
	slices.Sort(names)
	if !slices.Equal(names, []string{"x", "z"}) {
		t.Errorf("%v", names)
	}
	if n := b.nameOf(&cs[0], map[string]string{"y": "known"}); cs[0].sides[0].Stage != "q" && n != "known" {
		t.Errorf("%q", n)
	}
}
