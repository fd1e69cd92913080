package pipeline

import "fmt"

// uncounted says of which queue is known what waits and not since when; empty when there is none.
func uncounted(looks []stageLook) string {
	for i := range looks {
		for _, r := range looks[i].readings {
			if r.Uncounted() {
				return fmt.Sprintf("How long records wait in %s is not known: the broker tells how many wait there, and not how many come in.", r.Queue.Destination)
			}
		}
	}
	return ""
}
